#include "launch/host_template.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <functional>
#include <sstream>

#include "base/fs.h"

namespace carrel {
namespace {

struct Device {
  const char* name;
  unsigned minor;
};
constexpr unsigned kMemMajor = 1;
constexpr Device kDevices[] = {
    {"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};

using Fill = std::function<Result<void>(int directory)>;

// Makes directory `name` beneath `parent` whole or not at all: filled under a temporary name, then
// renamed. Whoever loses a race uses the winner's. `fill` must leave something there: a rename
// takes the place of an empty directory, and with it of all that is mounted on it, in any
// namespace.
Result<void> MakeOnce(int parent, const std::string& name, const Fill& fill) {
  if (::faccessat(parent, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return {};
  const std::string temporary = ".tmp-" + name + "-" + std::to_string(::getpid());
  CARREL_TRY(RemoveTree(parent, temporary));
  CARREL_ASSIGN(UniqueFd directory, MakeDirsBeneath(parent, temporary, 0755));
  CARREL_TRY(fill(directory.get()));
  if (::fchmod(directory.get(), 0755) != 0) return SysFault(name, "fchmod");
  if (::renameat(parent, temporary.c_str(), parent, name.c_str()) == 0) return {};
  const int code = errno;
  CARREL_TRY(RemoveTree(parent, temporary));
  if (code == EEXIST || code == ENOTEMPTY) return {};
  return SysFault(name, "rename", code);
}

Result<void> Put(int directory, const std::string& name, const std::string& text) {
  CARREL_ASSIGN(UniqueFd file, OpenBeneath(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0444));
  if (::fchmod(file.get(), 0444) != 0) return SysFault(name, "fchmod");
  return WriteAll(file.get(), text);
}

Result<void> PutAt(int directory, const std::string& parent, const std::string& name,
                   const std::string& text) {
  CARREL_ASSIGN(UniqueFd sub, MakeDirsBeneath(directory, parent, 0755));
  return Put(sub.get(), name, text);
}

Result<void> FillDev(int directory) {
  for (const Device& device : kDevices) {
    if (::mknodat(directory, device.name, S_IFCHR | 0666, makedev(kMemMajor, device.minor)) != 0)
      return SysFault("/dev", std::string("mknod ") + device.name);
    if (::fchmodat(directory, device.name, 0666, 0) != 0) return SysFault("/dev", "chmod");
  }
  const std::pair<const char*, const char*> links[] = {{"fd", "/proc/self/fd"},
                                                       {"stdin", "/proc/self/fd/0"},
                                                       {"stdout", "/proc/self/fd/1"},
                                                       {"stderr", "/proc/self/fd/2"}};
  for (const auto& [name, target] : links)
    if (::symlinkat(target, directory, name) != 0) return SysFault("/dev", "symlink");
  CARREL_TRY(MakeDirsBeneath(directory, "shm", 0755));
  return {};
}

// The nodes are opened for what they are, not for what they are called.
Result<void> CheckDev(int host) {
  for (const Device& device : kDevices) {
    struct stat info {};
    const std::string path = std::string("dev/") + device.name;
    if (::fstatat(host, path.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SysFault(path, "stat of the device template");
    if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(kMemMajor, device.minor))
      return Fault(path, "the device template is not the device of that name",
                   "Remove the directory `host` of the state directory; it is made anew");
  }
  return {};
}

Result<void> FillEmpty(int directory) {
  CARREL_TRY(Put(directory, "file", ""));
  CARREL_TRY(MakeDirsBeneath(directory, "dir", 0755));
  return {};
}

// What programs ask of /proc/sys, with fixed answers: nothing of the host (boot_id, limits, names).
Result<void> FillProcSys(int directory) {
  utsname name{};
  ::uname(&name);
  CARREL_TRY(PutAt(directory, "kernel", "osrelease", std::string(name.release) + "\n"));
  CARREL_TRY(PutAt(directory, "kernel", "ostype", "Linux\n"));
  CARREL_TRY(PutAt(directory, "kernel", "pid_max", "4194304\n"));
  CARREL_TRY(PutAt(directory, "kernel", "cap_last_cap", "40\n"));
  CARREL_TRY(PutAt(directory, "kernel", "ngroups_max", "65536\n"));
  CARREL_TRY(PutAt(directory, "kernel", "shmmax", "18446744073692774399\n"));
  CARREL_TRY(PutAt(directory, "vm", "overcommit_memory", "0\n"));
  CARREL_TRY(PutAt(directory, "vm", "max_map_count", "65530\n"));
  CARREL_TRY(PutAt(directory, "fs", "pipe-max-size", "1048576\n"));
  return PutAt(directory, "net/core", "somaxconn", "4096\n");
}

// The first `count` processors of the host's list.
std::string CpuInfo(const std::string& host, int count) {
  std::string shown;
  std::istringstream in(host);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("processor") && count-- == 0) break;
    shown += line + "\n";
  }
  return shown;
}

std::string MemInfo(uint64_t bytes) {
  const std::string all = std::to_string(bytes >> 10);
  std::string text;
  auto line = [&](const std::string& name, const std::string& value) {
    text +=
        name + ":" + std::string(16 - std::min<size_t>(15, name.size() + 1), ' ') + value + " kB\n";
  };
  for (const char* name : {"MemTotal", "MemFree", "MemAvailable"}) line(name, all);
  for (const char* name : {"Buffers", "Cached", "SwapCached", "Active", "Inactive", "SwapTotal",
                           "SwapFree", "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem"})
    line(name, "0");
  return text;
}

std::string Stat(int cpus) {
  std::string text = "cpu  0 0 0 0 0 0 0 0 0 0\n";
  for (int i = 0; i < cpus; ++i) text += "cpu" + std::to_string(i) + " 0 0 0 0 0 0 0 0 0 0\n";
  return text + "intr 0\nctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
}

Result<void> FillSys(int directory, const LaunchLimits& limits, int cpus) {
  const std::string range = cpus == 1 ? "0\n" : "0-" + std::to_string(cpus - 1) + "\n";
  for (const char* name : {"online", "possible", "present"})
    CARREL_TRY(PutAt(directory, "devices/system/cpu", name, range));
  for (int i = 0; i < cpus; ++i)
    CARREL_TRY(MakeDirsBeneath(directory, "devices/system/cpu/cpu" + std::to_string(i), 0755));
  for (const char* name : {"online", "possible"})
    CARREL_TRY(PutAt(directory, "devices/system/node", name, "0\n"));
  // Where R, Java and others look for a container's limits on a cgroup v2 host.
  CARREL_TRY(
      PutAt(directory, "fs/cgroup", "memory.max", std::to_string(limits.memory_bytes) + "\n"));
  return PutAt(directory, "fs/cgroup", "cpu.max",
               std::to_string(limits.cpu_milli * 100) + " 100000\n");
}

Result<void> FillView(int directory, const LaunchLimits& limits, int cpus) {
  CARREL_ASSIGN(const std::string cpuinfo, ReadFile("/proc/cpuinfo", 64u << 20));
  CARREL_TRY(Put(directory, "cpuinfo", CpuInfo(cpuinfo, cpus)));
  CARREL_TRY(Put(directory, "meminfo", MemInfo(limits.memory_bytes)));
  CARREL_TRY(Put(directory, "stat", Stat(cpus)));
  CARREL_ASSIGN(UniqueFd sys, MakeDirsBeneath(directory, "sys", 0755));
  return FillSys(sys.get(), limits, cpus);
}

}  // namespace

Result<HostTemplates> PrepareHostTemplates(const std::string& state_dir, const LaunchLimits& limits,
                                           int online_cpus) {
  HostTemplates templates{state_dir + "/host"};
  CARREL_ASSIGN(UniqueFd host, MakeDirs(templates.root, 0755));
  CARREL_TRY(MakeOnce(host.get(), "dev", FillDev));
  CARREL_TRY(CheckDev(host.get()));
  CARREL_TRY(MakeOnce(host.get(), "empty", FillEmpty));
  CARREL_TRY(MakeOnce(host.get(), "procsys", FillProcSys));
  CARREL_TRY(MakeDirsBeneath(host.get(), "root", 0755));
  const int cpus = VisibleCpus(limits, online_cpus);
  const std::string view = templates.view(limits, online_cpus).substr(templates.root.size() + 1);
  CARREL_TRY(
      MakeOnce(host.get(), view, [&](int directory) { return FillView(directory, limits, cpus); }));
  return templates;
}

}  // namespace carrel
