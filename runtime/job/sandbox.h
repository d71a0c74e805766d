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

/// Something on the host that serves the action while it runs: the gateway. All may be empty.
struct Companion {
  /// The namespaces are made, and nothing of the action runs: `pidfd` is in them. `processes` is
  /// the cgroup.procs of all that will run.
  std::function<Result<void>(int pidfd, const std::string& processes)> open;
  int poll_fd = -1;
  std::function<Result<void>()> service;  ///< when poll_fd is readable, and every 100 ms
  std::function<Result<void>()> close;    ///< the action has ended
};

/// Standard streams of the action as the supervisor sees them, and what goes with it.
struct SandboxStreams {
  std::vector<OutputStream> outputs;  ///< sources are made here: [0] stdout, [1] stderr
  int input_source = -1;
  std::function<void(const Cgroup&)> started;  ///< the action runs from now on; may be empty
  /// Called every second with what the audit source has counted so far.
  std::function<void(const EventCounts&)> every_second;
  bool signals_cancel = false;
  Companion companion;
  /// Told of steps 7 (filter), 8 (cgroup, audit source), 9 (clone) and 10 (supervise) as they
  /// begin.
  std::function<void(int step)> step;
};

struct SandboxResult {
  ActionEnd end;
  CgroupUsage usage;
  EventCounts counts;
  uint64_t statements = 0;     ///< that the gateway saw
  std::string seccomp_digest;  ///< of the profile
  int64_t started_ns = 0;
  int64_t ended_ns = 0;
};

/// Steps 6 to 11: plan, filter, cgroup, audit source, clone, supervise, drain. An Error says that
/// nothing ran; what happens after the start is in the result.
Result<SandboxResult> RunSandbox(const SandboxRun& run, const LaunchPlan& plan, AuditLog& log,
                                 SandboxStreams streams);

}  // namespace carrel
