// A database file that is being written, or that holds its newest transactions in a file beside it
// (write-ahead log, rollback journal): what the action sees of the file alone would be old or torn.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// A copy of a database for one job, in <state>/database-copies (root's alone). Removed with this.
class SqliteCopy {
 public:
  ~SqliteCopy();
  SqliteCopy(const SqliteCopy&) = delete;
  SqliteCopy& operator=(const SqliteCopy&) = delete;

  const std::string& path() const { return path_; }

  /// Whether the file alone is not the database: its header says WAL, or a log or journal that is
  /// not empty lies beside it.
  static Result<bool> IsNeeded(const std::string& database);

  /// The last committed state of `database`, as a file that needs no other. Fails, after
  /// `wait_ms`, when a transaction holds the database; and when one was interrupted, which a
  /// reader must not roll back. Removes what killed jobs have left in the directory.
  static Result<std::unique_ptr<SqliteCopy>> Make(const std::string& database,
                                                  const std::string& state, int wait_ms = 30'000);
  /// Makes the copy again: the database may have changed since.
  Result<void> Refresh(int wait_ms = 30'000);

 private:
  SqliteCopy() = default;

  UniqueFd dir_, lock_;  ///< a copy is in use as long as its lock is held
  std::string database_, name_, path_;
};

}  // namespace carrel
