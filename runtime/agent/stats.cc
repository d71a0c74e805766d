// What running actions use, from their cgroups. On a v1 host, whose hierarchies carrel keeps to the
// fewest, processor time and I/O are those of the tasks that live.
#include <dirent.h>
#include <unistd.h>

#include <sstream>

#include "agent/inspect.h"
#include "agent/verbs.h"
#include "base/clock.h"
#include "base/fs.h"
#include "launch/cgroup.h"
#include "launch/host_facts.h"

namespace carrel {
namespace {

struct Usage {
  uint64_t cpu_usec = 0, memory = 0, memory_peak = 0, tasks = 0, read = 0, written = 0;
};

uint64_t Number(const std::string& path) {
  const std::string text = ReadFile(path, 4096).value_or("");
  return text.empty() || text[0] < '0' || text[0] > '9' ? 0
                                                        : std::strtoull(text.c_str(), nullptr, 10);
}

// The sum of the numbers after `key` in a file of "key value" or "... key=value" words.
uint64_t Sum(const std::string& path, const std::string& key) {
  std::istringstream in(ReadFile(path, 1u << 20).value_or(""));
  uint64_t sum = 0;
  for (std::string word; in >> word;) {
    if (word == key && in >> word)
      sum += std::strtoull(word.c_str(), nullptr, 10);
    else if (word.starts_with(key + "="))
      sum += std::strtoull(word.c_str() + key.size() + 1, nullptr, 10);
  }
  return sum;
}

void AddTask(const std::string& pid, Usage& usage) {
  const std::string stat = ReadFile("/proc/" + pid + "/stat", 65536).value_or("");
  std::istringstream fields(stat.substr(std::min(stat.rfind(')') + 1, stat.size())));
  std::string word;
  for (int field = 3; field < 14 && fields >> word; ++field) continue;
  uint64_t user = 0, system = 0, reaped_user = 0, reaped_system = 0;
  fields >> user >> system >> reaped_user >> reaped_system;
  static const uint64_t ticks = static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
  usage.cpu_usec += (user + system + reaped_user + reaped_system) * 1'000'000 / ticks;
  usage.read += Sum("/proc/" + pid + "/io", "read_bytes:");
  usage.written += Sum("/proc/" + pid + "/io", "write_bytes:");
}

Usage Sample(const HostFacts& facts, const HostConfig& host, const std::string& id) {
  Usage usage;
  bool cpu = false;
  std::string v2;
  for (const auto& tree : facts.hierarchies) {
    const std::string path =
        tree.mount + "/" + host.cgroup_parent + "/" + CgroupName(host.state, id) + "/";
    if (tree.v2) v2 = path;
    const bool has_memory = ::access((path + "memory.current").c_str(), F_OK) == 0;
    const bool has_memory_v1 = ::access((path + "memory.usage_in_bytes").c_str(), F_OK) == 0;
    if (has_memory || has_memory_v1) {
      usage.memory = Number(path + (has_memory ? "memory.current" : "memory.usage_in_bytes"));
      usage.memory_peak = Number(path + (has_memory ? "memory.peak" : "memory.max_usage_in_bytes"));
    }
    if (::access((path + "pids.current").c_str(), F_OK) == 0)
      usage.tasks = Number(path + "pids.current");
    if (tree.v2 && ::access((path + "io.stat").c_str(), F_OK) == 0) {
      cpu = true;
      usage.cpu_usec = Sum(path + "cpu.stat", "usage_usec");
      usage.read = Sum(path + "io.stat", "rbytes");
      usage.written = Sum(path + "io.stat", "wbytes");
    }
  }
  if (cpu) return usage;
  std::istringstream pids(ReadFile(v2 + "cgroup.procs", 1u << 20).value_or(""));
  for (std::string pid; pids >> pid;) AddTask(pid, usage);
  return usage;
}

struct Live {
  uint64_t events = 0, denied = 0, per_second = 0;
};

// What the supervisor last wrote, at most a second ago.
Live ReadLive(const HostConfig& host, const std::string& id) {
  Live live;
  int64_t when = 0;
  std::istringstream in(ReadFile(host.state + "/jobs/" + id + "/live", 4096).value_or(""));
  in >> when >> live.events >> live.denied >> live.per_second;
  return live;
}

}  // namespace

Result<OrderedJson> JobStats(const HostConfig& host) {
  CARREL_ASSIGN(const auto ids, JobDir::List(host.state));
  CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
  std::map<std::string, uint64_t> before;
  for (const std::string& id : ids) {
    const auto answer = StatusVerb(host, id);
    if (answer && answer->state == JobState::kExecuting)
      before[id] = Sample(facts, host, id).cpu_usec;
  }
  const int64_t begin = MonotonicNs();
  if (!before.empty()) ::usleep(250'000);
  OrderedJson jobs = OrderedJson::array();
  for (const auto& [id, cpu_before] : before) {
    const Usage usage = Sample(facts, host, id);
    const Live live = ReadLive(host, id);
    const double elapsed_usec = static_cast<double>(MonotonicNs() - begin) / 1000;
    const uint64_t used = usage.cpu_usec - std::min(cpu_before, usage.cpu_usec);
    jobs.push_back(
        {{"id", id},
         {"cpu_usec", usage.cpu_usec},
         {"cpu_percent", static_cast<int>(100.0 * static_cast<double>(used) / elapsed_usec)},
         {"memory_bytes", usage.memory},
         {"memory_peak_bytes", usage.memory_peak},
         {"tasks", usage.tasks},
         {"read_bytes", usage.read},
         {"written_bytes", usage.written},
         {"syscalls", live.events},
         {"syscalls_denied", live.denied},
         {"syscalls_per_second", live.per_second}});
  }
  return OrderedJson{{"jobs", std::move(jobs)}};
}

}  // namespace carrel
