// Reads what a plan needs to know about this host.
#pragma once

#include "plan/launch_plan.h"

namespace carrel {

/// kFault when something without which nothing can run is missing (no cgroup v2 tree, no memory or
/// pids controller), naming it.
Result<HostFacts> GatherHostFacts();

}  // namespace carrel
