// A directory tree as one image layer, bit for bit the same whenever, wherever and by whom the tree
// was made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

struct Layer {
  std::string diff_id;  ///< "sha256:..." of the tar
  std::string digest;   ///< "sha256:..." of the compressed tar
  uint64_t size = 0;    ///< bytes of the compressed tar
};

/// True when `path` (relative, normal, in the image) does not belong in an image: what the build or
/// the machine left there (logs, caches, package lists, the machine's names), what could raise
/// privilege, and documentation. Directories that a start needs stay, empty.
bool IsLeftOut(std::string_view path);

/// Makes the head of a compiled Python file independent of its source's time: Python then uses it
/// without a check. Anything else is left as it is.
void DetachFromSourceTime(std::string_view path, char* head, size_t size);

/// Writes the tree below the directory `root` to `out` as a zstd-compressed tar: names sorted,
/// owner 0:0, every time `epoch`, no setuid or setgid bit, no extended attribute, regular files,
/// directories, links and nothing else. Links are never followed.
Result<Layer> WriteLayer(int root, int64_t epoch, int out);

}  // namespace carrel
