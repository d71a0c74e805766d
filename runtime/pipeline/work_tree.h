// The directory that a tester runs: a git work tree, at the commit that its jobs will run. Its own
// git configuration, hooks and filters have no say: a repository of carrel's reads its objects.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

struct WorkTreeRequest {
  std::string directory;  ///< the root of a work tree
  std::string state_dir;  ///< carrel's repository is made in <state_dir>/pipelines
  std::vector<std::string> allowed_repositories;  ///< HostConfig's
  bool allow_uncommitted = false;                 ///< snapshot what is not committed
};

struct WorkTree {
  std::string directory;  ///< absolute
  std::string repo_url;   ///< what the jobs name: the directory, its origin, or carrel's snapshots
  std::string commit;     ///< full hash, on a branch of `repo_url`
  std::string branch;     ///< or empty
  std::vector<std::string> uncommitted;  ///< paths that the snapshot took in
  std::string project;                   ///< text of project.yaml at the commit
  UniqueFd lock;                         ///< of carrel's repository
};

/// Uncommitted changes are kBadInput that names the files, or with `allow_uncommitted` become a
/// commit in a repository below `state_dir`, which must be in `allowed_repositories` as any other.
/// kRefused: no repository that the host allows. kBadInput: no work tree, no commit, no
/// project.yaml.
Result<WorkTree> OpenWorkTree(const WorkTreeRequest& request);

}  // namespace carrel
