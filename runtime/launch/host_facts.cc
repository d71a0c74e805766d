#include "launch/host_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/fs.h"

namespace carrel {
namespace {

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

// A v1 controller by its name in a plan, which is v2's; "" for one that is not used. Input and
// output have weights there where the BFQ scheduler is: its files tell.
std::string UsedController(std::string_view option, const std::string& mount) {
  if (option == "memory" || option == "pids" || option == "cpu") return std::string(option);
  const bool bfq =
      option == "blkio" && ::access((mount + "/blkio.bfq.io_serviced").c_str(), F_OK) == 0;
  return bfq ? "io" : "";
}

// A line of mountinfo that is a cgroup hierarchy: nothing for any other. Spaces and backslashes in
// paths are octal there; a cgroup mount with one is not used.
std::optional<HostFacts::Hierarchy> ParseHierarchy(std::string_view line) {
  const size_t dash = line.find(" - cgroup");
  if (dash == std::string_view::npos) return std::nullopt;
  const auto fields = Split(line.substr(0, dash), ' ');
  const auto rest = Split(line.substr(dash + 3), ' ');
  if (fields.size() < 5 || rest.size() < 3 || fields[3] != "/") return std::nullopt;
  HostFacts::Hierarchy found{std::string(fields[4]), {}, rest[0] == "cgroup2"};
  if (found.v2) return found;
  for (std::string_view option : Split(rest[2], ','))
    if (const std::string name = UsedController(option, found.mount); !name.empty())
      found.controllers.push_back(name);
  return found;
}

Result<std::vector<HostFacts::Hierarchy>> FindHierarchies() {
  CARREL_ASSIGN(const std::string text, ReadFile("/proc/self/mountinfo"));
  std::vector<HostFacts::Hierarchy> v1;
  HostFacts::Hierarchy v2;
  for (std::string_view line : Split(text, '\n')) {
    auto found = ParseHierarchy(line);
    if (!found) continue;
    const bool known = std::any_of(v1.begin(), v1.end(), [&](const auto& other) {
      return other.controllers == found->controllers;
    });
    if (found->v2)
      v2 = std::move(*found);
    else if (!found->controllers.empty() && !known)
      v1.push_back(std::move(*found));
  }
  if (v2.mount.empty())
    return Fault("cgroup", "no cgroup v2 tree is mounted",
                 "mount -t cgroup2 none /sys/fs/cgroup/unified");
  CARREL_ASSIGN(std::string controllers, ReadFile(v2.mount + "/cgroup.controllers"));
  std::replace(controllers.begin(), controllers.end(), '\n', ' ');
  for (std::string_view name : Split(controllers, ' '))
    if (name == "memory" || name == "pids" || name == "cpu" || name == "io")
      v2.controllers.emplace_back(name);
  v1.push_back(v2);
  return v1;
}

Result<void> RequireControllers(const std::vector<HostFacts::Hierarchy>& hierarchies) {
  for (const char* wanted : {"memory", "pids", "cpu"}) {
    const bool found = std::any_of(hierarchies.begin(), hierarchies.end(), [&](const auto& tree) {
      return std::find(tree.controllers.begin(), tree.controllers.end(), wanted) !=
             tree.controllers.end();
    });
    if (!found)
      return Fault("cgroup", std::string("the ") + wanted + " controller is not available",
                   "An action cannot be limited without it: `carrel doctor` tells more");
  }
  return {};
}

// The kernel's record of a directory entry (getdents64).
struct KernelDirent {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

// Entries of /proc that are not processes. The kernel lists them before the processes, of which a
// host can have thousands: reading in small steps stops at the first of those.
Result<void> ListProc(HostFacts& facts) {
  CARREL_ASSIGN(UniqueFd proc, OpenPath("/proc", O_RDONLY | O_DIRECTORY));
  alignas(KernelDirent) char buffer[1024];
  for (;;) {
    const long n = ::syscall(SYS_getdents64, proc.get(), buffer, sizeof buffer);
    if (n < 0) return SysFault("/proc", "getdents64");
    if (n == 0) return {};
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const KernelDirent*>(buffer + at);
      at += entry->length;
      const std::string name = entry->name;
      if (name[0] >= '0' && name[0] <= '9') return {};
      if (name == "." || name == "..") continue;
      if (entry->type == DT_DIR) facts.proc_dirs.push_back(name);
      if (entry->type == DT_REG) facts.proc_files.push_back(name);
    }
  }
}

}  // namespace

Result<HostFacts> GatherHostFacts() {
  HostFacts facts;
  CARREL_ASSIGN(facts.hierarchies, FindHierarchies());
  CARREL_TRY(RequireControllers(facts.hierarchies));
  CARREL_TRY(ListProc(facts));
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  facts.landlock_abi = static_cast<int>(std::max(abi, 0L));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) return SysFault("host", "sched_getaffinity");
  facts.online_cpus = CPU_COUNT(&cpus);
  facts.time_namespaces = ::access("/proc/self/ns/time", F_OK) == 0;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return SysFault("host", "getrlimit");
  facts.open_files_max = files.rlim_max;
  return facts;
}

}  // namespace carrel
