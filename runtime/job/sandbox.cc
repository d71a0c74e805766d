#include "job/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "audit/notify_source.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "job/recover.h"
#include "launch/host_facts.h"
#include "launch/host_template.h"
#include "launch/lower.h"

namespace carrel {
namespace {

struct Pipe {
  UniqueFd read, write;
};

// The action's end belongs to the action's id, so that it can open /dev/stdout anew.
Result<Pipe> MakePipe(const LaunchPlan& plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SysFault("streams", "pipe2");
  Pipe made{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (::fchown(made.read.get(), plan.host_uid, plan.host_gid) != 0)
    return SysFault("streams", "fchown");
  return made;
}

Result<ActionStreams> ConnectStreams(const LaunchPlan& plan, SandboxStreams& streams,
                                     SuperviseRequest& request) {
  ActionStreams action;
  UniqueFd* ends[] = {&action.out, &action.err};
  for (size_t i = 0; i < 2; ++i) {
    CARREL_ASSIGN(Pipe pipe, MakePipe(plan));
    *ends[i] = std::move(pipe.write);
    streams.outputs.at(i).source = std::move(pipe.read);
  }
  if (streams.input_source < 0) {
    CARREL_ASSIGN(action.in, OpenPath("/dev/null", O_RDONLY));
  } else {
    CARREL_ASSIGN(Pipe pipe, MakePipe(plan));
    action.in = std::move(pipe.read);
    request.input_target = std::move(pipe.write);
    request.input_source = streams.input_source;
  }
  request.outputs = std::move(streams.outputs);
  request.signals_cancel = streams.signals_cancel;
  return action;
}

struct MountPoint {
  std::string path;
  bool file = false;
};

std::vector<MountPoint> MountPoints(const LaunchRequest& request) {
  std::vector<MountPoint> points = {{"/proc"}, {"/dev"}, {"/sys"}, {"/tmp"}};
  for (const BindSpec& bind : request.binds) {
    struct stat info {};
    const int known =
        bind.source_fd >= 0 ? ::fstat(bind.source_fd, &info) : ::lstat(bind.source.c_str(), &info);
    const bool file = known == 0 && S_ISREG(info.st_mode);
    points.push_back({bind.target, file});
  }
  for (const std::string& path : request.writable_tmpfs) points.push_back({path});
  return points;
}

// BPF. Where it cannot be had and the configuration allows it, seccomp notification; otherwise
// nothing runs.
Result<std::unique_ptr<EventSource>> AttachSource(const SandboxHost& host, const Cgroup& cgroup,
                                                  AuditLog& log, LoweredPlan& lowered,
                                                  CallListener& listener) {
  auto bpf = AttachBpfSource(host.state_dir, cgroup.v2_id(), cgroup.v2_fd());
  if (bpf || !host.allow_entry_only_audit) return bpf;
  CARREL_TRY(log.Append("audit_entry_only", {{"reason", bpf.error().ToString()}}));
  CARREL_ASSIGN(auto entries, MakeEntrySource());
  lowered.Listen();
  EntrySource* source = entries.get();
  listener = {[source](UniqueFd fd) { return source->Listen(std::move(fd)); },
              [source, &log] { return source->Drain(log); }, source->poll_fd()};
  return std::unique_ptr<EventSource>(std::move(entries));
}

const std::string& SeccompProfile(const LaunchPlan& plan) {
  return std::find_if(
             plan.operations.begin(), plan.operations.end(),
             [](const Operation& operation) { return operation.kind == Operation::Kind::kSeccomp; })
      ->source;
}

}  // namespace

Result<void> RequireRoot() {
  if (::geteuid() != 0)
    return BadInput("host", "carrel must be run as root: it makes namespaces, mounts and cgroups",
                    "Run it with sudo; the action itself never runs as root");
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return SysFault("host", "capget");
  if ((sets[0].effective & 1u << CAP_SYS_ADMIN) == 0)
    return BadInput(
        "host", "root has no capability to mount here (CAP_SYS_ADMIN is taken away)",
        "Run carrel outside of a container; `carrel doctor` names what else is missing");
  return {};
}

Result<SandboxRun> BeginSandboxRun(const SandboxHost& host, const std::string& id, bool directory) {
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(HostFacts facts, GatherHostFacts());
  CARREL_TRY(SweepDeadRuns(host.state_dir, facts, host.cgroup_parent));
  CARREL_ASSIGN(RunDir run, RunDir::Create(host.state_dir, id));
  if (directory) CARREL_TRY(run.Make());
  CARREL_ASSIGN(IdSlot slot, IdSlot::Take(host.state_dir, host.first_id, host.id_count));
  return SandboxRun{host, std::move(facts), std::move(run), std::move(slot)};
}

Result<void> AddMissingMountPoints(LaunchRequest& request, RunDir& directory) {
  auto root = OpenPath(request.rootfs, O_PATH | O_DIRECTORY);
  if (!root) {
    Error error = BadInput(request.rootfs, "the root filesystem cannot be opened");
    error.code = root.error().code;
    return error;
  }
  for (const MountPoint& point : MountPoints(request)) {
    if (!IsAbsoluteNormalPath(point.path) || point.path == "/")
      return BadInput(point.path,
                      "a mount point must be an absolute path, without . or .. or a / at its end");
    auto found = OpenBeneath(root->get(), point.path.substr(1), O_PATH);
    if (found) {
      struct stat info {};
      if (::fstat(found->get(), &info) != 0) return SysFault(point.path, "fstat");
      if (S_ISDIR(info.st_mode) != point.file) continue;
      return BadInput(point.path, std::string("the mount point in the root filesystem must be a ") +
                                      (point.file ? "file" : "directory"));
    }
    if (found.error().code != ENOENT)
      return BadInput(point.path,
                      "the mount point in the root filesystem is a link, or lies behind one");
    CARREL_TRY(directory.Make());
    CARREL_ASSIGN(const UniqueFd skeleton, MakeDirsBeneath(directory.fd(), "skeleton", 0755));
    CARREL_TRY(MakeMountPoint(skeleton.get(), point.path.substr(1), point.file));
    request.skeleton = directory.path() + "/skeleton";
  }
  return {};
}

Result<LaunchPlan> PlanSandbox(const LaunchRequest& request, const HostFacts& facts,
                               const std::string& state_dir) {
  return BuildPlan(request, facts, HostTemplates{state_dir + "/host"});
}

namespace {

// After the action's end: closes what served it, and adds what is known only now to `result`. The
// first failure is the one that is told.
Result<void> Conclude(const Companion& companion, EventSource& source, AuditLog& log,
                      Cgroup& cgroup, SandboxResult& result) {
  result.ended_ns = NowNs();
  if (companion.close)
    if (auto closed = companion.close(); !closed && !result.end.failure)
      result.end.failure = std::move(closed).error();
  CARREL_ASSIGN(result.usage, cgroup.Usage());
  // On cgroup v1 tasks that have ended are in no counter of the cgroup's; the wait has them.
  result.usage.cpu_usec = std::max(result.usage.cpu_usec, result.end.cpu_usec);
  auto counts = source.Finish(log);
  if (counts)
    result.counts = *counts;
  else if (!result.end.failure)
    result.end.failure = std::move(counts).error();
  // Its last drain came after the action's end: nobody else has seen it.
  if (result.counts.runaway && !result.end.failure) result.end.failure = RunawayFault();
  return cgroup.KillAndRemove();
}

}  // namespace

Result<SandboxResult> RunSandbox(const SandboxRun& run, const LaunchPlan& plan, AuditLog& log,
                                 SandboxStreams streams) {
  const auto step = [told = std::move(streams.step)](int number) {
    if (told) told(number);
  };
  step(7);
  CARREL_ASSIGN(const HostTemplates templates,
                PrepareHostTemplates(run.host.state_dir, plan.limits, run.facts.online_cpus));
  step(8);
  CARREL_ASSIGN(Cgroup cgroup,
                Cgroup::Create(run.facts, run.host.cgroup_parent,
                               CgroupName(run.host.state_dir, plan.id), plan.limits));
  CARREL_ASSIGN(auto lowered, LowerPlan(plan, templates, cgroup));
  SuperviseRequest request;
  const std::function<void(const Cgroup&)> started = std::move(streams.started);
  const Companion companion = std::move(streams.companion);
  if (companion.service) request.services.push_back({companion.poll_fd, companion.service});
  CARREL_ASSIGN(ActionStreams action, ConnectStreams(plan, streams, request));
  CARREL_ASSIGN(const UniqueFd signals, BlockSignals());

  step(9);
  SandboxResult result;
  result.started_ns = NowNs();
  CARREL_ASSIGN(auto launch, Launch::Begin(plan, *lowered, cgroup, std::move(action)));
  // The child makes its mounts now, and goes no further without Complete: what follows costs no
  // time of its own, and is there before the action.
  CallListener listener;
  CARREL_ASSIGN(auto source, AttachSource(run.host, cgroup, log, *lowered, listener));
  source->RecordInto(log);
  request.services.push_back({source->poll_fd(), [&] { return source->Drain(log); }});
  if (streams.every_second) request.every_second = [&] { streams.every_second(source->counts()); };
  CARREL_ASSIGN(const SeccompFilter filter, LoadSeccomp(run.host.state_dir, SeccompProfile(plan)));
  lowered->SetFilter(filter);
  result.seccomp_digest = filter.profile_digest;
  CARREL_TRY(log.Append("start", {{"plan_digest", Sha256Hex(plan.ToJson().dump())},
                                  {"seccomp_digest", filter.profile_digest},
                                  {"io_weight_set", cgroup.io_weight_set()},
                                  {"event_source", source->name()},
                                  {"completeness", source->entry_only() ? "entry_only" : "full"}}));
  // Whoever kills carrel from here on must not take away what was decided and started.
  CARREL_TRY(log.Flush());
  log.WarmUp();
  std::function<Result<void>(int)> open;
  if (companion.open)
    open = [&](int pidfd) {
      return companion.open(pidfd, cgroup.counters().tasks + "/cgroup.procs");
    };
  CARREL_ASSIGN(LaunchedInit init, launch->Complete(listener, open));
  launch.reset();
  if (started) started(cgroup);
  log.SetRoot(std::move(init.root));
  lowered.reset();  // mounts that the action has are its own now
  step(10);
  CARREL_ASSIGN(result.end, Supervise(init, plan.limits, signals.get(), std::move(request)));
  CARREL_TRY(Conclude(companion, *source, log, cgroup, result));
  return result;
}

}  // namespace carrel
