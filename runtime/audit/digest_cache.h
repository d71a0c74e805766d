// Digests of executed files, kept from run to run: an image's interpreter is the same file in a
// thousand jobs, and reading it takes longer than all else at a job's start.
//
// A table of fixed size in one file of the host's state directory; a file's inode number, device,
// size and time of change, which nobody but the host's root can set, are the key. A slot that two
// runs write at once, or that is torn, has a wrong checksum and counts as empty.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace carrel {

class DigestCache {
 public:
  /// What names one content of one file.
  struct Key {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t ctime_s = 0;
    int64_t ctime_ns = 0;
  };

  /// `path` is made, mode 0600, when it is not there. "" or an error: nothing is kept or found.
  explicit DigestCache(const std::string& path);

  /// 32 bytes, or none.
  std::string Find(const Key& key) const;

  /// `digest`: 32 bytes. A file that changed less than two seconds ago is not kept: a change
  /// within one tick of the kernel's clock would have the same key.
  void Keep(const Key& key, const std::string& digest) const;

 private:
  UniqueFd fd_;
};

}  // namespace carrel
