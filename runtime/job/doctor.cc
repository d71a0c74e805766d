#include "job/doctor.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "audit/bpf_objects.h"
#include "base/clock.h"
#include "base/fs.h"
#include "launch/host_facts.h"
#include "launch/host_template.h"
#include "launch/seccomp.h"
#include "policy/host_policy.h"

namespace carrel {
namespace {

using State = Finding::State;
constexpr uint64_t kGiB = 1ull << 30;

Finding There(const std::string& name, const std::string& detail) {
  return {name, State::kThere, detail, ""};
}

Finding Missing(const std::string& name, const std::string& detail, const std::string& remedy) {
  return {name, State::kMissing, detail, remedy};
}

Finding Advice(const std::string& name, const std::string& detail, const std::string& remedy) {
  return {name, State::kAdvice, detail, remedy};
}

// The finding of a step that carrel itself takes: its own error says what is wrong.
template <typename T>
Finding FromResult(const std::string& name, const Result<T>& result, const std::string& detail) {
  if (result) return There(name, detail);
  Error error = result.error();
  const std::string remedy = error.hint.empty() ? "See the error" : error.hint;
  error.hint.clear();
  return Missing(name, error.ToString(), remedy);
}

Finding CheckRoot() {
  if (::geteuid() != 0)
    return Missing("root", "this process is uid " + std::to_string(::geteuid()),
                   "Run carrel as root: it makes namespaces, mounts and cgroups");
  for (int capability : {CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_NET_ADMIN, CAP_MKNOD,
                         CAP_SETPCAP, CAP_BPF, CAP_PERFMON})
    if (::prctl(PR_CAPBSET_READ, capability) != 1)
      return Missing("root", "capability " + std::to_string(capability) + " is taken away",
                     "Run carrel outside of a container, or give it this capability");
  return There("root", "with the capabilities that a launch needs");
}

Finding CheckKernel() {
  utsname name{};
  ::uname(&name);
  int major = 0, minor = 0;
  sscanf(name.release, "%d.%d", &major, &minor);
  if (major < 6 || (major == 6 && minor < 1))
    return Missing("kernel", name.release, "Linux 6.1 (Debian 12) or newer is needed");
  return There("kernel", name.release);
}

Finding CheckHelper(const char* program, const char* package, const char* what) {
  for (const char* directory : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"})
    if (::access((std::string(directory) + program).c_str(), X_OK) == 0)
      return There(program, std::string(what));
  return Missing(program, std::string("not installed; needed for ") + what,
                 std::string("apt-get install ") + package);
}

Finding CheckLandlock(int abi) {
  if (abi == 0)
    return Advice("landlock", "not in this kernel: mounts and filter stand alone",
                  "Boot with lsm=landlock,...");
  return There("landlock", "ABI " + std::to_string(abi));
}

// "io" among the controllers: v2's, or v1's where BFQ gives it weights.
Finding CheckIoWeight(const HostFacts& facts) {
  for (const auto& tree : facts.hierarchies)
    for (const std::string& controller : tree.controllers)
      if (controller == "io") return There("io weight", tree.v2 ? "cgroup v2" : "cgroup v1, BFQ");
  return Advice("io weight", "no controller: actions share the disks without weights",
                "Use cgroup v2, or the BFQ scheduler");
}

Finding CheckDevices(const char* name, const char* path, const char* remedy) {
  if (::access(path, R_OK | W_OK) == 0) return There(name, path);
  return Missing(name, std::string(path) + ": " + ErrnoName(errno), remedy);
}

Finding CheckDisk(const std::string& state) {
  struct statvfs disk {};
  if (::statvfs(state.c_str(), &disk) != 0)
    return Missing("disk", state + ": " + ErrnoName(errno), "Make the state directory");
  const uint64_t free = disk.f_bavail * disk.f_frsize;
  const std::string detail = std::to_string(free / kGiB) + " GiB free under " + state;
  if (free < 2 * kGiB) return Missing("disk", detail, "Free some space: scratch and logs need it");
  if (free < 20 * kGiB) return Advice("disk", detail, "Large outputs may not fit");
  return There("disk", detail);
}

void CheckStateDirectory(const std::string& state, std::vector<Finding>& findings) {
  // A mistyped path must not come to be by being asked about.
  auto there = OpenPath(state, O_RDONLY | O_DIRECTORY);
  if (!there && there.error().code == ENOENT)
    findings.push_back(Missing("state directory",
                               state + " does not exist; what it would hold is "
                                       "not checked",
                               "mkdir " + state + ", or name another with --state"));
  else
    findings.push_back(FromResult("state directory", there, state));
  if (!there) return;
  findings.push_back(CheckDisk(state));
  auto facts = GatherHostFacts();
  std::string trees;
  if (facts)
    for (const auto& tree : facts->hierarchies) {
      trees += trees.empty() ? "" : ", ";
      trees += tree.v2 ? "v2" : "v1";
      for (const std::string& controller : tree.controllers) trees += " " + controller;
    }
  findings.push_back(FromResult("cgroups", facts, trees));
  if (facts) findings.push_back(CheckIoWeight(*facts));
  findings.push_back(CheckLandlock(facts ? facts->landlock_abi : 0));
  findings.push_back(FromResult(
      "device nodes", PrepareHostTemplates(state, LaunchLimits(), facts ? facts->online_cpus : 1),
      "the state directory's file system takes them"));
  findings.push_back(FromResult("seccomp", LoadSeccomp(state, "base"), "the profile compiles"));
  auto objects = OpenBpfObjects(state);
  findings.push_back(FromResult("audit (BPF)", objects, "the programs load and attach"));
}

void CheckConfiguration(const Result<HostConfig>& config, std::vector<Finding>& findings) {
  findings.push_back(FromResult("configuration", config, "valid"));
  if (!config) return;
  auto policy = LoadHostPolicy(*config, NowNs());
  findings.push_back(
      FromResult("policy", policy, policy ? "digest " + policy->digest.substr(0, 12) : ""));
  for (const auto& [name, database] : config->databases)
    if (database.kind == "sqlite")
      findings.push_back(
          FromResult("database " + name, OpenPath(database.path, O_RDONLY), database.path));
  if (config->allowed_repositories.empty())
    findings.push_back(Advice("repositories", "none is allowed: no job can check out code",
                              "List prefixes in /allowed_repositories"));
}

}  // namespace

std::vector<Finding> ExamineHost(const std::string& config_file, const std::string& state) {
  std::vector<Finding> findings = {CheckRoot(), CheckKernel()};
  auto config = LoadHostConfig(config_file, state);
  CheckConfiguration(config, findings);
  const std::string directory = config ? config->state : state;
  if (findings.front().state == State::kThere && !directory.empty())
    CheckStateDirectory(directory, findings);
  findings.push_back(CheckDevices("loop devices", "/dev/loop-control", "modprobe loop"));
  findings.push_back(CheckHelper("git", "git", "the code of studies"));
  findings.push_back(CheckHelper("mkfs.ext4", "e2fsprogs", "scratch layers"));
  findings.push_back(CheckHelper("mmdebstrap", "mmdebstrap", "building images"));
  return findings;
}

}  // namespace carrel
