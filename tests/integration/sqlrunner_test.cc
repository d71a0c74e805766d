// The SQL tool of images/sqlrunner against a SQLite file.
#include <gmock/gmock.h>

#include <filesystem>

#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSchema[] =
    "create table patients(id integer, name text, weight real, note text);"
    "insert into patients values (1, 'Bo, \"B\"', 70.0, null), (2, 'two'||char(10)||'lines', 0.1, "
    "''), (3, 'secret-value', 3, x'00ff');"
    "create table PatientsWithTypeOneDissent(id integer);"
    "insert into PatientsWithTypeOneDissent values (2);";

class SqlRunner : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = RunChecked({"sqlite3", dir_ / "study.db", kSchema});
    ASSERT_TRUE(made.has_value()) << made.error().ToString();
  }

  SubprocessResult Run(const std::string& sql, std::vector<std::string> more = {},
                       bool database = true) {
    WriteFile(dir_ / "query.sql", sql);
    std::vector<std::string> argv = {CARREL_BUILD_DIR "/images/sqlrunner", "query.sql"};
    if (more.empty()) more = {"--output", "output/rows.csv"};
    argv.insert(argv.end(), more.begin(), more.end());
    SubprocessOptions options;
    options.directory = dir_.path();
    if (database) options.environment["DATABASE_URL"] = "sqlite:///" + (dir_ / "study.db");
    auto result = RunSubprocess(argv, options);
    EXPECT_TRUE(result.has_value());
    return result.value_or(SubprocessResult{-1, "", ""});
  }

  std::string Read(const std::string& name) { return ReadFile(dir_ / name).value_or("(none)"); }
  bool Exists(const std::string& name) { return std::filesystem::exists(dir_ / name); }

  TempDir dir_;
};

TEST_F(SqlRunner, WritesRfc4180) {
  auto result =
      Run("select * from patients where id not in (select id from PatientsWithTypeOneDissent)\n"
          "order by id;  -- the end\n",
          {"--output", "output/rows.csv", "--log-file", "log.json"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(Read("output/rows.csv"),
            "id,name,weight,note\r\n1,\"Bo, \"\"B\"\"\",70.0,\r\n3,secret-value,3.0,00ff\r\n");
  EXPECT_THAT(Read("log.json"),
              AllOf(HasSubstr("finish_writing_results"), Not(HasSubstr("secret-value"))));
  ASSERT_EQ(
      Run("select name from patients where id = 2 -- AllowedPatientsWithTypeOneDissent").exit_code,
      0);
  EXPECT_EQ(Read("output/rows.csv"), "name\r\n\"two\nlines\"\r\n");
}

TEST_F(SqlRunner, CompressesByName) {
  const std::string sql = "select id from patients -- AllowedPatientsWithTypeOneDissent";
  ASSERT_EQ(Run(sql, {"--output", "rows.csv.gz"}).exit_code, 0);
  EXPECT_EQ(RunChecked({"gzip", "-dc", dir_ / "rows.csv.gz"}).value_or(""),
            "id\r\n1\r\n2\r\n3\r\n");
  const std::string first = Read("rows.csv.gz");
  ASSERT_EQ(Run(sql, {"--output", "rows.csv.gz"}).exit_code, 0);
  EXPECT_EQ(Read("rows.csv.gz"), first);
}

TEST_F(SqlRunner, RefusesSilenceAboutOptOuts) {
  auto result = Run("select * from patients");
  EXPECT_EQ(result.exit_code, 12);
  EXPECT_THAT(result.errors, HasSubstr("PatientsWithTypeOneDissent"));
  EXPECT_FALSE(Exists("output/rows.csv"));
}

TEST_F(SqlRunner, OnlyReads) {
  for (const char* sql :
       {"delete from patients", "create table x(y)", "attach 'x.db' as x",
        "pragma journal_mode=wal", "vacuum into 'copy.db'", "create temp table t as select 1"}) {
    EXPECT_NE(Run(std::string(sql) + " -- PatientsWithTypeOneDissent").exit_code, 0) << sql;
  }
  EXPECT_EQ(Run("delete from patients -- PatientsWithTypeOneDissent").exit_code, 12);
  EXPECT_FALSE(Exists("x.db"));
  EXPECT_FALSE(Exists("copy.db"));
  EXPECT_FALSE(Exists("study.db-journal"));
}

TEST_F(SqlRunner, ErrorsNeverHoldData) {
  // SQLite's own message for this one quotes the row's value.
  auto result =
      Run("select json_extract('{}', name) from patients where id = 3 -- "
          "PatientsWithTypeOneDissent");
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.errors + result.output, Not(HasSubstr("secret-value")));
  EXPECT_FALSE(Exists("output/rows.csv")) << "half a result is no result";
}

TEST_F(SqlRunner, ExplainsMistakesWithTheirOwnStatus) {
  EXPECT_EQ(Run("", {"--no-such-option"}).exit_code, 2);
  EXPECT_EQ(Run("select 1 -- PatientsWithTypeOneDissent", {}, false).exit_code, 2);
  EXPECT_EQ(Run("select 1 -- PatientsWithTypeOneDissent",
                {"--output", "x.csv", "--dsn", "mysql://user:hidden@host/db"})
                .exit_code,
            2);
  auto syntax = Run("selec 1 -- PatientsWithTypeOneDissent");
  EXPECT_EQ(syntax.exit_code, 5);
  EXPECT_THAT(syntax.errors, HasSubstr("near \"selec\""));
  EXPECT_EQ(Run("select 1; select 2 -- PatientsWithTypeOneDissent").exit_code, 5);
  auto away = Run("select 1 -- PatientsWithTypeOneDissent",
                  {"--output", "x.csv", "--dsn", "postgresql://user:hidden@127.0.0.1:1/db"});
  EXPECT_EQ(away.exit_code, 3);
  EXPECT_THAT(away.errors + away.output, Not(HasSubstr("hidden")));
}

TEST_F(SqlRunner, DummyDataOnlyWithoutADatabase) {
  WriteFile(dir_ / "dummy.csv", "id\r\n99\r\n");
  const std::string sql = "select id from patients where id = 1 -- PatientsWithTypeOneDissent";
  const std::vector<std::string> more = {"--output", "o/rows.csv", "--dummy-data-file",
                                         "dummy.csv"};
  ASSERT_EQ(Run(sql, more, false).exit_code, 0);
  EXPECT_EQ(Read("o/rows.csv"), "id\r\n99\r\n");
  ASSERT_EQ(Run(sql, more, true).exit_code, 0);
  EXPECT_EQ(Read("o/rows.csv"), "id\r\n1\r\n");
}

}  // namespace
}  // namespace carrel::testing_support
