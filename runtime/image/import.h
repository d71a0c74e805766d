// The way of one image into the store.
//
//   input -> work dir (digested copies) -> manifest, config, layers checked
//         -> layers applied to work/rootfs -> mount points, modes, listing -> syncfs
//         -> renamed into place -> record (the image exists) -> names
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/image_store.h"
#include "image/import_options.h"

namespace carrel {

struct ImportedImage {
  std::string hex;  ///< of the manifest's digest
  std::vector<GivenName> given;
};

/// Under the store's shared lock, which the caller holds. On error everything that was made is left
/// to a sweep.
Result<ImportedImage> ImportImage(int root, const std::string& path, const ImportOptions& options);

}  // namespace carrel
