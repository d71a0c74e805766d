// The audit logs of a state directory as files: for those who count them or clear them away.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

struct AuditFile {
  std::string id;  ///< of the log: the job's id, or "id.2"
  uint64_t bytes = 0;
  int64_t changed_s = 0;  ///< seconds since the epoch
  bool sealed = false;    ///< its last block is a seal; whether it is a good one, VerifyLog says
};

/// The logs in <state>/audit, by name; none when there is no such directory. Reads the header of
/// each block only.
Result<std::vector<AuditFile>> ListAuditFiles(const std::string& state);

/// The ids of the runs under <state>/run whose process lives (`running`), or is gone (`stale`).
struct RunNames {
  std::vector<std::string> running, stale;
};
Result<RunNames> ListRuns(const std::string& state);

}  // namespace carrel
