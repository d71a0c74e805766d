// The scratch layer of a job: an ext4 file system of the job's own size in a file, so that the
// kernel itself holds the limits on bytes and inodes. The mount is this process's own: when carrel
// dies, loop device and mount go with it, and so does the file unless the job's next phase needs
// it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// Gives this process a mount namespace of its own, in which a job's mounts are made: the host
/// never sees them, and they end with the process. Call once, before MountScratch.
Result<void> EnterPrivateMounts();

/// Makes a file in `directory` (where the space is taken from), without a name when `name` is
/// empty, and formats it for `bytes` and `inodes`. Fewer than 16 MiB become 16 MiB, and there is at
/// most one inode for 8 KiB. Needs mkfs.ext4 for the first of a size: a copy of it, empty, is kept
/// in the directory `templates` (made when it is not there) for later jobs.
Result<UniqueFd> MakeScratchFile(int directory, const std::string& name, uint64_t bytes,
                                 uint64_t inodes, const std::string& templates);

class Scratch {
 public:
  /// Mounts the file at `mount_point`, an existing directory. Needs a loop device.
  static Result<Scratch> Mount(int file, const std::string& mount_point);

  Scratch(Scratch&& other) noexcept = default;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();

  int fd() const { return root_.get(); }
  const std::string& path() const { return path_; }

  /// Writes what is cached. An error means that the host's disk could not take what the action
  /// wrote: the outputs are not whole.
  Result<void> Sync() const;

  /// Unmounts now, so that the file alone holds what the action wrote. Nothing may be open in it.
  Result<void> Unmount();

 private:
  Scratch() = default;
  std::string path_;
  UniqueFd root_;
};

}  // namespace carrel
