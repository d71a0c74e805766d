// What runs leave behind whose carrel was killed.
#pragma once

#include <string>

#include "base/result.h"
#include "plan/launch_plan.h"

namespace carrel {

/// Removes the directories and cgroups of dead runs (SweepStaleRuns), and, where there was such a
/// run, seals logs that were cut off (SealCutOffLogs). Cheap when there is nothing.
Result<void> SweepDeadRuns(const std::string& state_dir, const HostFacts& facts,
                           const std::string& cgroup_parent);

/// Seals each log that nobody writes and that no phase of a job will go on with, with what is left
/// in the ring of its events, and publishes its record. What is left of its action is killed first.
/// Logs of the agent's jobs are their verbs' to seal. One that was altered, or published with a
/// seal that is gone, stays as it is; so, for the next time, does one that cannot be written now.
Result<void> SealCutOffLogs(const std::string& state_dir, const HostFacts& facts,
                            const std::string& cgroup_parent);

}  // namespace carrel
