// sqlrunner INPUT.sql --output F.csv[.gz]: runs one query and writes its rows.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "csv_file.h"
#include "rows.h"

namespace sqlrunner {
namespace {

// A query refers to this table to leave out patients who opted out, or names it in a comment
// (AllowedPatientsWithTypeOneDissent) to say that it may include them.
constexpr char kOptOutTable[] = "PatientsWithTypeOneDissent";

struct Arguments {
  std::string input;
  std::string output;
  std::string dummy_data_file;
  std::string log_file;
  std::string dsn;
};

// Events as JSON lines, on stdout and in the log file.
class EventLog {
 public:
  explicit EventLog(const std::string& path) {
    if (!path.empty()) file_.open(path);
  }
  bool good() const { return file_.good(); }
  void Write(const std::string& event, nlohmann::json fields = nlohmann::json::object()) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    fields["event"] = event;
    fields["timestamp"] = std::chrono::duration_cast<std::chrono::milliseconds>(now).count() / 1e3;
    const std::string line = fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    printf("%s\n", line.c_str());
    fflush(stdout);
    if (file_.is_open()) file_ << line << std::endl;
  }

 private:
  std::ofstream file_;
};

Outcome<std::string> ReadQuery(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Fail(Exit::kArguments, "cannot read the input file " + path);
  std::string sql{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (sql.find(kOptOutTable) == std::string::npos)
    return Fail(Exit::kPermission,
                "the query does not say whether it includes patients who opted out: it must refer "
                "to " +
                    std::string(kOptOutTable));
  return sql;
}

Outcome<> CopyDummyData(const Arguments& arguments) {
  std::error_code error;
  const std::filesystem::path output = arguments.output;
  if (std::filesystem::equivalent(arguments.dummy_data_file, output, error)) return {};
  if (output.has_parent_path()) std::filesystem::create_directories(output.parent_path(), error);
  std::filesystem::copy_file(arguments.dummy_data_file, output,
                             std::filesystem::copy_options::overwrite_existing, error);
  if (error) return Fail(Exit::kDataFile, "cannot copy the dummy data: " + error.message());
  return {};
}

Outcome<> WriteRows(Rows& rows, const std::string& output, EventLog& log) {
  auto file = CsvFile::Create(output);
  if (!file) return tl::unexpected(file.error());
  Row row(rows.columns().begin(), rows.columns().end());
  for (int64_t count = 0;; ++count) {
    if (auto written = file->Write(row); !written) return written;
    auto more = rows.Next(row);
    if (!more) return tl::unexpected(more.error());
    if (*more) continue;
    log.Write("finish_writing_results", {{"rows", count}});
    return file->Finish();
  }
}

Outcome<> Run(const Arguments& arguments, EventLog& log) {
  auto sql = ReadQuery(arguments.input);
  if (!sql) return tl::unexpected(sql.error());
  if (arguments.dsn.empty() && !arguments.dummy_data_file.empty()) return CopyDummyData(arguments);
  if (arguments.dsn.empty())
    return Fail(Exit::kArguments,
                "no database: give --dsn or DATABASE_URL, or --dummy-data-file to do without");
  log.Write("start_executing_sql_query");
  auto rows = Query(arguments.dsn, *sql);
  if (!rows) return tl::unexpected(rows.error());
  log.Write("start_writing_results");
  return WriteRows(**rows, arguments.output, log);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Runs an SQL file against a database and writes a CSV file", "sqlrunner");
  app.add_option("input", arguments.input, "path of the SQL file")->required();
  app.add_option("--output", arguments.output, "path of the CSV file; .gz compresses")->required();
  app.add_option("--dummy-data-file", arguments.dummy_data_file,
                 "copied to the output when there is no database");
  app.add_option("--log-file", arguments.log_file, "events go here too");
  app.add_option("--dsn", arguments.dsn, "data source name")->envname("DATABASE_URL");
  app.set_version_flag("--version", "sqlrunner 1 (carrel)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::kArguments);
  }
  EventLog log(arguments.log_file);
  if (!log.good()) {
    fprintf(stderr, "sqlrunner: cannot write the log file %s\n", arguments.log_file.c_str());
    return static_cast<int>(Exit::kArguments);
  }
  auto done = Run(arguments, log);
  if (done) return 0;
  log.Write("failed", {{"exit_code", static_cast<int>(done.error().exit)}});
  fprintf(stderr, "sqlrunner: %s\n", done.error().message.c_str());
  return static_cast<int>(done.error().exit);
}

}  // namespace
}  // namespace sqlrunner

int main(int argc, char** argv) { return sqlrunner::Main(argc, argv); }
