#include "job/sqlite_copy.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;
using testing_support::WriteFile;

class SqliteCopyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database_), SQLITE_OK);
    Run("CREATE TABLE t (x)");
    Run("INSERT INTO t VALUES (1)");
  }
  void TearDown() override { sqlite3_close(database_); }
  void Run(const std::string& sql) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK)
        << sql << ": " << (error != nullptr ? error : "");
    sqlite3_free(error);
  }
  // What a reader that cannot write finds, or -1.
  static int Rows(const std::string& path) {
    sqlite3* reader = nullptr;
    sqlite3_open_v2(("file:" + path + "?immutable=1").c_str(), &reader,
                    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
    int rows = -1;
    auto take = [](void* out, int, char** values, char**) {
      *static_cast<int*>(out) = std::stoi(values[0]);
      return 0;
    };
    sqlite3_exec(reader, "SELECT count(*) FROM t", take, &rows, nullptr);
    sqlite3_close(reader);
    return rows;
  }
  Result<std::unique_ptr<SqliteCopy>> Copy() { return SqliteCopy::Make(path_, dir_.path(), 50); }
  size_t Copies() {
    auto dir = OpenPath(dir_ / "database-copies", O_RDONLY | O_DIRECTORY);
    return dir ? ListDir(dir->get())->size() : 0;
  }

  TempDir dir_;
  std::string path_ = dir_ / "p.sqlite";
  sqlite3* database_ = nullptr;
};

TEST_F(SqliteCopyTest, AFileThatIsWholeNeedsNone) {
  EXPECT_FALSE(*SqliteCopy::IsNeeded(path_));
  Run("BEGIN; INSERT INTO t VALUES (2)");
  EXPECT_TRUE(*SqliteCopy::IsNeeded(path_));
  Run("COMMIT");
  EXPECT_FALSE(*SqliteCopy::IsNeeded(path_));
  Run("PRAGMA journal_mode=WAL");
  EXPECT_TRUE(*SqliteCopy::IsNeeded(path_));
  EXPECT_FALSE(SqliteCopy::IsNeeded(dir_ / "none").has_value());
}

TEST_F(SqliteCopyTest, HoldsWhatIsInTheLogAndNeedsNoOtherFile) {
  Run("PRAGMA journal_mode=WAL");
  Run("INSERT INTO t VALUES (2)");
  EXPECT_NE(Rows(path_), 2);
  auto copy = Copy();
  ASSERT_TRUE(copy.has_value()) << copy.error().ToString();
  EXPECT_EQ(Rows((*copy)->path()), 2);
  EXPECT_FALSE(*SqliteCopy::IsNeeded((*copy)->path()));
  struct stat info {};
  ASSERT_EQ(::stat((*copy)->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
  ASSERT_EQ(::stat((dir_ / "database-copies").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  Run("INSERT INTO t VALUES (3)");
  EXPECT_EQ(Rows((*copy)->path()), 2);
  ASSERT_TRUE((*copy)->Refresh().has_value());
  EXPECT_EQ(Rows((*copy)->path()), 3);
  EXPECT_EQ(Copies(), 1u);
  copy->reset();
  EXPECT_EQ(Copies(), 0u);
}

TEST_F(SqliteCopyTest, HoldsNothingOfATransactionThatGoesOn) {
  Run("PRAGMA cache_size=1");
  Run("BEGIN");
  for (int i = 0; i < 1000; ++i) Run("INSERT INTO t VALUES (hex(randomblob(200)))");
  // A part of it is in the file already, for which its lock is held.
  auto copy = Copy();
  ASSERT_FALSE(copy.has_value());
  EXPECT_EQ(copy.error().code, EAGAIN);
  EXPECT_EQ(Copies(), 0u);
  Run("ROLLBACK; BEGIN; INSERT INTO t VALUES (2)");
  copy = Copy();
  ASSERT_TRUE(copy.has_value()) << copy.error().ToString();
  EXPECT_EQ(Rows((*copy)->path()), 1);
}

// Its writer is gone. To roll it back is to write, which is not a reader's to do.
TEST_F(SqliteCopyTest, AnInterruptedTransactionIsAFault) {
  Run("PRAGMA cache_size=1");
  Run("BEGIN");
  for (int i = 0; i < 1000; ++i) Run("INSERT INTO t VALUES (hex(randomblob(200)))");
  const std::string torn = dir_ / "torn.sqlite";
  const std::string journal = *ReadFile(path_ + "-journal");
  WriteFile(torn, *ReadFile(path_));
  WriteFile(torn + "-journal", journal);
  ASSERT_TRUE(*SqliteCopy::IsNeeded(torn));
  auto copy = SqliteCopy::Make(torn, dir_.path(), 50);
  ASSERT_FALSE(copy.has_value());
  EXPECT_NE(copy.error().ToString().find("interrupted"), std::string::npos)
      << copy.error().ToString();
  EXPECT_EQ(*ReadFile(torn + "-journal"), journal);
}

TEST_F(SqliteCopyTest, WhatKilledJobsLeftGoesAndWhatIsInUseStays) {
  Run("PRAGMA journal_mode=WAL");
  auto first = Copy();
  ASSERT_TRUE(first.has_value());
  WriteFile(dir_ / "database-copies/left.sqlite", "x");
  auto second = Copy();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(Copies(), 2u);
  EXPECT_EQ(Rows((*first)->path()), 1);
}

}  // namespace
}  // namespace carrel
