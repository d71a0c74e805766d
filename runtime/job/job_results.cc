// What people and the agent read of a finished job.
#include "base/clock.h"
#include "job/job_records.h"
#include "job/manifest.h"

namespace carrel {
namespace {

std::string Label(const Image& image, const std::string& name) {
  auto found = image.config.labels.find(name);
  return found == image.config.labels.end() ? "" : found->second;
}

OrderedJson AuditJson(const JobRecords& records) {
  return {{"id", records.audit_id},
          {"log", records.seal.path},
          {"seal", records.seal.head},
          {"events", records.run.counts.events},
          {"denied", records.run.counts.denied},
          {"lost", records.run.counts.lost},
          {"completeness", Completeness(records.run.counts)}};
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

JobMetadata MakeMetadata(const JobRecords& records) {
  const Image& image = records.image;
  JobMetadata metadata;
  metadata.collection = records.collection;
  metadata.message = records.message;
  metadata.image_id = image.config_digest;
  metadata.completed_at_ns = records.run.ended_ns;
  metadata.exit_code = records.run.end.exit_code;
  metadata.oom_killed = records.oom_killed();
  metadata.cancelled = records.run.end.cancelled;
  metadata.error = records.error;
  metadata.container_metadata = records.container;
  metadata.job_metrics = Metrics(records);
  metadata.action_version = Label(image, "org.opencontainers.image.version");
  metadata.action_revision = Label(image, "org.opencontainers.image.revision");
  metadata.action_created = image.config.created;
  metadata.base_revision = Label(image, "org.opensafely.base.vcs-ref");
  metadata.base_created = Label(image, "org.opencontainers.base.build-date");
  metadata.carrel = {{"decision", records.decision_json},
                     {"tree", records.tree_id},
                     {"image_digest", image.digest},
                     {"audit", AuditJson(records)}};
  return metadata;
}

}  // namespace

JobMessage DescribeOutcome(const JobRecords& records) {
  const Decision& decision = records.decision;
  const ActionEnd& end = records.run.end;
  const Collection& made = records.collection;
  if (!records.error.empty() && !end.cancelled) return {records.error, ""};
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
                       .time_limit_s = static_cast<int64_t>(decision.limits.time_seconds),
                       .last_output = records.last_output});
}

std::vector<std::pair<std::string, std::string>> SummaryLines(const JobRecords& records) {
  const Decision& decision = records.decision;
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

Result<void> WriteRecords(const JobRecords& records, int action_log) {
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
                                 .actions = records.actions,
                                 .files = medium};
  CARREL_TRY(UpdateManifest(places.medium_workspace, update));
  // Last: whoever finds metadata.json finds everything that it speaks of.
  return WriteMetadata(places, ToJson(job, MakeMetadata(records)));
}

OrderedJson ResultJson(const JobRecords& records) {
  const Decision& decision = records.decision;
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
                         {"policy_digest", decision.policy_digest},
                         {"policy_commit", decision.policy_commit}};
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
