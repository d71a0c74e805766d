// SHA-256 of the files that an action executes, taken beside the recording, in a thread of its own
// (small files at once). What lies on the file system of the action's root, which no action can
// write to, is taken from the cache when an earlier run has read it.
//
// The file is opened when its exec is read from the ring, through the task that executed it or by
// its path below the action's root, and must be the one of the exec: same inode number, size and
// time of change, before and after it was read. A running program cannot be written to; one that
// was written to since has no digest, and the log says so. (Its time of change is as fine as the
// kernel's clock tick: what is executed, ends and is written again within one tick is not told
// apart.)
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "audit/digest_cache.h"
#include "base/unique_fd.h"

namespace carrel {

/// A file as the kernel executed it.
struct ExecutedFile {
  uint32_t tid = 0;  ///< host's id of a task that executes it
  std::string path;  ///< in the action's view
  uint64_t inode = 0;
  uint32_t device = 0;
  uint32_t mode = 0;
  int64_t ctime_s = 0;
  uint32_t ctime_ns = 0;
  uint64_t size = 0;
};

struct ExecDigest {
  ExecutedFile file;
  std::string digest;  ///< 32 bytes, or none
  uint8_t flags = 0;   ///< RawDataFlags: why there is none
};

class ExecDigests {
 public:
  /// `cache`: the file of a DigestCache; "" for none.
  explicit ExecDigests(const std::string& cache = "") : cache_(cache) {}
  ExecDigests(const ExecDigests&) = delete;
  ExecDigests& operator=(const ExecDigests&) = delete;
  ~ExecDigests();

  /// The action's root directory, below which a file is found when its task has gone.
  void SetRoot(UniqueFd root) { root_ = std::move(root); }

  /// Each file once. Waits when many are not yet done.
  void Add(ExecutedFile file);

  /// What is done, each once. With `wait`, everything that was added.
  std::vector<ExecDigest> Take(bool wait);

 private:
  struct Work {
    ExecDigest result;
    UniqueFd fd;
    std::optional<DigestCache::Key> key;  ///< of a file whose digest is kept for later runs
  };
  using Key = std::tuple<uint32_t, uint64_t, int64_t, uint32_t, uint64_t>;

  UniqueFd Open(const ExecutedFile& file);
  std::optional<DigestCache::Key> CacheKey(int fd) const;
  ExecDigest Finish(Work work) const;
  void Queue(Work work);
  void Loop();

  DigestCache cache_;
  UniqueFd root_;
  uint64_t bytes_ = 0;
  std::set<Key> seen_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  std::vector<ExecDigest> done_;
  size_t unfinished_ = 0;
  bool stop_ = false;
};

}  // namespace carrel
