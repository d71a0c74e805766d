// A container's own records: in its audit log, and in the public one.
#pragma once

#include <string>

#include "audit/audit_log.h"
#include "audit/public_log.h"
#include "job/sandbox.h"
#include "oci/container.h"
#include "plan/launch_plan.h"
#include "policy/decide.h"

namespace carrel {

/// The first record of its audit log.
Json ContainerRecord(const ContainerConfig& config, const LaunchRequest& request,
                     const Decision& decision);

/// `run`: the action's, or why there was none; `state`: the container's at its end. Of what carrel
/// doesn't know (repository and commit of the code) nothing is said.
PublicJob PublicJobOf(const Container& container, const Decision& decision,
                      const std::string& image_digest, const Result<SandboxResult>& run,
                      const ContainerState& state, const AuditSeal& seal);

}  // namespace carrel
