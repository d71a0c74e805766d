// A bare mirror of one allowed repository, and hardened git commands in it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

class GitMirror {
 public:
  /// Opens (makes, when missing) the mirror of `repository` (a normal form of repository.h) under
  /// `<state_dir>/repos`, and holds its lock until the object goes. `sha256` is the kind of object
  /// ids.
  static Result<GitMirror> Open(const std::string& state_dir, const std::string& repository,
                                bool sha256);

  /// Fetches the branches and tags, and nothing else: commits of forks, which some forges serve by
  /// hash, do not come along.
  Result<void> Fetch();

  /// The id of the commit's tree; empty when the mirror has no such object. kBadInput when the
  /// object is no commit.
  Result<std::string> TreeOf(const std::string& commit) const;

  /// True when a branch or tag contains the commit.
  Result<bool> IsReachable(const std::string& commit) const;

  /// `git ls-tree -r -t -l -z` of a tree. kBadInput when it is longer than any real study's: a
  /// hundred nested copies of one directory are a small repository and an endless list.
  Result<std::string> ListTree(const std::string& tree) const;

  /// A file (already unlinked, at offset 0) with `git cat-file --batch` of the ids, in order.
  Result<UniqueFd> ReadBlobs(const std::vector<std::string>& ids) const;

 private:
  GitMirror() = default;
  Result<std::string> Git(std::vector<std::string> args, const std::string& input = "",
                          int output_fd = -1, size_t max_output = 16u << 20) const;
  /// What is wrong with a fetch that failed: the repository's content (kBadInput), or the way to
  /// it.
  Error FetchError(Error error) const;
  Result<void> Make(bool sha256);
  /// Packs the mirror anew when fetches have left many packs.
  Result<void> Tidy();

  std::string repository_;
  std::string directory_;  ///< <state_dir>/repos
  std::string name_;       ///< of the mirror in it
  UniqueFd directory_fd_;
  UniqueFd lock_;
};

}  // namespace carrel
