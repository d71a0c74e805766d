// The flattened tree as a whole: its last touches, its listing, and the comparison with it.
//
// A listing has one line for each path, depth first, names sorted by byte:
//   d MODE PATH
//   f MODE SIZE MTIME CONTENT-SHA256 PATH
//   l TARGET PATH          (names and targets with \xNN, a space as \x20)
//   ? MODE PATH            (nothing that an import makes)
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/objects.h"

namespace carrel {

/// The directories that a start mounts on. They must be real directories: mounting through a link
/// of the image's would reach into the host (CVE-2023-27561 and its kin).
inline constexpr const char* kMountPoints[] = {"dev", "etc", "proc",     "run",
                                               "sys", "tmp", "workspace"};

/// Makes the missing mount points (0755). kBadInput when one is a link or no directory.
Result<void> MakeMountPoints(int tree);

/// Sets mode and time of every directory: from `directories` by path, else 0755 and the epoch.
/// The root is 0755 always.
Result<void> SetDirectories(int tree, const std::map<std::string, FileMeta>& directories);

/// The SHA-256 (64 hex digits) of the content of the regular file `name` in `dir`.
using ContentDigest =
    std::function<Result<std::string>(int dir, const std::string& name, const struct stat& info)>;

struct TreeTotals {
  uint64_t bytes = 0;    ///< sizes of all regular files, by path
  uint64_t entries = 0;  ///< paths, without the root
};

/// Hands the lines of the listing to `line`, without line ends.
Result<TreeTotals> ListTree(int tree, const ContentDigest& digest,
                            const std::function<Result<void>(const std::string&)>& line);

/// Reads every file. Each inode once.
Result<std::string> ReadContentDigest(int dir, const std::string& name);

/// What differs between the tree and the text of its listing, a line each, at most `max_findings`
/// and then a line with the number of the others.
Result<std::vector<std::string>> CompareTree(int tree, std::string_view listing,
                                             size_t max_findings);

}  // namespace carrel
