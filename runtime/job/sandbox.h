// One command in the sandbox, with its audit log: steps 6 to 11 of a run, which `carrel run` and
// `carrel exec` share.
#pragma once

#include <string>

#include "audit/audit_log.h"
#include "audit/event_source.h"
#include "launch/run_dir.h"
#include "launch/supervisor.h"
#include "plan/launch_plan.h"

namespace carrel {

/// Where carrel works on this host.
struct SandboxHost {
  std::string state_dir;
  std::string cgroup_parent = "carrel";
  uint32_t first_id = 0;  ///< host ids for actions: first, and how many
  uint32_t id_count = 0;
  bool allow_entry_only_audit = false;  ///< go on where BPF cannot be had, with calls' entries only
};

/// What one run holds from its beginning; given up (and removed) with the object.
struct SandboxRun {
  SandboxHost host;
  HostFacts facts;
  RunDir directory;
  IdSlot slot;
};

/// kBadInput unless this process is root: whoever calls has to act, and nothing was changed.
Result<void> RequireRoot();

/// Sweeps what dead runs left, then takes the run's directory and its id. Without `directory` it is
/// made when something is put there.
Result<SandboxRun> BeginSandboxRun(const SandboxHost& host, const std::string& id,
                                   bool directory = true);

/// Adds the mount points that the root filesystem lacks: makes them in a directory of the run and
/// sets request.skeleton. A mount point that is a link, or lies behind one, is refused.
Result<void> AddMissingMountPoints(LaunchRequest& request, RunDir& directory);

/// Step 6: plan, without doing anything (but for host templates' names).
Result<LaunchPlan> PlanSandbox(const LaunchRequest& request, const HostFacts& facts,
                               const std::string& state_dir);

/// Standard streams of the action as the supervisor sees them.
struct SandboxStreams {
  std::vector<OutputStream> outputs;  ///< sources are made here: [0] stdout, [1] stderr
  int input_source = -1;
  std::function<void(const Cgroup&)> started;  ///< the action runs from now on; may be empty
  std::function<void()> every_second;
  bool signals_cancel = false;
  /// Told of steps 7 (filter), 8 (cgroup, audit source), 9 (clone) and 10 (supervise) as they
  /// begin.
  std::function<void(int step)> step;
};

struct SandboxResult {
  ActionEnd end;
  CgroupUsage usage;
  EventCounts counts;
  std::string seccomp_digest;  ///< of the profile
  int64_t started_ns = 0;
  int64_t ended_ns = 0;
};

/// Steps 6 to 11: plan, filter, cgroup, audit source, clone, supervise, drain. An Error says that
/// nothing ran; what happens after the start is in the result.
Result<SandboxResult> RunSandbox(const SandboxRun& run, const LaunchPlan& plan, AuditLog& log,
                                 SandboxStreams streams);

}  // namespace carrel
