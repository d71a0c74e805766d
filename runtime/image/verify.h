// Whether an image is still what was imported.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/image_store.h"

namespace carrel {

/// Recomputes the digests of manifest, configuration, layers (as stored, and their content against
/// diff_ids), the listing, and every file of the tree against the listing. At most about 100
/// findings, printable. The caller holds the store's lock.
Result<std::vector<std::string>> VerifyImage(int root, const Image& image);

/// The listing and the files of the tree alone.
Result<std::vector<std::string>> VerifyTree(int root, const Image& image);

}  // namespace carrel
