#include "job/sqlite_copy.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "gateway/secret.h"

namespace carrel {
namespace {

constexpr const char* kDirectory = "/database-copies";
constexpr size_t kHeaderBytes = 20;  // the file's format and its write and read versions

using Database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;
using Backup = std::unique_ptr<sqlite3_backup, decltype(&sqlite3_backup_finish)>;

bool HasBytes(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && info.st_size > 0;
}

Result<Database> Open(const std::string& path, int flags, int wait_ms) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database database(raw, &sqlite3_close);
  if (code != SQLITE_OK) return Fault(path, sqlite3_errstr(code));
  sqlite3_busy_timeout(raw, wait_ms);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return database;
}

Error Failure(const std::string& database, int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: {
      Error error = Fault(database, "a transaction holds the database", "Try again later");
      error.code = EAGAIN;
      return error;
    }
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return Fault(database, "a transaction on the database was interrupted",
                   "Open it once with `sqlite3`, which rolls back, or set `maintenance`");
    case SQLITE_FULL:
      return Fault(database, "there is no room for a copy of the database");
    default:
      return Fault(database, "the database cannot be copied: " + std::string(sqlite3_errstr(code)));
  }
}

Result<void> CopyPages(const std::string& from, const std::string& to, int wait_ms) {
  CARREL_ASSIGN(const Database source, Open(from, SQLITE_OPEN_READONLY, wait_ms));
  CARREL_ASSIGN(const Database copy, Open(to, SQLITE_OPEN_READWRITE, 0));
  // The copy is not there before the job, nor after it: nothing of it has to survive a crash.
  sqlite3_exec(copy.get(), "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);
  Backup backup(sqlite3_backup_init(copy.get(), "main", source.get(), "main"),
                &sqlite3_backup_finish);
  if (backup == nullptr) return Failure(from, sqlite3_errcode(copy.get()));
  // All pages in one step: one read transaction, so one state.
  const int code = sqlite3_backup_step(backup.get(), -1);
  if (code != SQLITE_DONE) return Failure(from, code);
  backup.reset();
  // A header that says WAL would make every reader look for the log.
  const int mode =
      sqlite3_exec(copy.get(), "PRAGMA journal_mode=DELETE", nullptr, nullptr, nullptr);
  if (mode != SQLITE_OK) return Failure(from, mode);
  return {};
}

void RemoveLeftovers(int dir) {
  auto names = ListDir(dir);
  if (!names) return;
  for (const std::string& name : *names) {
    auto file = OpenBeneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (file && ::flock(file->get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(dir, name.c_str(), 0);
  }
}

}  // namespace

SqliteCopy::~SqliteCopy() {
  if (dir_ && !name_.empty()) ::unlinkat(dir_.get(), name_.c_str(), 0);
}

Result<bool> SqliteCopy::IsNeeded(const std::string& database) {
  if (HasBytes(database + "-wal") || HasBytes(database + "-journal")) return true;
  CARREL_ASSIGN(const UniqueFd file, OpenPath(database, O_RDONLY | O_NOFOLLOW));
  char header[kHeaderBytes] = {};
  const ssize_t n = ::pread(file.get(), header, sizeof header, 0);
  if (n < 0) return SysFault(database, "read");
  // 1 is a rollback journal, 2 a write-ahead log.
  return n == sizeof header && (header[18] == 2 || header[19] == 2);
}

Result<void> SqliteCopy::Refresh(int wait_ms) { return CopyPages(database_, path_, wait_ms); }

Result<std::unique_ptr<SqliteCopy>> SqliteCopy::Make(const std::string& database,
                                                     const std::string& state, int wait_ms) {
  std::unique_ptr<SqliteCopy> copy(new SqliteCopy);
  CARREL_ASSIGN(copy->dir_, MakeDirs(state + kDirectory, 0700));
  // Between a copy's making and its locking nobody looks for leftovers.
  if (::flock(copy->dir_.get(), LOCK_EX) != 0) return SysFault(state, "flock");
  RemoveLeftovers(copy->dir_.get());
  CARREL_ASSIGN(const std::string random, gateway::RandomHex(8));
  const std::string name = random + ".sqlite";
  CARREL_ASSIGN(copy->lock_,
                OpenBeneath(copy->dir_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  copy->database_ = database;
  copy->name_ = name;
  copy->path_ = state + kDirectory + "/" + name;
  if (::flock(copy->lock_.get(), LOCK_EX) != 0) return SysFault(state, "flock");
  ::flock(copy->dir_.get(), LOCK_UN);
  CARREL_TRY(copy->Refresh(wait_ms));
  if (::fchmod(copy->lock_.get(), 0644) != 0) return SysFault(state, "fchmod");
  return copy;
}

}  // namespace carrel
