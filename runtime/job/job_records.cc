#include "job/job_records.h"

#include "base/digest.h"

namespace carrel {

bool JobRecords::ended_well() const {
  return error.empty() && run.end.exit_code == 0 && !run.end.cancelled && !run.end.timed_out &&
         collection.tampered.empty();
}

bool JobRecords::succeeded() const { return ended_well() && collection.unmatched_patterns.empty(); }

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

OrderedJson Metrics(const JobRecords& records) {
  const SandboxResult& run = records.run;
  return {{"memory_peak_bytes", run.usage.memory_peak_bytes},
          {"cpu_usec", run.usage.cpu_usec},
          {"duration_ms", (run.ended_ns - run.started_ns) / 1'000'000},
          {"syscalls", run.counts.events},
          {"syscalls_denied", run.counts.denied}};
}

}  // namespace carrel
