// `docker stats`: two readings of the kernel's counters.
#include <unistd.h>

#include "base/clock.h"
#include "cli/docker_commands.h"
#include "cli/docker_output.h"
#include "oci/container.h"
#include "oci/docker_flags.h"

namespace carrel {
namespace {

constexpr int kSampleUs = 500'000;

struct Sample {
  ContainerConfig config;
  CgroupPaths counters;
  CgroupUsage usage;
  int64_t ns = 0;
};

std::string HumanSize(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1024 && unit + 1 < std::size(kUnits); ++unit) size /= 1024;
  char text[32];
  snprintf(text, sizeof text, "%.4g%s", size, kUnits[unit]);
  return text;
}

std::string Percent(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.2f%%", value);
  return text;
}

Result<std::vector<Sample>> TakeSamples(const HostConfig& host, const DockerArguments& names) {
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  std::vector<Container> containers;
  for (const std::string& name : names) {
    CARREL_ASSIGN(Container container, store.Find(name));
    containers.push_back(std::move(container));
  }
  if (names.empty()) {
    CARREL_ASSIGN(containers, store.List());
  }
  std::vector<Sample> samples;
  for (const Container& container : containers) {
    const auto state = container.State();
    if (!state && state.error().code == ENOENT && names.empty()) continue;  // removed just now
    if (!state) return state.error();
    if (state->running())
      samples.push_back(
          {container.config(), state->counters, ReadCgroupUsage(state->counters), MonotonicNs()});
  }
  return samples;
}

OrderedJson StatsRow(const Sample& first, bool truncate) {
  const CgroupUsage now = ReadCgroupUsage(first.counters);
  const double elapsed_us = static_cast<double>(MonotonicNs() - first.ns) / 1000;
  // A task that ended between the readings takes its time with it on cgroup v1.
  const double used = now.cpu_usec > first.usage.cpu_usec
                          ? static_cast<double>(now.cpu_usec - first.usage.cpu_usec)
                          : 0;
  const uint64_t limit = first.config.memory_bytes;
  const std::string id = truncate ? first.config.id.substr(0, 12) : first.config.id;
  return {{"BlockIO", "0B / 0B"},
          {"CPUPerc", Percent(100 * used / elapsed_us)},
          {"Container", id},
          {"ID", id},
          {"MemPerc", Percent(limit == 0 ? 0
                                         : 100 * static_cast<double>(now.memory_bytes) /
                                               static_cast<double>(limit))},
          {"MemUsage", HumanSize(now.memory_bytes) + " / " + HumanSize(limit)},
          {"Name", first.config.name},
          {"NetIO", "0B / 0B"},
          {"PIDs", std::to_string(now.pids)}};
}

}  // namespace

Result<int> DockerStats(const HostConfig& host, const DockerArguments& arguments) {
  bool no_stream = false, no_trunc = false;
  std::string format;
  CARREL_ASSIGN(const DockerArguments names, ParseDockerFlags(arguments,
                                                              {{"no-stream", SwitchFlag(no_stream)},
                                                               {"no-trunc", SwitchFlag(no_trunc)},
                                                               {"format", TextFlag(format)}},
                                                              false));
  if (!no_stream) return BadInput("", "carrel answers stats with the flag --no-stream only");
  CARREL_ASSIGN(const std::vector<Sample> samples, TakeSamples(host, names));
  if (!samples.empty()) ::usleep(kSampleUs);
  std::vector<OrderedJson> rows;
  for (const Sample& sample : samples) rows.push_back(StatsRow(sample, !no_trunc));
  return PrintRows(rows, format,
                   {"ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"},
                   {{"BlockIO", "BLOCK I/O"},
                    {"CPUPerc", "CPU %"},
                    {"Container", "CONTAINER"},
                    {"ID", "CONTAINER ID"},
                    {"MemPerc", "MEM %"},
                    {"MemUsage", "MEM USAGE / LIMIT"},
                    {"Name", "NAME"},
                    {"NetIO", "NET I/O"},
                    {"PIDs", "PIDS"}});
}

}  // namespace carrel
