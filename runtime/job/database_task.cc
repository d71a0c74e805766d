#include "job/database_task.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "job/job_context.h"

namespace carrel {
namespace {

constexpr uint64_t kMaxTaskSeconds = 60;
constexpr size_t kMaxOutput = 64;
constexpr size_t kKept = 4096;

Result<void> RequireTask(const JobContext& job) {
  const JobDefinition& definition = job.records.job;
  if (!definition.allow_database_access)
    return BadInput("/allow_database_access", "must be true: a database task reaches a database");
  if (!definition.output_spec.empty())
    return BadInput("/output_spec", "must be empty: a database task makes no outputs");
  CARREL_TRY(RequireAllowed(job.decision()));
  if (!job.decision().database)
    return Refused("/database_name", "the policy grants this command no database");
  if (!job.decision().preflight.empty())
    return Refused("/args", "the command needs a file of the study's code, which a task has not");
  return {};
}

// What patients' data could be put into is too short for any of it, and of few letters.
OrderedJson Restricted(const std::string& output) {
  const size_t end = output.find_last_not_of('\n');
  if (end == std::string::npos) return nullptr;
  const size_t begin = output.rfind('\n', end) + 1;  // npos + 1 is 0
  const std::string line = output.substr(begin, end - begin + 1);
  const bool plain = std::all_of(line.begin(), line.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == ':' || c == '_' || c == '-';
  });
  return plain && line.size() <= kMaxOutput ? OrderedJson(line) : OrderedJson(nullptr);
}

Result<JobOutcome> RunTask(JobContext& job) {
  CARREL_TRY(RequireTask(job));
  uint64_t& seconds = job.records.decision.limits.time_seconds;
  seconds = std::min(seconds, kMaxTaskSeconds);
  CARREL_TRY(ResolveImage(job));
  CARREL_ASSIGN(job.tree, MakeDirsBeneath(job.place_dir.get(), "workspace", 0755));
  std::string output;  // its end
  job.on_stdout = [&output](std::string_view data) {
    output += data;
    if (output.size() > 2 * kKept) output.erase(0, output.size() - kKept);
  };
  CARREL_TRY(ExecuteJob(job));
  CARREL_TRY(job.action_log->End(NowNs()));
  CARREL_TRY(SealAndPublish(job));
  if (job.redactor != nullptr) output = job.redactor->Redacted(output);
  const SandboxResult& run = job.records.run;
  JobOutcome outcome;
  outcome.succeeded = job.records.ended_well();
  outcome.status = "the command ended with " + std::to_string(run.end.exit_code);
  outcome.result = {{"id", job.job().id},
                    {"state", "finished"},
                    {"timestamp_ns", run.ended_ns},
                    {"results",
                     {{"exit_code", run.end.exit_code},
                      {"output", Restricted(output)},
                      {"timed_out", run.end.timed_out},
                      {"audit", job.records.audit_id}}}};
  return outcome;
}

}  // namespace

Result<JobOutcome> RunDatabaseTask(const RunJobOptions& options) {
  JobContext job;
  CARREL_ASSIGN(job.records.host, LoadHostConfig(options.config, options.state));
  CARREL_TRY(DecodeJob(job, options.definition));
  CARREL_TRY(DecideJob(job));
  CARREL_TRY(BeginRunInItsDirectory(job));
  CARREL_TRY(OpenJobLog(job));
  auto done = RunTask(job);
  if (done) return done;
  CloseAfter(job, done.error());
  return InFile(std::move(done).error(), options.definition);
}

}  // namespace carrel
