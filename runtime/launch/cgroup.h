// The cgroups of one action: one directory in the v2 tree (limits on a v2 host, attribution
// everywhere) and, on a v1 or hybrid host, one in each hierarchy of a controller that is needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "plan/launch_plan.h"

namespace carrel {

/// Where the kernel counts for one action. Readable by other processes while it runs.
struct CgroupPaths {
  std::string memory, cpu, pids, tasks;  ///< directories; "" where a controller is missing
  bool v2 = false;                       ///< limits are those of cgroup v2
};

/// What the kernel counted for the action.
struct CgroupUsage {
  uint64_t memory_bytes = 0;
  uint64_t memory_peak_bytes = 0;
  uint64_t cpu_usec = 0;
  uint64_t oom_kills = 0;  ///< tasks that the kernel killed for the memory limit
  uint64_t pids_refused = 0;
  uint64_t pids = 0;
};

/// What a run's cgroup is called: its id and a digest of its state directory, so that runs of two
/// state directories can have one id. Never the name of one of the kernel's files.
std::string CgroupName(const std::string& state_dir, const std::string& id);

/// Reads the counters; what cannot be read is 0. On v1 `cpu_usec` is the sum over the tasks that
/// live and those that the init has reaped.
CgroupUsage ReadCgroupUsage(const CgroupPaths& paths);

class Cgroup {
 public:
  /// Makes `<mount>/<parent>/<id>` in every hierarchy and sets the limits. After an error nothing
  /// remains but the parent, which stays, empty, when a run ends as well.
  static Result<Cgroup> Create(const HostFacts& facts, const std::string& parent,
                               const std::string& id, const LaunchLimits& limits);

  Cgroup(Cgroup&&) = default;
  Cgroup& operator=(Cgroup&&) = default;
  ~Cgroup();

  int v2_fd() const { return v2_.get(); }    ///< for CLONE_INTO_CGROUP
  uint64_t v2_id() const { return v2_id_; }  ///< what BPF sees
  const std::string& v2_path() const { return paths_.back(); }
  /// Directory of this action in the v1 hierarchy mounted at `mount`.
  std::string PathIn(const std::string& mount) const;

  const CgroupPaths& counters() const { return counters_; }
  /// False: this host has no weights of input and output (`carrel doctor` says so).
  bool io_weight_set() const { return io_weight_set_; }

  Result<CgroupUsage> Usage() const { return ReadCgroupUsage(counters_); }

  /// Kills every task and waits until there is none, then removes the directories. An action's
  /// tasks cannot leave (they have no cgroup file system), so this ends all of it.
  Result<void> KillAndRemove();

  /// The same for what a killed supervisor left under `parent`/`id`, in all hierarchies.
  static Result<void> RemoveStale(const HostFacts& facts, const std::string& parent,
                                  const std::string& id);

 private:
  Cgroup() = default;
  std::vector<std::string> paths_;  ///< the v2 one last
  std::string parent_id_;
  UniqueFd v2_;
  uint64_t v2_id_ = 0;
  CgroupPaths counters_;
  bool io_weight_set_ = false;
};

}  // namespace carrel
