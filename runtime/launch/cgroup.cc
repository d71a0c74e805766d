#include "launch/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

bool Has(const HostFacts::Hierarchy& tree, const char* controller) {
  return std::find(tree.controllers.begin(), tree.controllers.end(), controller) !=
         tree.controllers.end();
}

Result<void> Set(const std::string& directory, const char* file, const std::string& value) {
  auto fd = OpenPath(directory + "/" + file, O_WRONLY);
  if (!fd) return std::move(fd).error();
  if (auto written = WriteAll(fd->get(), value); !written)
    return SysFault(directory + "/" + file, "set cgroup limit " + value, written.error().code);
  return {};
}

bool Exists(const std::string& directory, const char* file) {
  return ::access((directory + "/" + file).c_str(), F_OK) == 0;
}

// The number behind `key` in a flat-keyed file; the whole file when the key is empty. 0 if absent.
uint64_t Read(const std::string& directory, const char* file, const std::string& key = "") {
  auto text = ReadFile(directory + "/" + file, 65536);
  if (!text) return 0;
  std::istringstream in(*text);
  uint64_t value = 0;
  if (key.empty()) {
    in >> value;
    return value;
  }
  for (std::string name; in >> name >> value;)
    if (name == key) return value;
  return 0;
}

// Whole words only: "cpuset" is not "cpu".
bool Lists(const std::string& controllers, const std::string& wanted) {
  std::istringstream words(controllers);
  for (std::string word; words >> word;)
    if (word == wanted) return true;
  return false;
}

// A v2 controller works in a directory when every directory above has it in subtree_control.
Result<void> EnableBelow(const std::string& directory, const HostFacts::Hierarchy& tree) {
  const std::string now = ReadFile(directory + "/cgroup.subtree_control", 4096).value_or("");
  for (const std::string& controller : tree.controllers) {
    if (Lists(now, controller)) continue;
    CARREL_TRY(Set(directory, "cgroup.subtree_control", "+" + controller));
  }
  return {};
}

// Makes every directory of `parent`, and enables the tree's controllers down to it.
Result<void> MakeParents(const HostFacts::Hierarchy& tree, const std::string& parent) {
  std::string directory = tree.mount;
  if (tree.v2) CARREL_TRY(EnableBelow(directory, tree));
  std::istringstream parts(parent);
  for (std::string part; std::getline(parts, part, '/');) {
    directory += "/" + part;
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
      return SysFault(directory, "mkdir of the cgroup");
    if (tree.v2) CARREL_TRY(EnableBelow(directory, tree));
  }
  return {};
}

// The parents stay when a run ends (to make one costs a group of every controller), so they are
// there but for the first time.
Result<void> MakeBelow(const HostFacts::Hierarchy& tree, const std::string& parent,
                       const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  if (errno != ENOENT) return SysFault(path, "mkdir of the cgroup");
  CARREL_TRY(MakeParents(tree, parent));
  if (::mkdir(path.c_str(), 0755) != 0) return SysFault(path, "mkdir of the cgroup");
  return {};
}

Result<void> SetV2(const std::string& path, const HostFacts::Hierarchy& tree,
                   const LaunchLimits& limits) {
  if (Has(tree, "memory")) {
    CARREL_TRY(Set(path, "memory.max", std::to_string(limits.memory_bytes)));
    if (Exists(path, "memory.swap.max")) CARREL_TRY(Set(path, "memory.swap.max", "0"));
  }
  if (Has(tree, "pids")) CARREL_TRY(Set(path, "pids.max", std::to_string(limits.processes)));
  if (Has(tree, "cpu")) {
    CARREL_TRY(Set(path, "cpu.max", std::to_string(limits.cpu_milli * 100ull) + " 100000"));
    CARREL_TRY(Set(path, "cpu.weight", std::to_string(limits.cpu_weight)));
  }
  return {};
}

