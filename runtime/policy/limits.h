// What one job may use. Set by the policy and the host; a job can ask for less, and up to the
// maximum of both for memory and processors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// The memory that a run may be given: with less not even its own set-up fits.
inline constexpr uint64_t kLeastMemory = 16ull << 20;
inline constexpr uint64_t kMostMemory = 64ull << 40;
/// As options and members that are wrong say it.
inline constexpr const char* kMemoryForm =
    "must be a size from 16M to 64T, such as \"4G\", \"512M\" or a number of bytes";

struct Limits {
  uint64_t memory_bytes = 0;    ///< of all tasks, tmpfs included; no swap
  uint64_t cpu_milli = 0;       ///< thousandths of a processor
  uint64_t pids = 0;            ///< tasks (processes and threads)
  uint64_t time_seconds = 0;    ///< wall clock, then TERM, a grace time, KILL
  uint64_t scratch_bytes = 0;   ///< what the action writes in /workspace
  uint64_t scratch_inodes = 0;  ///< files and directories there
  uint64_t file_bytes = 0;      ///< largest single file (RLIMIT_FSIZE)
  uint64_t log_bytes = 0;       ///< stdout and stderr together
  uint64_t audit_bytes = 0;     ///< of the audit log; then the action is killed
  uint64_t open_files = 0;      ///< descriptors of one process (RLIMIT_NOFILE)
};

/// One member of Limits: its JSON name and the values that make sense at all.
struct LimitMember {
  const char* name;
  uint64_t Limits::*member;
  uint64_t least;
  uint64_t most;
};

/// "memory", "cpus", "pids", "time_seconds", "scratch_bytes", "scratch_inodes", "file_bytes",
/// "log_bytes", "audit_bytes", "open_files".
const std::vector<LimitMember>& LimitMembers();

/// Those that a document names. Sizes are numbers of bytes or text such as "4G"; cpus a number or
/// text such as "0.5".
using PartialLimits = std::map<std::string, uint64_t>;

Result<PartialLimits> DecodeLimits(const Json& value, const std::string& pointer);

/// Overwrites the members of `limits` that `partial` has.
void ApplyLimits(const PartialLimits& partial, Limits& limits);

/// Lowers the members of `limits` to those of `maxima`; nothing is raised.
void CapLimits(const PartialLimits& maxima, Limits& limits);

OrderedJson ToJson(const Limits& limits);

}  // namespace carrel
