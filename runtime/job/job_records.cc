#include "job/job_records.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "job/manifest.h"

namespace carrel {
namespace {

std::string Label(const Image& image, const std::string& name) {
  auto found = image.config.labels.find(name);
  return found == image.config.labels.end() ? "" : found->second;
}

const LevelOwnership& Ownership(const HostConfig& host, Level level) {
  return host.levels.at(level);
}

Result<UniqueFd> OpenOwned(const std::string& base, const std::string& path,
                           const LevelOwnership& owner) {
  CARREL_ASSIGN(const UniqueFd root, MakeDirs(base, 0755));
  UniqueFd current;
  std::string part;
  // Every directory that carrel makes on the way gets the level's owner and mode.
  for (size_t start = 0; start <= path.size(); start = part.size() + start + 1) {
    part = path.substr(start, path.find('/', start) - start);
    const int parent = current ? current.get() : root.get();
    const bool made = ::mkdirat(parent, part.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return SysFault(base + "/" + path, "mkdir");
    CARREL_ASSIGN(UniqueFd next, OpenBeneath(parent, part, O_RDONLY | O_DIRECTORY));
    if (made && (::fchown(next.get(), owner.owner, owner.group) != 0 ||
                 ::fchmod(next.get(), owner.directory_mode) != 0))
      return SysFault(base + "/" + path, "owner and mode");
    current = std::move(next);
  }
  return current;
}

// As `docker container inspect` names them, for the agent's readers.
OrderedJson ContainerMetadata(const JobRecords& records, const Image& image,
                              const LaunchPlan& plan) {
  const SandboxResult& run = records.run;
  return {{"State",
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
          {"Created", Rfc3339(run.started_ns)}};
}

OrderedJson Metrics(const JobRecords& records) {
  const SandboxResult& run = records.run;
  return {{"memory_peak_bytes", run.usage.memory_peak_bytes},
          {"cpu_usec", run.usage.cpu_usec},
          {"duration_ms", (run.ended_ns - run.started_ns) / 1'000'000},
          {"syscalls", run.counts.events},
          {"syscalls_denied", run.counts.denied}};
}

OrderedJson AuditJson(const JobRecords& records) {
  return {{"id", records.audit_id},
          {"log", records.seal.path},
          {"seal", records.seal.head},
          {"events", records.run.counts.events},
          {"denied", records.run.counts.denied},
          {"lost", records.run.counts.lost}};
}

OrderedJson OutputsJson(const Collection& collection) {
  OrderedJson outputs = OrderedJson::object();
  for (const CollectedOutput& output : collection.outputs)
    outputs[output.path] = LevelName(output.level);
  return outputs;
}

OrderedJson WithheldJson(const Collection& collection) {
  OrderedJson withheld = OrderedJson::object();
  for (const CollectedOutput& output : collection.outputs)
    if (output.withheld) withheld[output.path] = *output.withheld;
  return withheld;
}

JobMetadata MakeMetadata(const JobRecords& records, const Decision& decision, const Image& image,
                         const LaunchPlan& plan) {
  JobMetadata metadata;
  metadata.collection = records.collection;
  metadata.message = records.message;
  metadata.image_id = image.config_digest;
  metadata.completed_at_ns = records.run.ended_ns;
  metadata.exit_code = records.run.end.exit_code;
  metadata.oom_killed = records.oom_killed();
  metadata.cancelled = records.run.end.cancelled;
  metadata.container_metadata = ContainerMetadata(records, image, plan);
  metadata.job_metrics = Metrics(records);
  metadata.action_version = Label(image, "org.opencontainers.image.version");
  metadata.action_revision = Label(image, "org.opencontainers.image.revision");
  metadata.action_created = image.config.created;
  metadata.base_revision = Label(image, "org.opensafely.base.vcs-ref");
  metadata.base_created = Label(image, "org.opensafely.base.build-date");
  metadata.carrel = {{"decision", ToJson(decision)},
                     {"tree", records.tree_id},
                     {"image_digest", image.digest},
                     {"audit", AuditJson(records)}};
  return metadata;
}

}  // namespace

bool JobRecords::ended_well() const {
  return run.end.exit_code == 0 && !run.end.cancelled && !run.end.timed_out &&
         collection.tampered.empty();
}

bool JobRecords::succeeded() const { return ended_well() && collection.unmatched_patterns.empty(); }

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

std::map<std::string, std::string> ActionEnvironment(const Image& image, const Decision& decision) {
  std::map<std::string, std::string> environment = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  for (const auto& [name, value] : image.config.env) environment[name] = value;
  for (const auto& [name, value] : decision.environment) environment[name] = value;
  environment["HOME"] = "/tmp";
  if (decision.database)
    environment["DATABASE_URL"] = "sqlite://" + DatabasePathInside(*decision.database);
  return environment;
}

std::string DatabasePathInside(const DatabaseGrant& grant) {
  return "/database/" + grant.name + ".sqlite";
}

Result<void> CheckDatabaseFile(const DatabaseGrant& grant) {
  const std::string where = "/databases/" + grant.name + "/path";
  auto file = OpenPath(grant.path, O_PATH | O_NOFOLLOW);
  if (!file) return SysFault(where, "the database file cannot be opened", file.error().code);
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) return SysFault(where, "fstat");
  if (!S_ISREG(info.st_mode)) return Fault(where, "is not a regular file");
  if ((info.st_mode & 0004) == 0)
    return Fault(where, "the action's unprivileged id cannot read the file",
                 "Give the file mode 0644, in a directory that only root can enter");
  return {};
}

Result<std::string> FreeAuditId(const std::string& state_dir, const std::string& id) {
  std::string candidate = id;
  for (int attempt = 2;
       ::access((state_dir + "/audit/" + candidate + ".carrel-log").c_str(), F_OK) == 0; ++attempt)
    candidate = id + "." + std::to_string(attempt);
  return candidate;
}

Result<JobPlaces> OpenPlaces(const HostConfig& host, const JobDefinition& job, int64_t now_ns) {
  JobPlaces places;
  places.month = YearMonth(now_ns);
  const auto& high = Ownership(host, Level::kHighlySensitive);
  const auto& medium = Ownership(host, Level::kModeratelySensitive);
  CARREL_ASSIGN(places.high_logs, OpenOwned(host.high_privacy, "logs", high));
  CARREL_ASSIGN(places.high_workspace,
                OpenOwned(host.high_privacy, "workspaces/" + job.workspace, high));
  CARREL_ASSIGN(places.medium_workspace,
                OpenOwned(host.medium_privacy, "workspaces/" + job.workspace, medium));
  return places;
}

Result<std::vector<UniqueFd>> ReserveRoom(const JobPlaces& places, int state_dir, int action_log) {
  constexpr off_t kRecords = 4 << 20;  // manifest, metadata, the audit log's end
  struct stat log {};
  if (::fstat(action_log, &log) != 0) return SysFault("action log", "fstat");
  std::vector<UniqueFd> room;
  for (int directory : {places.high_workspace.get(), places.medium_workspace.get(), state_dir}) {
    CARREL_ASSIGN(UniqueFd file, OpenBeneath(directory, ".", O_WRONLY | O_TMPFILE, 0600));
    // The log is copied twice to a disk at most. A file system that cannot promise is asked no
    // more than that.
    if (::fallocate(file.get(), 0, 0, kRecords + 2 * log.st_size) != 0 && errno != EOPNOTSUPP) {
      Error error = SysFault("records", "no room for the job's records beside its outputs");
      error.hint = "Nothing was released. Make room on the disks of the workspaces and the state";
      return error;
    }
    room.push_back(std::move(file));
  }
  return room;
}

CollectRequest MakeCollectRequest(const JobRecords& records, const Decision& decision,
                                  int scratch_dir) {
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

JobMessage DescribeOutcome(const JobRecords& records, const Decision& decision) {
  const ActionEnd& end = records.run.end;
  const Collection& made = records.collection;
  if (end.exec_error != 0)
    return {"The action's command could not be started",
            ErrnoName(end.exec_error) + ": check the program's name in `run`"};
  if (end.exit_code == 0 && !end.cancelled && !end.timed_out) {
    if (!made.tampered.empty())
      return {"The action changed its own code or inputs",
              "Nothing was released to level 4: " + made.tampered.front()};
    if (!made.unmatched_patterns.empty())
      return DescribeMissingOutputs(made.unmatched_patterns, made.unmatched_outputs);
  }
  return DescribeExit({.exit_code = end.exit_code,
                       .oom_killed = records.oom_killed(),
                       .cancelled = end.cancelled,
                       .timed_out = end.timed_out,
                       .database_tool = decision.database.has_value(),
                       .memory_limit = decision.limits.memory_bytes,
                       .time_limit_s = static_cast<int64_t>(decision.limits.time_seconds)});
}

Json DecisionRecord(const JobDefinition& job, const Decision& decision, const Json& definition) {
  return {{"job", ToJson(job)},
          {"definition_digest", Sha256Hex(definition.dump())},
          {"decision", ToJson(decision)}};
}

Json CodeRecord(const JobDefinition& job, const Checkout& code) {
  return {{"repo_url", job.repo_url},
          {"commit", code.commit},
          {"tree", code.tree_id},
          {"files", code.files.size()},
          {"submodules", code.submodules}};
}

Json InputsRecord(const std::vector<InputFile>& inputs) {
  Json files = Json::array();
  for (const InputFile& file : inputs)
    files.push_back({{"path", file.path}, {"job_id", file.job_id}, {"sha256", file.sha256}});
  return {{"files", files}};
}

Json OutputsRecord(const Collection& collection) {
  Json files = Json::array();
  for (const CollectedOutput& output : collection.outputs)
    files.push_back({{"path", output.path},
                     {"level", LevelName(output.level)},
                     {"size", output.size},
                     {"sha256", output.sha256},
                     {"withheld", output.withheld.value_or("")}});
  return {{"files", files},
          {"unmatched_patterns", collection.unmatched_patterns},
          {"tampered", collection.tampered},
          {"skipped", collection.skipped}};
}

Json EndRecord(const JobRecords& records) {
  const ActionEnd& end = records.run.end;
  return {{"exit_code", end.exit_code},
          {"oom_killed", records.oom_killed()},
          {"timed_out", end.timed_out},
          {"cancelled", end.cancelled},
          {"metrics", Metrics(records)}};
}

std::vector<std::pair<std::string, std::string>> SummaryLines(const JobRecords& records,
                                                              const Decision& decision) {
  const JobDefinition& job = records.job;
  std::vector<std::pair<std::string, std::string>> lines = {
      {"job", job.id},
      {"action", job.action},
      {"commit", job.commit},
      {"image", job.image},
      {"user", job.user},
      {"project", decision.project},
      {"database", decision.database ? decision.database->name : "none"},
      {"type one opt-outs", decision.opt_outs},
      {"exit code", std::to_string(records.run.end.exit_code)},
      {"status", records.message.status}};
  if (!records.message.hint.empty()) lines.emplace_back("hint", records.message.hint);
  for (const CollectedOutput& output : records.collection.outputs)
    lines.emplace_back("output", output.path + "  " + LevelName(output.level) +
                                     (output.withheld ? "  withheld: " + *output.withheld : ""));
  for (const std::string& pattern : records.collection.unmatched_patterns)
    lines.emplace_back("no file matches", pattern);
  for (const std::string& name : records.collection.unmatched_outputs)
    lines.emplace_back("made, but matches no pattern", name);
  for (const std::string& what : records.collection.tampered)
    lines.emplace_back("code or input changed", what);
  for (const std::string& what : records.collection.skipped)
    lines.emplace_back("not collected", what);
  return lines;
}

Result<void> WriteRecords(const JobRecords& records, const Decision& decision, const Image& image,
                          const LaunchPlan& plan, int action_log) {
  const auto& high = Ownership(records.host, Level::kHighlySensitive);
  const auto& medium = Ownership(records.host, Level::kModeratelySensitive);
  const JobDefinition& job = records.job;
  const RecordPlaces places = {.high_logs = records.places.high_logs.get(),
                               .high_workspace = records.places.high_workspace.get(),
                               .medium_workspace = records.places.medium_workspace.get(),
                               .month = records.places.month,
                               .job_id = job.id,
                               .action = job.action,
                               .high = high,
                               .medium = medium};
  CARREL_TRY(PublishLog(places, action_log));
  const ManifestUpdate update = {.workspace = job.workspace,
                                 .action = job.action,
                                 .job_id = job.id,
                                 .job_request = job.rap_id,
                                 .user = job.user,
                                 .repo = job.repo_url,
                                 .commit = job.commit,
                                 .timestamp_ns = records.run.ended_ns,
                                 .outputs = records.collection.outputs,
                                 .complete = records.ended_well(),
                                 .actions = std::nullopt,
                                 .files = medium};
  CARREL_TRY(UpdateManifest(places.medium_workspace, update));
  // Last: whoever finds metadata.json finds everything that it speaks of.
  return WriteMetadata(places, ToJson(job, MakeMetadata(records, decision, image, plan)));
}

OrderedJson ResultJson(const JobRecords& records, const Decision& decision) {
  const HostConfig& host = records.host;
  const JobDefinition& job = records.job;
  OrderedJson results = {{"exit_code", records.run.end.exit_code},
                         {"status_message", records.message.status},
                         {"hint", records.message.hint},
                         {"oom_killed", records.oom_killed()},
                         {"timed_out", records.run.end.timed_out},
                         {"cancelled", records.run.end.cancelled},
                         {"outputs", OutputsJson(records.collection)},
                         {"level4_excluded_files", WithheldJson(records.collection)},
                         {"unmatched_patterns", records.collection.unmatched_patterns},
                         {"unmatched_outputs", records.collection.unmatched_outputs},
                         {"tampered", records.collection.tampered},
                         {"skipped", records.collection.skipped},
                         {"project", decision.project},
                         {"database", decision.database ? decision.database->name : ""},
                         {"type_one_opt_outs", decision.opt_outs},
                         {"tree", records.tree_id},
                         {"policy_digest", decision.policy_digest}};
  const std::string log_dir =
      host.high_privacy + "/logs/" + records.places.month + "/os-job-" + job.id;
  results["files"] = {{"level3", host.high_privacy + "/workspaces/" + job.workspace},
                      {"level4", host.medium_privacy + "/workspaces/" + job.workspace},
                      {"log", log_dir + "/logs.txt"},
                      {"metadata", log_dir + "/metadata.json"}};
  results["metrics"] = Metrics(records);
  results["audit"] = AuditJson(records);
  return {{"id", job.id},
          {"state", "finalized"},
          {"timestamp_ns", records.run.ended_ns},
          {"results", std::move(results)}};
}

}  // namespace carrel
