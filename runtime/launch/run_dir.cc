#include "launch/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "launch/cgroup.h"

namespace carrel {
namespace {

constexpr std::string_view kLockSuffix = ".lock";

// True when `name` in `directory` is still the file behind `lock`: a lock on a file that somebody
// has removed meanwhile guards nothing.
bool StillThere(int directory, const std::string& name, int lock) {
  struct stat held {
  }, named{};
  return ::fstat(lock, &held) == 0 &&
         ::fstatat(directory, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

// An empty descriptor: another process holds the lock.
Result<UniqueFd> TryLock(int directory, const std::string& name, int flags) {
  for (;;) {
    CARREL_ASSIGN(UniqueFd lock, OpenBeneath(directory, name, O_RDWR | flags, 0600));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return UniqueFd();
      return SysFault(name, "flock");
    }
    if (StillThere(directory, name, lock.get())) return lock;
    if ((flags & O_CREAT) == 0) return UniqueFd();
  }
}

}  // namespace

Result<RunDir> RunDir::Create(const std::string& state_dir, const std::string& id) {
  if (!IsSafeComponent(id) || id.ends_with(kLockSuffix))
    return BadInput("/id", "not a name that a run can have: " + id);
  RunDir run;
  run.id_ = id;
  run.path_ = state_dir + "/run/" + id;
  CARREL_ASSIGN(run.parent_, MakeDirs(state_dir + "/run", 0700));
  // Another command's sweep can hold a lock file that is new for a moment, until it sees that
  // there is nothing to sweep: a run that is going on holds it for longer.
  for (int attempt = 0; !run.lock_ && attempt < 50; ++attempt) {
    if (attempt > 0) ::usleep(2000);
    CARREL_ASSIGN(run.lock_, TryLock(run.parent_.get(), id + std::string(kLockSuffix), O_CREAT));
  }
  if (!run.lock_) return BadInput("/id", "a run with the id " + id + " is going on");
  CARREL_TRY(RemoveTree(run.parent_.get(), id));
  return run;
}

Result<void> RunDir::Make() {
  if (directory_) return {};
  CARREL_ASSIGN(directory_, MakeDirsBeneath(parent_.get(), id_, 0700));
  return {};
}

RunDir::~RunDir() {
  if (!lock_) return;
  if (directory_) (void)RemoveTree(parent_.get(), id_);
  (void)::unlinkat(parent_.get(), (id_ + std::string(kLockSuffix)).c_str(), 0);
}

Result<void> SweepStaleRuns(const std::string& state_dir, const HostFacts& facts,
                            const std::string& cgroup_parent) {
  CARREL_ASSIGN(UniqueFd parent, MakeDirs(state_dir + "/run", 0700));
  CARREL_ASSIGN(const auto names, ListDir(parent.get()));
  for (const std::string& name : names) {
    if (!name.ends_with(kLockSuffix)) continue;
    auto lock = TryLock(parent.get(), name, 0);
    if (!lock || !*lock) continue;  // it lives, or another sweep was first
    const std::string id = name.substr(0, name.size() - kLockSuffix.size());
    CARREL_TRY(Cgroup::RemoveStale(facts, cgroup_parent, CgroupName(state_dir, id)));
    CARREL_TRY(RemoveTree(parent.get(), id));
    CARREL_ASSIGN(const UniqueFd dead, MakeDirs(state_dir + "/dead", 0700));
    if (::renameat(parent.get(), name.c_str(), dead.get(), id.c_str()) != 0 && errno != ENOENT)
      return SysFault(name, "rename");
  }
  return {};
}

Result<std::vector<std::string>> DeadRuns(const std::string& state_dir) {
  auto directory = OpenPath(state_dir + "/dead", O_RDONLY | O_DIRECTORY);
  if (!directory && directory.error().code == ENOENT) return std::vector<std::string>();
  if (!directory) return std::move(directory).error();
  return ListDir(directory->get());
}

Result<void> ForgetDeadRuns(const std::string& state_dir, const std::vector<std::string>& ids) {
  CARREL_ASSIGN(const UniqueFd directory, OpenPath(state_dir + "/dead", O_RDONLY | O_DIRECTORY));
  for (const std::string& id : ids)
    if (::unlinkat(directory.get(), id.c_str(), 0) != 0 && errno != ENOENT)
      return SysFault(id, "unlink");
  return {};
}

Result<IdSlot> IdSlot::Take(const std::string& state_dir, uint32_t first, uint32_t count) {
  CARREL_ASSIGN(UniqueFd directory, MakeDirs(state_dir + "/ids", 0700));
  const uint32_t start = static_cast<uint32_t>(::getpid()) % count;
  for (uint32_t i = 0; i < count; ++i) {
    IdSlot slot;
    slot.id_ = first + (start + i) % count;
    CARREL_ASSIGN(slot.lock_, TryLock(directory.get(), std::to_string(slot.id_), O_CREAT));
    if (slot.lock_) return slot;
  }
  return Fault("ids", "all " + std::to_string(count) + " ids of /uid_range are in use",
               "Wait for a job to end, or make the range larger");
}

}  // namespace carrel
