// Images of the store as docker names and shows them.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// The manifest's digest of what docker calls `reference`: "name", which is "name:latest" or its
/// one tag, "name:tag", "name@sha256:...", or an id. kBadInput "No such image: X".
Result<std::string> ResolveForDocker(const std::string& state_dir, const std::string& reference);

/// `docker image inspect`.
Result<OrderedJson> InspectImage(const std::string& state_dir, const std::string& reference);

}  // namespace carrel
