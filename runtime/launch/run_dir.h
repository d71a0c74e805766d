// What one run holds on the host while it lives, under locks that die with the process: its
// directory, and the unprivileged id that no other run has at the same time.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "plan/launch_plan.h"

namespace carrel {

class RunDir {
 public:
  /// Takes the lock of `<state_dir>/run/<id>`. kBadInput when that id runs already.
  static Result<RunDir> Create(const std::string& state_dir, const std::string& id);

  RunDir(RunDir&&) = default;
  RunDir& operator=(RunDir&&) = delete;
  ~RunDir();

  /// Makes the directory, if that has not been done.
  Result<void> Make();

  const std::string& path() const { return path_; }  ///< after Make
  int fd() const { return directory_.get(); }

 private:
  RunDir() = default;
  std::string path_;
  std::string id_;
  UniqueFd parent_;
  UniqueFd lock_;
  UniqueFd directory_;
};

/// Removes what runs whose process is gone have left: their directories and cgroups. Called at the
/// start of every command that runs something. Cheap when there is nothing.
Result<void> SweepStaleRuns(const std::string& state_dir, const HostFacts& facts,
                            const std::string& cgroup_parent);

/// The runs that were swept and whose logs nobody has seen to since: `<state_dir>/dead/<id>`. They
/// are there for the next command when this one is killed, too, before ForgetDeadRuns.
Result<std::vector<std::string>> DeadRuns(const std::string& state_dir);
Result<void> ForgetDeadRuns(const std::string& state_dir, const std::vector<std::string>& ids);

/// One of `count` host ids from `first`, held as long as the object lives. kFault when all are
/// taken.
class IdSlot {
 public:
  static Result<IdSlot> Take(const std::string& state_dir, uint32_t first, uint32_t count);
  uint32_t id() const { return id_; }

 private:
  IdSlot() = default;
  uint32_t id_ = 0;
  UniqueFd lock_;
};

}  // namespace carrel
