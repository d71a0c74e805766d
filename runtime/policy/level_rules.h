// levels.json on a host: who owns what carrel writes at each level.
#pragma once

#include "base/result.h"
#include "policy/host_config.h"
#include "policy/policy.h"

namespace carrel {

/// Fills in what the configuration leaves to levels.json (owner, group, modes). kBadInput when the
/// host has no such user or group; kRefused when the configuration gives a level's files to more
/// people than levels.json does.
Result<void> ApplyLevelRules(const Policy& policy, HostConfig& host);

}  // namespace carrel
