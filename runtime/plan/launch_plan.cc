#include "plan/launch_plan.h"

#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>

#include "base/fs.h"

namespace carrel {
namespace {

using Kind = Operation::Kind;

constexpr uint64_t kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr uint64_t kData = kReadOnly | MOUNT_ATTR_NOEXEC;
constexpr uint64_t kWritable = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

// As docker has it, also where the action's memory is less: its limit is met first, and said.
constexpr uint64_t kLeastSharedMemory = 64ull << 20;

// What stays readable in /proc besides the processes. Everything else that this kernel shows is
// covered: a new kernel's new file is covered until somebody decides here that it is needed.
const std::set<std::string> kProcShown = {
    "filesystems", "loadavg", "self",    "thread-self", "mounts", "net",
    "uptime",      "version", "cpuinfo", "meminfo",     "stat",  // replaced by the job's own view
    "sys",                                                       // replaced by a few fixed values
};

std::string TmpfsOptions(uint64_t bytes, uint64_t inodes, const std::string& mode) {
  return "size=" + std::to_string(std::max<uint64_t>(bytes >> 10, 64)) +
         "k,nr_inodes=" + std::to_string(inodes) + ",mode=" + mode;
}

Result<void> CheckStrings(const LaunchRequest& request) {
  if (request.argv.empty() || request.argv[0].empty())
    return BadInput("/args", "there is no command to run");
  for (const std::string& arg : request.argv)
    if (arg.find('\0') != std::string::npos)
      return BadInput("/args", "an argument holds a NUL byte");
  for (const auto& [name, value] : request.environment)
    if (name.empty() || name.find('=') != std::string::npos ||
        name.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
      return BadInput("/env", "not a name and value of an environment variable: " + name);
  if (!IsAbsoluteNormalPath(request.working_directory))
    return BadInput(
        request.working_directory,
        "the working directory must be an absolute path, without . or .. or a / at its end");
  return {};
}

Result<void> CheckMountPoints(const LaunchRequest& request) {
  std::set<std::string> targets = {"/", "/proc", "/dev", "/sys", "/tmp", "/dev/shm"};
  auto claim = [&](const std::string& target) -> Result<void> {
    if (!IsAbsoluteNormalPath(target))
      return BadInput(target,
                      "a mount point must be an absolute path, without . or .. or a / at its end");
    if (!targets.insert(target).second)
      return BadInput(target, "two mounts at one place, or a place that carrel itself provides");
    for (const char* own : {"/proc/", "/dev/", "/sys/"})
      if (target.starts_with(own)) return BadInput(target, "nothing can be mounted beneath it");
    return {};
  };
  for (const BindSpec& bind : request.binds) CARREL_TRY(claim(bind.target));
  for (const WritableSpec& writable : request.writable)
    if (writable.target != "/workspace") CARREL_TRY(claim(writable.target));
  for (const std::string& path : request.writable_tmpfs) CARREL_TRY(claim(path));
  return {};
}

void PlanProc(const LaunchRequest& request, const HostFacts& facts, const HostTemplates& templates,
              std::vector<Operation>& out) {
  out.push_back({.kind = Kind::kProc, .target = "/proc", .mount_flags = kData});
  auto cover = [&](const std::string& name, const std::string& source) {
    out.push_back(
        {.kind = Kind::kBind, .source = source, .target = "/proc/" + name, .mount_flags = kData});
  };
  for (const std::string& name : facts.proc_files)
    if (!kProcShown.contains(name)) cover(name, templates.empty_file());
  for (const std::string& name : facts.proc_dirs)
    if (!kProcShown.contains(name)) cover(name, templates.empty_dir());
  const std::string view = templates.view(request.limits, facts.online_cpus);
  for (const char* name : {"cpuinfo", "meminfo", "stat"}) cover(name, view + "/" + name);
  cover("sys", templates.proc_sys());
}

void PlanWritable(const LaunchRequest& request, std::vector<Operation>& out) {
  for (const WritableSpec& writable : request.writable) {
    const auto [uid, gid] = writable.disk_owner.value_or(std::pair{0u, 0u});
    if (writable.lower.empty())
      out.push_back({.kind = Kind::kBind,
                     .source = writable.upper,
                     .target = writable.target,
                     .mount_flags = kWritable,
                     .number = uid,
                     .number2 = gid,
                     .id_mapped = writable.disk_owner.has_value(),
                     .source_fd = writable.upper_fd});
    else
      out.push_back({.kind = Kind::kOverlay,
                     .source = writable.lower,
                     .source2 = writable.work,
                     .target = writable.target,
                     .options = writable.upper,
                     .mount_flags = kWritable});
  }
  const LaunchLimits& limits = request.limits;
  // One beneath another comes after it.
  const std::set<std::string> sorted(request.writable_tmpfs.begin(), request.writable_tmpfs.end());
  for (const std::string& path : sorted)
    out.push_back({.kind = Kind::kTmpfs,
                   .target = path,
                   .options = TmpfsOptions(std::min(limits.scratch_bytes, limits.memory_bytes),
                                           limits.scratch_inodes, "0777"),
                   .mount_flags = kWritable});
}

void PlanMounts(const LaunchRequest& request, const HostFacts& facts,
                const HostTemplates& templates, std::vector<Operation>& out) {
  const LaunchLimits& limits = request.limits;
  out.push_back({.kind = Kind::kRoot,
                 .source = request.rootfs,
                 .target = "/",
                 .options = request.skeleton,
                 .mount_flags = kReadOnly});
  // Device nodes work on this mount alone; behind it is the host's own directory of five checked
  // nodes.
  out.push_back({.kind = Kind::kBind,
                 .source = templates.dev(),
                 .target = "/dev",
                 .mount_flags = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC});
  PlanProc(request, facts, templates, out);
  out.push_back({.kind = Kind::kBind,
                 .source = templates.view(limits, facts.online_cpus) + "/sys",
                 .target = "/sys",
                 .mount_flags = kData});
  // Pages of a tmpfs are charged to the action that writes them: the memory limit holds there too.
  out.push_back({.kind = Kind::kTmpfs,
                 .target = "/tmp",
                 .options = TmpfsOptions(limits.memory_bytes / 2, limits.scratch_inodes, "1777"),
                 .mount_flags = kWritable});
  out.push_back({.kind = Kind::kTmpfs,
                 .target = "/dev/shm",
                 .options = TmpfsOptions(std::max(limits.memory_bytes / 2, kLeastSharedMemory),
                                         65536, "1777"),
                 .mount_flags = kWritable | MOUNT_ATTR_NOEXEC});
  for (const BindSpec& bind : request.binds)
    out.push_back({.kind = Kind::kBind,
                   .source = bind.source,
                   .target = bind.target,
                   .mount_flags = kReadOnly,
                   .source_fd = bind.source_fd});
  PlanWritable(request, out);
  out.push_back({.kind = Kind::kPivot});
}

void PlanRlimits(const LaunchLimits& limits, const HostFacts& facts, std::vector<Operation>& out) {
  const std::pair<int, uint64_t> rlimits[] = {
      {RLIMIT_CORE, 0},
      {RLIMIT_FSIZE, limits.file_bytes},
      {RLIMIT_NOFILE, std::min<uint64_t>(limits.open_files, facts.open_files_max)},
      {RLIMIT_NPROC, limits.processes},
      {RLIMIT_MEMLOCK, 64u << 10},
      {RLIMIT_MSGQUEUE, 819200},
      {RLIMIT_SIGPENDING, 4096},
      {RLIMIT_NICE, 0},
      {RLIMIT_RTPRIO, 0},
  };
  for (const auto& [resource, value] : rlimits)
    out.push_back({.kind = Kind::kRlimit, .resource = resource, .number = value});
}

// From here on the child gives things up; after kUserNamespace it has no power over the host.
void PlanPrivileges(const LaunchRequest& request, const HostFacts& facts,
                    std::vector<Operation>& out) {
  out.push_back(
      {.kind = Kind::kUserNamespace, .number = request.host_uid, .number2 = request.host_gid});
  out.push_back({.kind = Kind::kNoMoreUserNamespaces});
  out.push_back({.kind = Kind::kIds, .number = kInsideId, .number2 = kInsideId});
  out.push_back({.kind = Kind::kKeyring});
  out.push_back({.kind = Kind::kDropCapabilities});
  out.push_back({.kind = Kind::kNoNewPrivileges});
  out.push_back({.kind = Kind::kWorkingDirectory, .target = request.working_directory});
  if (facts.landlock_abi > 0) out.push_back({.kind = Kind::kLandlock});
  out.push_back({.kind = Kind::kStreams});
  out.push_back({.kind = Kind::kSeccomp, .source = request.seccomp_profile});
  out.push_back({.kind = Kind::kExecInit});
}

std::vector<std::string> LandlockWritable(const LaunchRequest& request) {
  std::vector<std::string> paths = {"/tmp", "/dev/shm"};
  for (const char* device : {"null", "zero", "full", "random", "urandom"})
    paths.push_back(std::string("/dev/") + device);
  for (const WritableSpec& writable : request.writable) paths.push_back(writable.target);
  for (const std::string& path : request.writable_tmpfs) paths.push_back(path);
  return paths;
}

}  // namespace

bool IsAbsoluteNormalPath(const std::string& path) {
  return path == "/" || (path.starts_with('/') && IsNormalRelativePath(path.substr(1)));
}

int VisibleCpus(const LaunchLimits& limits, int online) {
  return std::clamp(static_cast<int>((limits.cpu_milli + 999) / 1000), 1, std::max(online, 1));
}

std::string HostTemplates::view(const LaunchLimits& limits, int online_cpus) const {
  return root + "/view-" + std::to_string(VisibleCpus(limits, online_cpus)) + "-" +
         std::to_string(limits.memory_bytes >> 10);
}

Result<LaunchPlan> BuildPlan(const LaunchRequest& request, const HostFacts& facts,
                             const HostTemplates& templates) {
  CARREL_TRY(CheckStrings(request));
  CARREL_TRY(CheckMountPoints(request));
  if (request.host_uid == 0 || request.host_gid == 0)
    return Fault("plan", "an action never runs as the host's root");
  LaunchPlan plan;
  plan.id = request.id;
  plan.argv = request.argv;
  for (const auto& [name, value] : request.environment)
    plan.environment.push_back(name + "=" + value);
  plan.limits = request.limits;
  plan.host_uid = request.host_uid;
  plan.host_gid = request.host_gid;
  plan.landlock_abi = facts.landlock_abi;
  plan.landlock_writable = LandlockWritable(request);
  plan.landlock_tcp_port = request.database_port;
  if (request.seccomp_profile == "loopback") plan.landlock_tcp_port.reset();
  plan.namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  if (facts.time_namespaces) plan.namespaces |= CLONE_NEWTIME;

  auto& out = plan.operations;
  for (const auto& hierarchy : facts.hierarchies)
    if (!hierarchy.v2) out.push_back({.kind = Kind::kJoinCgroup, .source = hierarchy.mount});
  out.push_back({.kind = Kind::kPrivateMounts});
  PlanMounts(request, facts, templates, out);
  out.push_back({.kind = Kind::kLoopbackUp});
  out.push_back({.kind = Kind::kHostname, .source = "carrel"});
  if (const int cpus = VisibleCpus(request.limits, facts.online_cpus); cpus < facts.online_cpus)
    out.push_back({.kind = Kind::kAffinity, .number = static_cast<uint64_t>(cpus)});
  PlanRlimits(request.limits, facts, out);
  PlanPrivileges(request, facts, out);
  return plan;
}

}  // namespace carrel
