#include "launch/host_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "base/fs.h"

namespace carrel {
namespace {

std::vector<std::string> SplitWords(const std::string& text, char separator) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, separator);)
    if (!word.empty()) words.push_back(word);
  return words;
}

// mountinfo writes spaces and backslashes in paths as octal; a cgroup mount with one is not used.
Result<std::vector<HostFacts::Hierarchy>> FindHierarchies() {
  CARREL_ASSIGN(const std::string text, ReadFile("/proc/self/mountinfo"));
  std::vector<HostFacts::Hierarchy> v1;
  HostFacts::Hierarchy v2;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t dash = line.find(" - cgroup");
    if (dash == std::string::npos) continue;
    const auto fields = SplitWords(line.substr(0, dash), ' ');
    const auto rest = SplitWords(line.substr(dash + 3), ' ');
    if (fields.size() < 5 || rest.size() < 3 || fields[3] != "/") continue;
    if (rest[0] == "cgroup2") {
      v2 = {fields[4], {}, true};
      continue;
    }
    HostFacts::Hierarchy found{fields[4], {}, false};
    for (const std::string& option : SplitWords(rest[2], ','))
      if (option == "memory" || option == "pids" || option == "cpu")
        found.controllers.push_back(option);
    const bool known = std::any_of(v1.begin(), v1.end(), [&](const auto& other) {
      return other.controllers == found.controllers;
    });
    if (!found.controllers.empty() && !known) v1.push_back(found);
  }
  if (v2.mount.empty())
    return Fault("cgroup", "no cgroup v2 tree is mounted",
                 "mount -t cgroup2 none /sys/fs/cgroup/unified");
  CARREL_ASSIGN(const std::string controllers, ReadFile(v2.mount + "/cgroup.controllers"));
  std::string words = controllers;
  std::replace(words.begin(), words.end(), '\n', ' ');
  for (const std::string& controller : SplitWords(words, ' '))
    if (controller == "memory" || controller == "pids" || controller == "cpu" || controller == "io")
      v2.controllers.push_back(controller);
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
