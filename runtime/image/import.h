// The way of one image into the store.
//
//   input -> work dir (digested copies) -> manifest, config, layers checked
//         -> layers applied to work/rootfs -> mount points, modes, listing -> syncfs
//         -> renamed into place -> record (the image exists) -> names
#pragma once

#include <string>

#include "base/result.h"
#include "image/image_store.h"
#include "image/import_options.h"

namespace carrel {

/// Under the store's shared lock, which the caller holds. Returns the manifest's hex digest. On
/// error everything that was made is left to a sweep.
Result<std::string> ImportImage(int root, const std::string& path, const ImportOptions& options);

}  // namespace carrel
