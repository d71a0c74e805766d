// What is the same for every job on a host and is prepared once under `<state>/host`: the device
// directory, the files that cover parts of /proc, and the view of processors and memory.
#pragma once

#include "plan/launch_plan.h"

namespace carrel {

/// Makes what is missing (atomically; safe when several start at once) and checks the type and
/// number of every device node. A state directory on a file system without device nodes is an
/// error.
Result<HostTemplates> PrepareHostTemplates(const std::string& state_dir, const LaunchLimits& limits,
                                           int online_cpus);

}  // namespace carrel
