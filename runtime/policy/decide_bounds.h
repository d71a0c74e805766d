// How much a job gets: its limits, and how large its level 4 files may be. Asking for less than the
// policy's maximum is granted, asking for more is refused.
#pragma once

#include <string>
#include <vector>

#include "policy/decide.h"
#include "policy/policy.h"

namespace carrel {

/// Sets decision.level4. The reasons for which the job is refused; none is no refusal.
std::vector<std::string> DecideLevel4(const JobRequest& request, const Policy& policy,
                                      Decision& decision);

/// Sets decision.limits: the host's defaults, the policy's, the tool's (when `tool` is not null),
/// the job's own, capped by the maxima of both. The reasons as above.
std::vector<std::string> DecideLimits(const JobRequest& request, const Policy& policy,
                                      const HostConfig& host, const Tool* tool, Decision& decision);

}  // namespace carrel
