// Writing into a workspace: streaming copies, staged out of sight, then renamed into place.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/host_config.h"

namespace carrel {

struct CopiedFile {
  uint64_t size = 0;
  std::string sha256;
};

/// Copies contents and hashes what it writes. Holes stay holes; blocks are shared where the file
/// system can (FICLONE).
class Copier {
 public:
  /// `check` is called every 256 KiB; its error ends the copy.
  explicit Copier(std::function<Result<void>()> check = {});
  /// From the start of `from` to the end, into `to` (new and empty, open for reading and writing).
  /// More than `max_bytes` is an Error (EFBIG): the file grew.
  Result<CopiedFile> Copy(int from, int to, uint64_t max_bytes);

 private:
  Result<void> HashZeros(Sha256& hash, uint64_t count);

  std::function<Result<void>()> check_;
  std::vector<char> buffer_;
  bool try_clone_ = true;
};

/// The name of a job's staging directories.
inline constexpr const char* kStagingPrefix = ".carrel-staging-";

/// A directory ".carrel-staging-<job>" (0700) in a workspace, for files that are not whole yet. It
/// and what is left in it go away with the object; what a crash has left, with SweepStaging.
class Staging {
 public:
  static Result<Staging> Create(int workspace, const std::string& job_id);
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&&) = delete;
  ~Staging();

  /// A new file for `path` (relative, normal) of the workspace; owner and mode are set at Publish.
  Result<UniqueFd> Add(const std::string& path, const LevelOwnership& ownership);
  /// Whether every file can take its place. Makes nothing.
  Result<void> CheckPlaces() const;
  Result<void> MakeDirectories();
  /// Syncs the staged files, renames each over its path, and syncs again.
  Result<void> Publish();

 private:
  struct Staged {
    std::string path;
    std::string name;
    LevelOwnership ownership;
  };
  Staging(UniqueFd workspace, UniqueFd dir, std::string name);
  Result<int> Directory(const std::string& path, const LevelOwnership& ownership);
  bool Few() const;
  Result<void> SyncStaged();

  UniqueFd workspace_;
  UniqueFd dir_;
  std::string name_;
  std::vector<Staged> staged_;
  std::string cached_path_;
  UniqueFd cached_dir_;
};

/// Opens the directory `path` beneath `root`; those that are missing are made with the owner, group
/// and mode of the level. No link is followed.
Result<UniqueFd> MakeLevelDirs(int root, const std::string& path, const LevelOwnership& ownership);

/// {"a/b", "c.csv"} of "a/b/c.csv".
std::pair<std::string, std::string> SplitLast(const std::string& path);

}  // namespace carrel
