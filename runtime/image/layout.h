// The store on disk, who may change it when, and what a dead process leaves in it.
//
//   <state>/images/lock            flock: imports and verify share it, remove and sweep own it
//                  tmp/<pid>-<n>/  one import's (or removal's) work, flock held while it lives
//                  blobs/sha256/   manifests, configurations, layers, as imported
//                  objects/        content of files, each once (objects.h)
//                  rootfs/<hex>/   one flattened tree an image; flock shared while a job runs in it
//                  trees/<hex>     its listing (tree.h)
//                  manifests/<hex>.json  the record: an image exists when this file does
//                  configs/<hex>   link to the record, by digest of the configuration
//                  names/<name>    link to the record
//
// <hex> is the manifest's digest. Everything is on one file system, and is made under tmp/ and
// renamed into place; the record comes last, so that a reader sees a whole image or none.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// Makes what is missing of the directories, and opens `<state>/images`.
Result<UniqueFd> OpenStoreRoot(const std::string& images_path);

enum class LockKind { kShared, kExclusive, kTryExclusive };
/// Holds the store's lock while the descriptor is open. kTryExclusive: a descriptor of -1 when
/// somebody else holds it.
Result<UniqueFd> LockStore(int root, LockKind kind);

/// A directory under tmp/ that goes away with the object, or after a crash with the next sweep.
class WorkDir {
 public:
  static Result<WorkDir> Make(int root);
  WorkDir(WorkDir&&) noexcept = default;
  WorkDir& operator=(WorkDir&&) = delete;
  ~WorkDir();

  int fd() const { return fd_.get(); }
  /// Leaves the directory for the next sweep: what else the failed work has made goes with it.
  void LeaveForSweep() { leave_ = true; }

 private:
  WorkDir(UniqueFd tmp, UniqueFd fd, std::string name)
      : tmp_(std::move(tmp)), fd_(std::move(fd)), name_(std::move(name)) {}
  UniqueFd tmp_;
  UniqueFd fd_;
  std::string name_;
  bool leave_ = false;
};

/// True when a process has died (or failed) and left its work. Costs one directory read when there
/// is none.
Result<bool> HasLeftovers(int root);

/// Removes what belongs to no image: work, trees, listings, names, blobs, objects. Only under the
/// exclusive lock.
Result<void> Sweep(int root);

/// Sweeps if there are leftovers. `wait` waits for running imports; else they are left to a later
/// call.
Result<void> SweepLeftovers(int root, bool wait);

/// Makes `link` (below the root, as "names/x") a symbolic link to the record of `hex`, atomically.
Result<void> PointAtRecord(int root, int work, const std::string& link, const std::string& hex);

/// The manifest's hex digest that a name or configuration link leads to; "" when there is none.
std::string RecordOfLink(int root, const std::string& link);

}  // namespace carrel
