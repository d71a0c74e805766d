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
#include "job/database_access.h"
#include "launch/host_facts.h"
#include "launch/host_template.h"
#include "launch/seccomp.h"
#include "policy/host_policy.h"
#include "policy/names.h"

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

Finding NotChecked(const std::string& name, const std::string& why) {
  return {name, State::kUnknown, "not checked, because " + why, ""};
}

// The finding of a step that carrel itself takes: its own error says what is wrong, and what to do
// if it knows; else `remedy` does.
template <typename T>
Finding FromResult(const std::string& name, const Result<T>& result, const std::string& detail,
                   const std::string& remedy) {
  if (result) return There(name, detail);
  Error error = result.error();
  const std::string hint = error.hint.empty() ? remedy : error.hint;
  error.hint.clear();
  return Missing(name, error.ToString(), hint);
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

// Loop devices carry the scratch layers. What to do depends on what is wrong.
Finding CheckLoopDevices(bool root) {
  constexpr const char* kControl = "/dev/loop-control";
  if (!root) return NotChecked("loop devices", "this process is not root");
  if (::access(kControl, R_OK | W_OK) == 0) return There("loop devices", kControl);
  const int code = errno;
  return Missing("loop devices", std::string(kControl) + ": " + ErrnoName(code),
                 code == ENOENT ? "modprobe loop (in a container: give it the host's loop devices)"
                                : "Something keeps root from the device: run carrel outside of a "
                                  "container, or permit it there");
}

Finding CheckDisk(const std::string& state) {
  struct statvfs disk {};
  if (::statvfs(state.c_str(), &disk) != 0)
    return Missing("disk", state + ": " + ErrnoName(errno), "Make the state directory");
  const uint64_t free = disk.f_bavail * disk.f_frsize;
  const std::string detail = HumanBytes(free) + " free under " + state;
  if (free < 2 * kGiB) return Missing("disk", detail, "Free some space: scratch and logs need it");
  if (free < 20 * kGiB) return Advice("disk", detail, "Large outputs may not fit");
  return There("disk", detail);
}

// What a launch needs of the host, tried in the state directory.
void CheckLaunch(const std::string& state, std::vector<Finding>& findings) {
  auto facts = GatherHostFacts();
  std::string trees;
  if (facts)
    for (const auto& tree : facts->hierarchies) {
      trees += trees.empty() ? "" : ", ";
      trees += tree.v2 ? "v2" : "v1";
      for (const std::string& controller : tree.controllers) trees += " " + controller;
    }
  findings.push_back(FromResult("cgroups", facts, trees, "Mount cgroup2 at /sys/fs/cgroup"));
  if (facts) findings.push_back(CheckIoWeight(*facts));
  findings.push_back(facts ? CheckLandlock(facts->landlock_abi)
                           : NotChecked("landlock", "the host's facts could not be read"));
  findings.push_back(FromResult(
      "device nodes", PrepareHostTemplates(state, LaunchLimits(), facts ? facts->online_cpus : 1),
      "the state directory's file system takes them",
      "Put the state directory on a file system without nodev that takes device nodes"));
  findings.push_back(FromResult("seccomp", LoadSeccomp(state, "base"), "the profile compiles",
                                "Remove " + state + "/seccomp (a cache) and try again"));
  findings.push_back(FromResult("audit (BPF)", OpenBpfObjects(state),
                                "the programs load and attach",
                                "A kernel with BTF (/sys/kernel/btf/vmlinux) is needed, and a BPF "
                                "file system that can be mounted under " +
                                    state));
}

// A block of data in a file without a name. Where that fails, every other check of the directory
// would fail too, and each would advise something else.
Finding TryToWrite(const std::string& state) {
  const std::string block(4096, '\0');
  const auto file = OpenPath(state, O_TMPFILE | O_WRONLY, 0600);
  const auto written = file ? WriteAll(file->get(), block) : Result<void>(file.error());
  const int code = written ? 0 : written.error().code;
  // Not every file system has files without names.
  if (code == 0 || code == EOPNOTSUPP) return There("state directory", state);
  return Missing("state directory", state + " cannot be written: " + ErrnoName(code),
                 code == EROFS ? "Mount it writable, or name another with --state"
                 : code == ENOSPC || code == EDQUOT
                     ? "Free some space there, or name another with --state"
                     : "Name another with --state");
}

// Without a `state`, the configuration names it, and cannot be read.
void CheckStateDirectory(const std::string& state, bool root, std::vector<Finding>& findings) {
  std::string why_not = !root           ? "this process is not root"
                        : state.empty() ? "the configuration is not valid"
                                        : "";
  bool disk = false;
  if (!why_not.empty()) {
    findings.push_back(NotChecked("state directory", why_not));
  } else {
    // A mistyped path must not come to be by being asked about.
    auto there = OpenPath(state, O_RDONLY | O_DIRECTORY);
    const bool absent = !there && there.error().code == ENOENT;
    findings.push_back(
        absent   ? Missing("state directory", state + " does not exist",
                           "mkdir " + state + ", or name another with --state")
        : !there ? FromResult("state directory", there, state, "Name a directory with --state")
                 : TryToWrite(state));
    disk = there.has_value();
    if (!there)
      why_not = "there is no state directory";
    else if (findings.back().state == State::kMissing)
      why_not = "nothing can be written to the state directory";
  }
  findings.push_back(disk ? CheckDisk(state) : NotChecked("disk", why_not));
  if (why_not.empty()) return CheckLaunch(state, findings);
  for (const char* name : {"cgroups", "landlock", "device nodes", "seccomp", "audit (BPF)"})
    findings.push_back(NotChecked(name, why_not));
}

// With neither a file nor the variable, the defaults hold: they allow no repository, so no job.
bool NoConfiguration(const std::string& file) {
  return file.empty() && ::getenv("CARREL_CONFIG") == nullptr &&
         ::access(kDefaultConfigFile, F_OK) != 0 && errno == ENOENT;
}

Finding CheckRepositories(const HostConfig& config) {
  if (config.allowed_repositories.empty())
    return Advice("repositories", "none is allowed: no job can check out code",
                  "List prefixes in /allowed_repositories");
  return There("repositories",
               std::to_string(config.allowed_repositories.size()) + " allowed prefix(es)");
}

// What a job that is granted the database would find.
Finding CheckDatabaseOf(const std::string& name, const DatabaseConfig& database) {
  const std::string part = "database " + name;
  if (::geteuid() != 0) return NotChecked(part, "this process is not root");
  if (!database.credentials.systemd_credential.empty() &&
      ::getenv("CREDENTIALS_DIRECTORY") == nullptr)
    return Advice(part, "its credential is systemd's: not checked outside of the agent's service",
                  "systemd-run -P -p LoadCredential=... carrel doctor");
  return FromResult(part, CheckDatabase(name, database),
                    database.kind == "sqlite" ? database.path
                                              : database.kind + ", " + database.host + ":" +
                                                    std::to_string(database.port),
                    "Put the database there, or correct /databases/" + name);
}

Finding CheckLevelDirectory(const std::string& level, const std::string& path) {
  auto directory = OpenPath(path, O_RDONLY | O_DIRECTORY);
  if (directory) return There(level, path);
  if (directory.error().code != ENOENT)
    return Missing(level, directory.error().ToString(), "Correct the configuration's path");
  return Advice(level, path + " does not exist", "Make it, or the first job does");
}

void CheckConfiguration(const Result<HostConfig>& config, bool absent,
                        std::vector<Finding>& findings) {
  if (absent)
    findings.push_back(Missing(
        "configuration",
        config ? std::string(kDefaultConfigFile) + " does not exist" : config.error().ToString(),
        "Write it (README.md, Configuration), or name another with --config or CARREL_CONFIG"));
  else
    findings.push_back(FromResult("configuration", config, "valid",
                                  "Correct the file; README.md, Configuration, has an example"));
  if (absent || !config) {
    for (const char* name : {"policy", "databases", "repositories", "level 3", "level 4"})
      findings.push_back(NotChecked(
          name, absent ? "there is no configuration" : "the configuration is not valid"));
    return;
  }
  auto policy = LoadHostPolicy(*config, NowNs());
  findings.push_back(FromResult("policy", policy,
                                policy ? "digest " + policy->digest.substr(0, 12) : "",
                                "Copy policies/ there, or name its place in /policies; `carrel "
                                "policy check DIR` tells more"));
  for (const auto& [name, database] : config->databases)
    findings.push_back(CheckDatabaseOf(name, database));
  if (config->databases.empty())
    findings.push_back(Advice("databases", "none: no job can reach one",
                              "Name them in /databases of the configuration"));
  findings.push_back(CheckRepositories(*config));
  findings.push_back(CheckLevelDirectory("level 3", config->high_privacy));
  findings.push_back(CheckLevelDirectory("level 4", config->medium_privacy));
}

}  // namespace

std::vector<Finding> ExamineHost(const std::string& config_file, const std::string& state) {
  std::vector<Finding> findings = {CheckRoot(), CheckKernel()};
  const bool root = ::geteuid() == 0;
  auto config = LoadHostConfig(config_file, state);
  const bool absent = NoConfiguration(config_file) || (!config && config.error().code == ENOENT);
  CheckConfiguration(config, absent, findings);
  const std::string named = absent && state.empty() ? HostConfig().state : state;
  CheckStateDirectory(config ? config->state : named, root, findings);
  findings.push_back(CheckLoopDevices(root));
  findings.push_back(CheckHelper("git", "git", "the code of studies"));
  findings.push_back(CheckHelper("mkfs.ext4", "e2fsprogs", "scratch layers"));
  findings.push_back(CheckHelper("mmdebstrap", "mmdebstrap", "building images"));
  return findings;
}

}  // namespace carrel
