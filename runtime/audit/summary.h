// What a log amounts to: the counts that `audit show` and `audit stats` print.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "audit/log_reader.h"
#include "audit/query.h"

namespace carrel {

struct SyscallStats {
  std::string name;
  uint64_t count = 0;
  uint64_t errors = 0;
  uint64_t denied = 0;
  uint64_t time_ns = 0;
};

/// Calls by syscall.
class SyscallTable {
 public:
  void Add(const AuditEvent& call);
  void Merge(const SyscallTable& other);
  /// Most calls first.
  std::vector<SyscallStats> Sorted() const;

 private:
  std::unordered_map<uint64_t, SyscallStats> calls_;  ///< number, and 1 << 32 for the 32-bit table
};

/// Adds the calls of `log` that the filter lets through.
Result<void> CountSyscalls(LogReader& log, const EventFilter& filter, SyscallTable& table);

struct ProcessStats {
  uint32_t pid = 0;  ///< inside
  std::string comm;
  std::string program;  ///< the last executed, with its arguments
  std::string ended;    ///< "exit 0", or "" when its end is not in the log
  uint64_t calls = 0;
};

struct LogSummary {
  uint64_t calls = 0;
  uint64_t errors = 0;
  uint64_t denied = 0;
  uint64_t stops = 0;
  uint64_t tasks = 0;
  int64_t first_ns = 0;  ///< epoch
  int64_t last_ns = 0;
  std::vector<SyscallStats> syscalls;       ///< most calls first
  std::map<std::string, uint64_t> refused;  ///< "openat(\"/etc/shadow\") EPERM" to its count
  std::vector<ProcessStats> processes;      ///< in the order in which they began
  std::vector<std::string> records;         ///< lifecycle records, as JSON text
  std::vector<int64_t> record_times;        ///< epoch
};

/// Reads the log to its end (see `log.end()` for how it ended). Only events that `filter` lets
/// through are counted.
Result<LogSummary> Summarize(LogReader& log, const EventFilter& filter);

}  // namespace carrel
