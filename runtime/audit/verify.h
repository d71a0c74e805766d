// Is this log the one that was written, whole and unchanged?
#pragma once

#include <string>

#include "audit/log_reader.h"

namespace carrel {

enum class LogFinding {
  kWhole,       ///< every block, the seal and its signature are good
  kUnsealed,    ///< good as far as it goes; there is no seal yet: the job runs, or will go on
  kTruncated,   ///< good as far as it goes, and ends early: carrel was killed, or it was cut off
  kAltered,     ///< not what was written
  kUnknownKey,  ///< whole by itself, but sealed with a key that this host does not know
  kIncomplete,  ///< whole, and says itself that events were lost
  kMissing,     ///< published, but not there
};

/// One word for it: "whole", "unsealed"...
const char* FindingName(LogFinding finding);

/// The exit status of `carrel audit verify`, one for each finding (README).
int FindingStatus(LogFinding finding);

struct LogVerdict {
  LogFinding finding = LogFinding::kAltered;
  std::string why;  ///< a sentence; of a whole log only when carrel was killed over it
  std::string job;
  std::string head;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  uint64_t events = 0;
  uint64_t denied = 0;
};

/// Reads all of the log: chain, content of every block, counts, seal. `job` is the id that its name
/// promises; a log of another job under that name is kAltered.
Result<LogVerdict> VerifyLog(const std::string& state_dir, const std::string& path,
                             const std::string& job);

}  // namespace carrel