Result<void> SetV1(const std::string& path, const HostFacts::Hierarchy& tree,
                   const LaunchLimits& limits) {
  if (Has(tree, "memory")) {
    CARREL_TRY(Set(path, "memory.limit_in_bytes", std::to_string(limits.memory_bytes)));
    if (Exists(path, "memory.memsw.limit_in_bytes"))
      CARREL_TRY(Set(path, "memory.memsw.limit_in_bytes", std::to_string(limits.memory_bytes)));
    else
      CARREL_TRY(Set(path, "memory.swappiness", "0"));
  }
  if (Has(tree, "pids")) CARREL_TRY(Set(path, "pids.max", std::to_string(limits.processes)));
  if (Has(tree, "cpu")) {
    CARREL_TRY(Set(path, "cpu.cfs_quota_us", std::to_string(limits.cpu_milli * 100ull)));
    // v2's 1..10000 with 100 as default; v1's shares have 1024 as default and 2 as least.
    CARREL_TRY(
        Set(path, "cpu.shares", std::to_string(std::max(2ull, limits.cpu_weight * 1024ull / 100))));
  }
  return {};
}

// The kernel has weights of input and output only where a scheduler or a cost model for them is.
// True when one was set.
Result<bool> SetIoWeight(const std::string& path, const LaunchLimits& limits) {
  // BFQ takes 1 to 1000; its default is 100, like that of v2's own.
  const std::string bfq = std::to_string(std::min(limits.io_weight, 1000u));
  const std::pair<const char*, std::string> files[] = {
      {"io.weight", "default " + std::to_string(limits.io_weight)},
      {"io.bfq.weight", bfq},
      {"blkio.bfq.weight", bfq}};
  for (const auto& [file, value] : files) {
    auto set = Set(path, file, value);
    if (set) return true;
    if (set.error().code != ENOENT) return std::move(set).error();
  }
  return false;
}

// Limit files are missing where somebody else made the parent and did not enable the controllers.
Result<void> SetLimits(const HostFacts::Hierarchy& tree, const std::string& parent,
                       const std::string& path, const LaunchLimits& limits) {
  if (!tree.v2) return SetV1(path, tree, limits);
  auto set = SetV2(path, tree, limits);
  if (set || set.error().code != ENOENT) return set;
  CARREL_TRY(MakeParents(tree, parent));
  return SetV2(path, tree, limits);
}

void KillAll(const std::string& path) {
  if (Exists(path, "cgroup.kill") && Set(path, "cgroup.kill", "1").has_value()) return;
  auto tasks = ReadFile(path + "/cgroup.procs", 1u << 20);
  if (!tasks) return;
  std::istringstream in(*tasks);
  for (pid_t pid = 0; in >> pid;)
    if (pid > 0) ::kill(pid, SIGKILL);  // read from the cgroup this moment: nobody else's
}

// rmdir, until the last task has gone. Dying tasks take milliseconds; one in an uninterruptible
// wait can take long, and then it is said.
Result<void> RemoveWhenEmpty(const std::string& path) {
  for (int waited_us = 0; waited_us < 10'000'000;) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY) return SysFault(path, "rmdir of the cgroup");
    KillAll(path);
    const int wait_us = waited_us < 2000 ? 100 : 5000;
    timespec pause{0, wait_us * 1000L};
    ::nanosleep(&pause, nullptr);
    waited_us += wait_us;
  }
  return SysFault(path, "the cgroup's tasks do not end", EBUSY);
}

