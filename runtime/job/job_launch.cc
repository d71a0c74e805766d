// What the launch and the collection get of decision and image.
#include "base/clock.h"
#include "job/job_records.h"

namespace carrel {

LaunchLimits ToLaunchLimits(const Limits& limits) {
  LaunchLimits launch;
  launch.memory_bytes = limits.memory_bytes;
  launch.cpu_milli = static_cast<uint32_t>(limits.cpu_milli);
  launch.processes = static_cast<uint32_t>(limits.pids);
  launch.time_seconds = static_cast<uint32_t>(limits.time_seconds);
  launch.scratch_bytes = limits.scratch_bytes;
  launch.scratch_inodes = limits.scratch_inodes;
  launch.file_bytes = limits.file_bytes;
  launch.log_bytes = limits.log_bytes;
  launch.open_files = static_cast<uint32_t>(limits.open_files);
  return launch;
}

std::map<std::string, std::string> ActionEnvironment(const Image& image, const Decision& decision,
                                                     const DatabaseAccess& database) {
  std::map<std::string, std::string> environment = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  for (const auto& [name, value] : image.config.env) environment[name] = value;
  for (const auto& [name, value] : decision.environment) environment[name] = value;
  environment["HOME"] = "/tmp";
  for (const auto& [name, value] : database.environment) environment[name] = value;
  return environment;
}

CollectRequest MakeCollectRequest(const JobRecords& records, int scratch_dir) {
  const Decision& decision = records.decision;
  CollectRequest request;
  request.scratch_dir = scratch_dir;
  request.output_spec = records.job.output_spec;
  request.job_id = records.job.id;
  request.high_workspace = records.places.high_workspace.get();
  request.medium_workspace = records.places.medium_workspace.get();
  request.high = Ownership(records.host, Level::kHighlySensitive);
  request.medium = Ownership(records.host, Level::kModeratelySensitive);
  request.level4.max_csv_rows = decision.level4.max_csv_rows;
  request.level4.max_filesize = static_cast<uint64_t>(decision.level4.max_file_bytes);
  request.level4.file_types = decision.level4.file_types;
  request.limits.max_total_bytes = decision.limits.scratch_bytes;
  request.limits.max_file_bytes =
      std::max(request.limits.max_file_bytes, decision.limits.file_bytes);
  return request;
}

// As `docker container inspect` names them, for the agent's readers.
OrderedJson ContainerMetadata(const JobRecords& records, const LaunchPlan& plan) {
  const SandboxResult& run = records.run;
  const Image& image = records.image;
  return RedactEnvironment({{"State",
                             {{"Status", "exited"},
                              {"Running", false},
                              {"OOMKilled", records.oom_killed()},
                              {"ExitCode", run.end.exit_code},
                              {"StartedAt", Rfc3339(run.started_ns)},
                              {"FinishedAt", Rfc3339(run.ended_ns)}}},
                            {"HostConfig",
                             {{"Memory", plan.limits.memory_bytes},
                              {"NanoCpus", plan.limits.cpu_milli * 1'000'000ull},
                              {"CapDrop", {"ALL"}},
                              {"CapAdd", OrderedJson::array()},
                              {"NetworkMode", "none"},
                              {"SecurityOpt", {"no-new-privileges"}}}},
                            {"Config",
                             {{"Env", plan.environment},
                              {"Labels", image.config.labels},
                              {"User", std::to_string(kInsideId) + ":" + std::to_string(kInsideId)},
                              {"Image", records.job.image}}},
                            {"Args", plan.argv},
                            {"Image", image.config_digest},
                            {"Created", Rfc3339(run.started_ns)}});
}

}  // namespace carrel
