#include <sqlite3.h>

#include <charconv>

#include "rows.h"

namespace sqlrunner {
namespace {

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

Exit ExitFor(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Exit::kTransient;
    case SQLITE_TOOBIG:
      return Exit::kTooComplex;
    case SQLITE_AUTH:
    case SQLITE_PERM:
      return Exit::kPermission;
    default:
      return Exit::kDatabase;
  }
}

constexpr int kBusyMilliseconds = 10'000;

// Percent-encodes what has a meaning in SQLite's file: URLs.
std::string FileUrl(const std::string& path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string url = "file:";
  for (unsigned char c : path) {
    if (c == '%' || c == '?' || c == '#')
      url += {'%', kHex[c >> 4], kHex[c & 15]};
    else
      url += static_cast<char>(c);
  }
  return url + "?mode=ro";  // not immutable: a writer is kept away while the query reads
}

int AllowReading(void*, int action, const char*, const char*, const char*, const char*) {
  const bool reads = action == SQLITE_SELECT || action == SQLITE_READ ||
                     action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE;
  return reads ? SQLITE_OK : SQLITE_DENY;
}

// The shortest text that reads back as the same number, with a point, as Python writes it.
std::string DoubleText(double value) {
  char text[40];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  std::string result(text, end.ptr - text);
  if (result.find_first_not_of("-0123456789") == std::string::npos) result += ".0";
  return result;
}

std::string BlobText(const unsigned char* data, int size) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < size; ++i) text += {kHex[data[i] >> 4], kHex[data[i] & 15]};
  return text;
}

std::optional<std::string> Column(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
      return std::nullopt;
    case SQLITE_FLOAT:
      return DoubleText(sqlite3_column_double(statement, column));
    case SQLITE_BLOB: {
      auto* data = static_cast<const unsigned char*>(sqlite3_column_blob(statement, column));
      return BlobText(data, sqlite3_column_bytes(statement, column));
    }
    default: {
      auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      return std::string(data, sqlite3_column_bytes(statement, column));
    }
  }
}

class SqliteRows : public Rows {
 public:
  SqliteRows(Database database, Statement statement)
      : database_(std::move(database)), statement_(std::move(statement)) {
    for (int i = 0; i < sqlite3_column_count(statement_.get()); ++i)
      columns_.push_back(sqlite3_column_name(statement_.get(), i));
  }

  const std::vector<std::string>& columns() const override { return columns_; }

  Outcome<bool> Next(Row& row) override {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_DONE) return false;
    // While a query runs, SQLite's messages can quote values: only the kind of error is told.
    if (code != SQLITE_ROW)
      return Fail(ExitFor(code), std::string("the query failed: ") + sqlite3_errstr(code));
    row.resize(columns_.size());
    for (size_t i = 0; i < row.size(); ++i) row[i] = Column(statement_.get(), static_cast<int>(i));
    return true;
  }

 private:
  Database database_;
  Statement statement_;  // destroyed before the database
  std::vector<std::string> columns_;
};

Outcome<Database> Open(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(FileUrl(path).c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
  Database database(raw);
  if (code != SQLITE_OK)
    return Fail(Exit::kDatabase, std::string("cannot open the database: ") + sqlite3_errstr(code));
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_set_authorizer(raw, &AllowReading, nullptr);
  return database;
}

}  // namespace

Outcome<std::unique_ptr<Rows>> QuerySqlite(const std::string& path, const std::string& sql) {
  auto database = Open(path);
  if (!database) return tl::unexpected(database.error());
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code =
      sqlite3_prepare_v2(database->get(), sql.data(), static_cast<int>(sql.size()), &raw, &tail);
  Statement statement(raw);
  // No row has been read yet: the message speaks of the query's own text and of the schema.
  if (code != SQLITE_OK)
    return Fail(ExitFor(code), std::string("the query is refused by the database: ") +
                                   sqlite3_errmsg(database->get()));
  sqlite3_stmt* next = nullptr;
  const int left = static_cast<int>(sql.data() + sql.size() - tail);
  const bool more = sqlite3_prepare_v2(database->get(), tail, left, &next, nullptr) != SQLITE_OK ||
                    next != nullptr;
  sqlite3_finalize(next);
  if (!statement || sqlite3_column_count(raw) == 0 || more)
    return Fail(Exit::kDatabase, "the file must hold one statement, which gives rows");
  return std::make_unique<SqliteRows>(std::move(*database), std::move(statement));
}

}  // namespace sqlrunner
