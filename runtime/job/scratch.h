// The scratch layer of a job: an ext4 file system of the job's own size in an unnamed file, so that
// the kernel itself holds the limits on bytes and inodes. Nothing of it has a name on the host:
// when carrel dies, file, loop device and mount go with it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// Gives this process a mount namespace of its own, in which a job's mounts are made: the host
/// never sees them, and they end with the process. Call once, before MountScratch.
Result<void> EnterPrivateMounts();

class Scratch {
 public:
  /// Makes the file in `directory` (where the space is taken from), formats it for `bytes` and
  /// `inodes` and mounts it at `mount_point`, an existing directory. Fewer than 16 MiB become
  /// 16 MiB, and there is at most one inode for 8 KiB. Needs mkfs.ext4 and a loop device.
  static Result<Scratch> Mount(const std::string& directory, const std::string& mount_point,
                               uint64_t bytes, uint64_t inodes);

  Scratch(Scratch&& other) noexcept = default;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();

  int fd() const { return root_.get(); }
  const std::string& path() const { return path_; }

  /// Writes what is cached. An error means that the host's disk could not take what the action
  /// wrote: the outputs are not whole.
  Result<void> Sync() const;

 private:
  Scratch() = default;
  std::string path_;
  UniqueFd root_;
};

}  // namespace carrel