// Microseconds of the tasks in the cgroup, with the children that each has reaped: cpuacct is a
// hierarchy of its own on many v1 hosts, and joining one more costs every start milliseconds.
uint64_t CpuOfTasks(const std::string& path) {
  auto procs = ReadFile(path + "/cgroup.procs");
  if (!procs) return 0;
  uint64_t ticks = 0;
  std::istringstream pids(*procs);
  for (std::string pid; std::getline(pids, pid);) {
    auto stat = ReadFile("/proc/" + pid + "/stat");
    if (!stat) continue;  // it has ended
    const size_t name_end = stat->rfind(')');
    unsigned long long times[4] = {};
    if (name_end == std::string::npos ||
        sscanf(stat->c_str() + name_end + 1,
               " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %llu %llu", &times[0],
               &times[1], &times[2], &times[3]) != 4)
      continue;
    ticks += times[0] + times[1] + times[2] + times[3];
  }
  return ticks * 1'000'000 / static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

std::string CgroupName(const std::string& state_dir, const std::string& id) {
  // The directory itself and not its path: that can have several, or name another one tomorrow.
  struct stat info {};
  if (::stat(state_dir.c_str(), &info) != 0) info = {};
  const std::string place = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  return id + "-" + Sha256Hex(place).substr(0, 8);
}

std::string Cgroup::PathIn(const std::string& mount) const { return mount + "/" + parent_id_; }

Result<Cgroup> Cgroup::Create(const HostFacts& facts, const std::string& parent,
                              const std::string& id, const LaunchLimits& limits) {
  Cgroup cgroup;
  cgroup.parent_id_ = parent + "/" + id;
  for (const auto& tree : facts.hierarchies) {
    const std::string path = cgroup.PathIn(tree.mount);
    CARREL_TRY(MakeBelow(tree, parent, path));
    cgroup.paths_.push_back(path);
    CARREL_TRY(SetLimits(tree, parent, path, limits));
    if (Has(tree, "io")) {
      CARREL_ASSIGN(cgroup.io_weight_set_, SetIoWeight(path, limits));
    }
    if (Has(tree, "memory")) {
      cgroup.counters_.memory = path;
      cgroup.counters_.v2 = tree.v2;
    }
    if (Has(tree, "cpu")) cgroup.counters_.cpu = path;
    if (Has(tree, "pids")) cgroup.counters_.pids = path;
    if (tree.v2) cgroup.counters_.tasks = path;
  }
  CARREL_ASSIGN(cgroup.v2_, OpenPath(cgroup.v2_path(), O_RDONLY | O_DIRECTORY));
  struct stat info {};
  if (::fstat(cgroup.v2_.get(), &info) != 0) return SysFault(cgroup.v2_path(), "fstat");
  cgroup.v2_id_ = info.st_ino;  // the inode number of a cgroup v2 directory is the cgroup's id
  return cgroup;
}

Cgroup::~Cgroup() { (void)KillAndRemove(); }

CgroupUsage ReadCgroupUsage(const CgroupPaths& paths) {
  CgroupUsage usage;
  if (paths.v2) {
    usage.memory_bytes = Read(paths.memory, "memory.current");
    usage.memory_peak_bytes = Read(paths.memory, "memory.peak");
    usage.oom_kills = Read(paths.memory, "memory.events", "oom_kill");
    usage.cpu_usec = Read(paths.cpu, "cpu.stat", "usage_usec");
  } else {
    usage.memory_bytes = Read(paths.memory, "memory.usage_in_bytes");
    usage.memory_peak_bytes = Read(paths.memory, "memory.max_usage_in_bytes");
    usage.oom_kills = Read(paths.memory, "memory.oom_control", "oom_kill");
    usage.cpu_usec = CpuOfTasks(paths.tasks);
  }
  usage.pids = Read(paths.pids, "pids.current");
  usage.pids_refused = Read(paths.pids, "pids.events", "max");
  return usage;
}

Result<void> Cgroup::KillAndRemove() {
  v2_.reset();
  Result<void> first;
  for (const std::string& path : paths_)
    if (auto removed = RemoveWhenEmpty(path); !removed && first) first = std::move(removed);
  paths_.clear();
  return first;
}

Result<void> Cgroup::RemoveStale(const HostFacts& facts, const std::string& parent,
                                 const std::string& id) {
  for (const auto& tree : facts.hierarchies)
    CARREL_TRY(RemoveWhenEmpty(tree.mount + "/" + parent + "/" + id));
  return {};
}

}  // namespace carrel
