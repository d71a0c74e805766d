#include "job/job_runner.h"

#include "base/interrupt.h"
#include "job/job_context.h"
#include "policy/decide.h"

namespace carrel {
namespace {

Result<JobOutcome> DryRun(JobContext& job) {
  OrderedJson result = {{"decision", ToJson(job.decision())}};
  CARREL_TRY(RequireAllowed(job.decision()));
  CARREL_ASSIGN(const LaunchPlan plan, PlanDryRun(job));
  result["plan"] = plan.ToJson();
  return JobOutcome{true, std::move(result), "", 0};
}

Result<JobOutcome> RunDecided(JobContext& job) {
  if (auto prepared = PrepareJob(job); !prepared) {
    if (prepared.error().code != ECANCELED) return std::move(prepared).error();
  }
  if (CancelPending()) {
    job.records.run = CancelledBeforeStart();
    CARREL_TRY(job.log->Append("cancelled", {{"before_start", true}}));
  } else {
    CARREL_TRY(ExecuteJob(job));
  }
  return FinalizeJob(job);
}

Result<JobOutcome> Run(JobContext& job, const RunJobOptions& options) {
  CARREL_TRY(DecodeJob(job, options.definition));
  CARREL_TRY(DecideJob(job));
  if (options.dry_run) return DryRun(job);
  CARREL_TRY(BeginRunInItsDirectory(job));
  CARREL_TRY(OpenJobLog(job));
  auto done = RunDecided(job);
  if (done) return done;
  CloseAfter(job, done.error());
  return InFile(std::move(done).error(), options.definition);
}

}  // namespace

Result<void> PrepareJob(JobContext& job) {
  CARREL_TRY(RequireAllowed(job.decision()));
  CARREL_TRY(ResolveImage(job));
  CARREL_TRY(CheckOut(job));
  return CheckBeforeStart(job);
}

Result<void> ExecuteJob(JobContext& job) {
  CARREL_TRY(MountScratch(job));
  CARREL_TRY(PlanLaunch(job));
  return RunAction(job);
}

Result<JobOutcome> FinalizeJob(JobContext& job) {
  CARREL_TRY(CollectJob(job));
  CARREL_TRY(RecordJob(job));
  JobOutcome outcome{job.records.succeeded(), ResultJson(job.records), job.records.message.status,
                     0};
  for (const CollectedOutput& output : job.records.collection.outputs)
    if (output.withheld) ++outcome.withheld;
  return outcome;
}

Result<JobOutcome> RunJob(const RunJobOptions& options) {
  JobContext job;
  job.progress = options.progress;
  auto host = LoadHostConfig(options.config, options.state);
  if (!host) return std::move(host).error();
  job.records.host = std::move(*host);
  return Run(job, options);
}

}  // namespace carrel
