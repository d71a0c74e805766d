#include "job/step_record.h"

namespace carrel {
namespace {

Json ToJson(const SandboxResult& run) {
  return {{"exit_code", run.end.exit_code},
          {"timed_out", run.end.timed_out},
          {"cancelled", run.end.cancelled},
          {"exec_error", run.end.exec_error},
          {"memory_peak_bytes", run.usage.memory_peak_bytes},
          {"cpu_usec", run.usage.cpu_usec},
          {"oom_kills", run.usage.oom_kills},
          {"pids_refused", run.usage.pids_refused},
          {"events", run.counts.events},
          {"denied", run.counts.denied},
          {"lost", run.counts.lost},
          {"stops", run.counts.stops},
          {"statements", run.statements},
          {"seccomp_digest", run.seccomp_digest},
          {"started_ns", run.started_ns},
          {"ended_ns", run.ended_ns}};
}

void ReadRun(const Json& in, SandboxResult& run) {
  in.at("exit_code").get_to(run.end.exit_code);
  in.at("timed_out").get_to(run.end.timed_out);
  in.at("cancelled").get_to(run.end.cancelled);
  in.at("exec_error").get_to(run.end.exec_error);
  in.at("memory_peak_bytes").get_to(run.usage.memory_peak_bytes);
  in.at("cpu_usec").get_to(run.usage.cpu_usec);
  in.at("oom_kills").get_to(run.usage.oom_kills);
  in.at("pids_refused").get_to(run.usage.pids_refused);
  in.at("events").get_to(run.counts.events);
  in.at("denied").get_to(run.counts.denied);
  in.at("lost").get_to(run.counts.lost);
  in.at("stops").get_to(run.counts.stops);
  in.at("statements").get_to(run.statements);
  in.at("seccomp_digest").get_to(run.seccomp_digest);
  in.at("started_ns").get_to(run.started_ns);
  in.at("ended_ns").get_to(run.ended_ns);
}

// Also of a job that was not decided: all are 0.
Json LimitsJson(const Limits& limits) {
  Json json = Json::object();
  for (const LimitMember& member : LimitMembers()) json[member.name] = limits.*member.member;
  return json;
}

Json ToJson(const Decision& decision, const OrderedJson& whole) {
  Json database = nullptr;
  if (decision.database)
    database = {{"name", decision.database->name}, {"kind", decision.database->kind}};
  return {{"allowed", decision.allowed},
          {"tool", decision.tool},
          {"project", decision.project},
          {"opt_outs", decision.opt_outs},
          {"include_type_one_opt_outs", decision.include_type_one_opt_outs},
          {"ehrql_permissions", decision.ehrql_permissions},
          {"policy_digest", decision.policy_digest},
          {"policy_commit", decision.policy_commit},
          {"database", database},
          {"limits", LimitsJson(decision.limits)},
          {"max_csv_rows", decision.level4.max_csv_rows},
          {"max_file_bytes", decision.level4.max_file_bytes},
          {"file_types", decision.level4.file_types},
          {"whole", whole.dump()}};
}

void ReadDecision(const Json& in, JobRecords& records) {
  Decision& decision = records.decision;
  in.at("allowed").get_to(decision.allowed);
  in.at("tool").get_to(decision.tool);
  in.at("project").get_to(decision.project);
  in.at("opt_outs").get_to(decision.opt_outs);
  in.at("include_type_one_opt_outs").get_to(decision.include_type_one_opt_outs);
  in.at("ehrql_permissions").get_to(decision.ehrql_permissions);
  in.at("policy_digest").get_to(decision.policy_digest);
  in.at("policy_commit").get_to(decision.policy_commit);
  in.at("max_csv_rows").get_to(decision.level4.max_csv_rows);
  in.at("max_file_bytes").get_to(decision.level4.max_file_bytes);
  in.at("file_types").get_to(decision.level4.file_types);
  if (const Json& database = in.at("database"); !database.is_null()) {
    DatabaseGrant grant;
    database.at("name").get_to(grant.name);
    database.at("kind").get_to(grant.kind);
    decision.database = std::move(grant);
  }
  for (const LimitMember& member : LimitMembers())
    in.at("limits").at(member.name).get_to(decision.limits.*member.member);
  records.decision_json = OrderedJson::parse(in.at("whole").get<std::string>());
}

}  // namespace

Json ToStepRecord(const JobRecords& records) {
  return {{"audit_id", records.audit_id},
          {"tree_id", records.tree_id},
          {"image",
           {{"digest", records.image.digest},
            {"config_digest", records.image.config_digest},
            {"labels", records.image.config.labels},
            {"created", records.image.config.created}}},
          {"decision", ToJson(records.decision, records.decision_json)},
          {"run", ToJson(records.run)},
          {"action_log_bytes", records.action_log_known ? Json(records.action_log_bytes) : Json()},
          {"container", records.container.dump()}};
}

Result<void> FromStepRecord(const Json& value, JobRecords& records) try {
  value.at("audit_id").get_to(records.audit_id);
  value.at("tree_id").get_to(records.tree_id);
  const Json& image = value.at("image");
  image.at("digest").get_to(records.image.digest);
  image.at("config_digest").get_to(records.image.config_digest);
  image.at("labels").get_to(records.image.config.labels);
  image.at("created").get_to(records.image.config.created);
  ReadRun(value.at("run"), records.run);
  if (const Json& bytes = value.at("action_log_bytes"); !bytes.is_null()) {
    bytes.get_to(records.action_log_bytes);
    records.action_log_known = true;
  }
  records.container = OrderedJson::parse(value.at("container").get<std::string>());
  ReadDecision(value.at("decision"), records);
  return {};
} catch (const Json::exception& error) {
  return Fault("the job's step record", error.what(), "Clean the job up and give it again");
}

}  // namespace carrel
