// clone3 and the handshake: from a lowered plan to a running init.
#pragma once

#include <sys/types.h>

#include "base/unique_fd.h"
#include "launch/lower.h"

namespace carrel {

/// The init of a running action.
struct LaunchedInit {
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd report;  ///< receives carrel_init_report messages
};

/// The action's ends of its standard streams.
struct ActionStreams {
  UniqueFd in, out, err;
};

/// Starts the init in the cgroup and hands `streams` over. When it returns, the init has been
/// executed with every operation applied; on an error nothing runs, and the error tells the
/// operation, the system call and errno.
Result<LaunchedInit> Launch(const LaunchPlan& plan, const LoweredPlan& lowered,
                            const Cgroup& cgroup, ActionStreams streams);

}  // namespace carrel
