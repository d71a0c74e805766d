// What people and metrics ask of jobs that the agent has given: which there are, what they print,
// what they use. Changes nothing.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "policy/host_config.h"

namespace carrel {

/// {"jobs": [{id, state, timestamp_ns, workspace, action}]}, those that were not cleaned up, by id.
/// schemas/list.schema.json
Result<OrderedJson> ListJobs(const HostConfig& host);

/// {"jobs": [{id, cpu_usec, cpu_percent, memory_bytes, memory_peak_bytes, tasks, read_bytes,
/// written_bytes, syscalls, syscalls_denied, syscalls_per_second}]} of the jobs whose action runs.
/// Takes a quarter of a second, whatever their number. schemas/stats.schema.json
Result<OrderedJson> JobStats(const HostConfig& host);

struct LogOptions {
  bool follow = false;  ///< until the action has ended
  int64_t tail = -1;    ///< only the last lines; -1: all
};

/// Gives the action's log to `sink`, in pieces: the job's own while it is there, then the published
/// one. Each line is safe to show (action_log.h). kBadInput when there is none.
Result<void> ReadJobLog(const HostConfig& host, const std::string& id, const LogOptions& options,
                        const std::function<Result<void>(std::string_view)>& sink);

}  // namespace carrel
