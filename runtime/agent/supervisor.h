// The process that does one phase of a job, on its own: it outlives the verb and the agent, and has
// no terminal, no session and no standard streams of theirs.
#pragma once

#include <functional>

#include "agent/job_dir.h"

namespace carrel {

/// Tells the verb that waits that it need not wait any longer.
using Ready = std::function<void()>;

/// Forks a supervisor of `dir`, which does `work` and ends. `supervision` is its lock
/// (JobDir::TakeSupervision). Returns when the work is done, when it said Ready, or after
/// `wait_ms`. What `work` returns as an Error goes to the job's supervisor.log: it has no other
/// reader.
Result<void> StartSupervisor(JobDir& dir, UniqueFd supervision, int wait_ms,
                             const std::function<Result<void>(const Ready&)>& work);

}  // namespace carrel
