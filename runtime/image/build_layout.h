// One layer and its configuration as an OCI image layout (a directory).
#pragma once

#include <string>

#include "base/result.h"
#include "image/build_layer.h"
#include "image/recipe.h"

namespace carrel {

/// The OCI image configuration of a built recipe, as canonical JSON text.
std::string ImageConfigJson(const Recipe& recipe, const Layer& layer);

/// Writes the layout into the directory `layout`, which holds the layer as the file "layer" (it is
/// moved to its blob). Returns the digest of the manifest, "sha256:...": the image's identity.
Result<std::string> WriteLayout(int layout, const Recipe& recipe, const Layer& layer);

}  // namespace carrel
