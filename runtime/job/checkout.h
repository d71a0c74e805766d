// The study's code at its commit, from a repository that may be hostile (security.md, "study
// repository"). Host git fetches into a bare mirror; carrel reads the tree's objects itself and
// writes the files, so that no hook, filter, attribute, submodule or configuration of the
// repository has a say in what the files hold.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

struct CheckoutRequest {
  std::string repo_url;
  std::string commit;                             ///< full hash
  std::vector<std::string> allowed_repositories;  ///< HostConfig::allowed_repositories
  std::string state_dir;            ///< mirrors are kept in <state_dir>/repos, for root alone
  int destination = -1;             ///< an empty directory that only the caller writes
  uint64_t max_bytes = 4ull << 30;  ///< of all files
  uint64_t max_files = 200'000;     ///< files, links and directories
};

struct CodeFile {
  std::string path;       ///< UTF-8, normal, relative
  mode_t mode = 0;        ///< S_IFREG|0644, S_IFREG|0755, S_IFLNK|0777 or S_IFDIR|0755
  std::string object_id;  ///< git's hash of the blob, checked against what was written; else ""
  uint64_t bytes = 0;
};

struct Checkout {
  std::string commit;
  std::string tree_id;
  std::vector<CodeFile> files;          ///< in git's order; directories before what is in them
  std::vector<std::string> submodules;  ///< left as empty directories, as git does without them
  bool fetched = false;                 ///< false: the mirror had the commit
};

/// Writes the tree of `commit` beneath `destination`: owner root, files 0644 or 0755, directories
/// 0755, links kept as links and never followed. kRefused: the repository is not allowed, or the
/// commit is on none of its branches and tags (as commits of a fork are); kBadInput: no such
/// commit, a name that is not safe on the host, too large. On an error the destination may hold a
/// part; the caller removes it.
Result<Checkout> CheckoutCode(const CheckoutRequest& request);

}  // namespace carrel
