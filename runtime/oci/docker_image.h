// Images of the store as docker names and shows them.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "image/image_store.h"

namespace carrel {

/// The manifest's digest of what docker calls `reference`: "name", which is "name:latest" or its
/// one tag, "name:tag", "name@sha256:...", or an id. kBadInput "No such image: X".
Result<std::string> ResolveForDocker(const std::string& state_dir, const std::string& reference);

/// `docker image inspect`.
Result<OrderedJson> InspectImage(const std::string& state_dir, const std::string& reference);

/// A container's labels: its image's (the agent reads an action's version off them), and over them
/// those of the call.
std::map<std::string, std::string> ContainerLabels(const Image& image,
                                                   const std::map<std::string, std::string>& more);

}  // namespace carrel
