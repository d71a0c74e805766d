// Landlock, as a second wall behind the mounts, the filter and the namespaces.
#pragma once

#include "launch/child/context.h"

namespace carrel::child {

/// Confines the calling task for good. A negative errno, when the kernel refuses a rule.
long ApplyLandlock(Context& context, const LandlockRules& rules);

}  // namespace carrel::child
