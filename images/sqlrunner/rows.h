// The rows of one query, one at a time: a result may be larger than memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "outcome.h"

namespace sqlrunner {

/// Text of each column; nullopt is NULL.
using Row = std::vector<std::optional<std::string>>;

class Rows {
 public:
  virtual ~Rows() = default;
  virtual const std::vector<std::string>& columns() const = 0;
  /// Fills `row`; false after the last one.
  virtual Outcome<bool> Next(Row& row) = 0;
};

/// `path` is opened read-only and as immutable: SQLite takes no lock and writes no journal, so a
/// read-only mount is enough. Only reading is permitted: no ATTACH, no PRAGMA, no change.
Outcome<std::unique_ptr<Rows>> QuerySqlite(const std::string& path, const std::string& sql);

/// `url` is a postgresql:// URL. The query runs in a read-only transaction.
Outcome<std::unique_ptr<Rows>> QueryPostgres(const std::string& url, const std::string& sql);

/// Chooses by the scheme of `dsn`: sqlite:///PATH (always absolute; a fourth slash, as SQLAlchemy
/// wants it, changes nothing), postgresql://... (with or without "+driver").
Outcome<std::unique_ptr<Rows>> Query(const std::string& dsn, const std::string& sql);

}  // namespace sqlrunner
