// The policy that this host's configuration names: a directory, or a signed bundle.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "policy/host_config.h"
#include "policy/policy.h"

namespace carrel {

/// The snapshot that one run uses. A bundle that is unsigned, altered, expired or rolled back is
/// kRefused.
Result<Policy> LoadHostPolicy(const HostConfig& host, int64_t now_ns);

/// For a run, not a question: the bundle's serial is kept in <state>/policy-bundle.json, and no
/// older bundle is accepted afterwards. Nothing for a policy without a serial.
Result<void> RememberPolicy(const HostConfig& host, int64_t serial, const std::string& digest);

}  // namespace carrel
