#include "agent/phases.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/results.h"
#include "audit/audit_log.h"
#include "base/clock.h"
#include "base/fs.h"
#include "job/fault_point.h"
#include "job/job_context.h"
#include "job/job_runner.h"
#include "job/recover.h"
#include "job/step_record.h"
#include "launch/host_facts.h"

namespace carrel {
namespace {

constexpr const char* kScratchFile = "scratch.img";
constexpr const char* kLiveFile = "live";

// Fills `context` with the job; `before` is the record of the phase before, or null.
Result<void> Enter(JobContext& context, const VerbJob& job, const JobDir& dir, const Json& before) {
  context.records.host = job.host;
  context.records.job = job.job;
  context.definition = job.definition;
  context.place = dir.path();
  context.keep_scratch = true;
  CARREL_ASSIGN(context.place_dir, OpenBeneath(dir.fd(), ".", O_RDONLY | O_DIRECTORY));
  if (!before.is_null()) CARREL_TRY(FromStepRecord(before, context.records));
  auto tree = OpenBeneath(dir.fd(), "workspace", O_RDONLY | O_DIRECTORY);
  if (tree) context.tree = std::move(*tree);
  return {};
}

// The job's log goes on; none where it is sealed already.
Result<ResumedLog> Resume(JobContext& context) {
  CARREL_ASSIGN(ResumedLog resumed,
                AuditLog::Resume(context.host().state, context.records.audit_id));
  context.log = std::move(resumed.log);
  if (resumed.seal) context.records.seal = *resumed.seal;
  return resumed;
}

Result<void> WriteError(JobContext& context, const JobDir& dir, const Error& error) {
  CloseAfter(context, error);
  return dir.WriteStep(JobState::kError, AnswerOf(error).results, ToStepRecord(context.records));
}

// Given up, or to be tried again: as if nothing had been asked, but for the answer.
Result<void> StartOver(JobContext& context, const JobDir& dir, const Error& error) {
  CloseAfter(context, error);
  CARREL_TRY(dir.Empty());
  return dir.WriteStep(JobState::kUnknown, AnswerOf(error).results, nullptr);
}

Result<void> Prepare(JobContext& context, const JobDir& dir) {
  CARREL_TRY(DecideJob(context));
  // The log's name is known before there is a log: whoever finds this preparation dead can close
  // it.
  CARREL_ASSIGN(context.records.audit_id, FreeAuditId(context.host().state, context.job().id));
  CARREL_TRY(
      dir.WriteStep(JobState::kPreparing, OrderedJson::object(), ToStepRecord(context.records)));
  CARREL_TRY(OpenJobLog(context));
  CARREL_TRY(PrepareJob(context));
  return context.log->Pause();
}

Result<void> SweepRuns(const HostConfig& host) {
  CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
  return SweepDeadRuns(host.state, facts, host.cgroup_parent);
}

// What dead jobs have left, before this one needs their room.
Result<void> Sweep(const HostConfig& host) {
  CARREL_TRY(SweepStaging(host));
  CARREL_TRY(SweepRemovedJobs(host.state));
  return SweepRuns(host);
}

Result<void> Execute(JobContext& context, const JobDir& dir, const Ready& ready) {
  CARREL_TRY(DecideJob(context));  // a permission that was withdrawn meanwhile counts
  CARREL_TRY(Resume(context));
  // A cleanup or a cancellation that was killed has ended it, and no more.
  if (!context.log) {
    Error sealed = Fault("audit", "the job's log is sealed: it is prepared again", "Ask again");
    sealed.code = EAGAIN;
    return sealed;
  }
  CARREL_TRY(context.log->Append("execute", {{"decision", context.records.decision_json}}));
  CARREL_TRY(RequireAllowed(context.decision()));
  CARREL_TRY(BeginRun(context));
  CARREL_TRY(ResolveImage(context));
  CARREL_ASSIGN(const UniqueFd live,
                OpenBeneath(dir.fd(), kLiveFile, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  context.progress = [&ready](int step, const std::string&) {
    if (step == 10) ready();
  };
  context.every_second = [&live, before = uint64_t{0}](const EventCounts& counts) mutable {
    char text[128];
    const int size =
        snprintf(text, sizeof text, "%20lld %20llu %20llu %20llu\n",
                 static_cast<long long>(NowNs()), static_cast<unsigned long long>(counts.events),
                 static_cast<unsigned long long>(counts.denied),
                 static_cast<unsigned long long>(counts.events - before));
    before = counts.events;
    (void)!::pwrite(live.get(), text, static_cast<size_t>(size), 0);
  };
  CARREL_TRY(ExecuteJob(context));
  // Nothing of the action may be left to a process: the next phase begins from the disk alone.
  CARREL_TRY(context.action_log->End(NowNs()));
  CARREL_TRY(context.scratch->Unmount());
  if (::fsync(context.scratch_file.get()) != 0) return SysFault("scratch", "fsync");
  CARREL_TRY(context.log->Append("executed", EndRecord(context.records)));
  return context.log->Pause();
}

// A signal came before the action was started.
Result<void> CancelledExecute(JobContext& context) {
  context.records.run = CancelledBeforeStart();
  CARREL_TRY(context.log->Append("cancelled", {{"before_start", true}}));
  return context.log->Pause();
}

// A job of which nothing could be known: not decided, or its process is gone.
void StandInForRun(JobContext& context, const JobStep& before, const FinalizeOptions& options) {
  JobRecords& records = context.records;
  if (before.state == JobState::kExecuted && !before.lost) {
    records.run.end.cancelled = records.run.end.cancelled || options.cancelled;
  } else {
    const EventCounts counts = records.run.counts;
    records.run = CancelledBeforeStart();
    records.run.end.cancelled = options.cancelled;
    records.run.counts = counts;
  }
  if (!options.error.empty()) {
    records.error = options.error;
    // It may have been ended because of the error; that is what is told.
    records.run.end.cancelled = options.cancelled;
  }
  if (records.error.empty()) records.error = LostReason(before);
  if (records.error.empty() && before.state == JobState::kError)
    records.error = before.results.value("error", "carrel could not do the job");
  // Nothing ran and nobody cancelled it: there is no result to finalize but this.
  if (records.error.empty() && !options.cancelled && before.state != JobState::kExecuted)
    records.error = "The job was finalized before it had run";
}

Result<void> MountForCollection(JobContext& context) {
  const std::string mount_point = context.run->directory.path() + "/scratch";
  CARREL_TRY(MakeDirsBeneath(context.run->directory.fd(), "scratch", 0700));
  CARREL_ASSIGN(context.scratch_file,
                OpenBeneath(context.place_dir.get(), kScratchFile, O_RDWR | O_NOFOLLOW));
  CARREL_ASSIGN(Scratch scratch, Scratch::Mount(context.scratch_file.get(), mount_point));
  context.scratch.emplace(std::move(scratch));
  return {};
}

// The action's log as it was at the action's end: a finalize that was killed may have added to it.
Result<void> OpenActionLog(JobContext& context) {
  auto file = OpenBeneath(context.place_dir.get(), "action.log", O_RDWR | O_CREAT, 0600);
  if (!file) return std::move(file).error();
  if (context.records.action_log_known &&
      ::ftruncate(file->get(), context.records.action_log_bytes) != 0)
    return SysFault("the action's log", "ftruncate");
  if (::lseek(file->get(), 0, SEEK_END) < 0) return SysFault("the action's log", "lseek");
  context.action_log.emplace(std::move(*file), context.decision().limits.log_bytes);
  return {};
}

// False when the job has no log yet: it was never prepared, or not so far.
Result<bool> ResumeForFinalize(JobContext& context, const JobStep& before) {
  if (context.records.audit_id.empty()) return false;
  // What is left of a lost job's action is recorded as long as it is not dead.
  if (before.state == JobState::kExecuting) CARREL_TRY(SweepRuns(context.host()));
  auto resumed = Resume(context);
  if (!resumed && resumed.error().kind == ErrorKind::kBadInput) {
    context.records.audit_id.clear();
    return false;
  }
  if (!resumed) return std::move(resumed).error();
  if (before.state == JobState::kExecuting) context.records.run.counts = resumed->counts;
  return true;
}

Result<JobOutcome> Finalize(JobContext& context, const JobStep& before,
                            const FinalizeOptions& options) {
  CARREL_ASSIGN(const bool resumed, ResumeForFinalize(context, before));
  if (!resumed && before.state != JobState::kError) CARREL_TRY(DecideJob(context));
  CARREL_TRY(BeginRun(context));
  if (!resumed) CARREL_TRY(OpenJobLog(context));
  StandInForRun(context, before, options);
  if (context.log && !context.records.error.empty())
    CARREL_TRY(context.log->Append("error", {{"error", context.records.error}}));
  CARREL_TRY(OpenActionLog(context));
  if (context.records.error.empty() && !context.records.run.end.cancelled)
    CARREL_TRY(MountForCollection(context));
  return FinalizeJob(context);
}

}  // namespace

std::string LostReason(const JobStep& step) {
  if (!step.lost || step.state != JobState::kExecuting) return "";
  auto boot = BootId();
  if (boot && *boot != step.boot_id)
    return "The job was lost to a restart of its host: it did not fail. Run it again";
  return "The job was lost: its supervisor was killed. It did not fail. Run it again";
}

Result<void> PreparePhase(const VerbJob& job, const JobDir& dir, const Ready& /*ready*/) {
  CARREL_ASSIGN(const UniqueFd signals, BlockSignals());
  JobContext context;
  auto begin = [&]() -> Result<void> {
    CARREL_TRY(Sweep(job.host));
    return Enter(context, job, dir, Json());
  };
  auto prepared = begin();
  if (prepared) prepared = Prepare(context, dir);
  FaultPoint("prepared");
  if (prepared) {
    context.records.container = OrderedJson::object();
    return dir.WriteStep(JobState::kPrepared, OrderedJson::object(), ToStepRecord(context.records));
  }
  const Error error = prepared.error();
  if (error.code == ECANCELED || error.code == EAGAIN) return StartOver(context, dir, error);
  return WriteError(context, dir, error);
}

Result<void> ExecutePhase(const VerbJob& job, const JobDir& dir, const JobStep& before,
                          const Ready& ready) {
  CARREL_ASSIGN(const UniqueFd signals, BlockSignals());
  CARREL_TRY(dir.WriteStep(JobState::kExecuting, OrderedJson::object(), before.record));
  FaultPoint("executing");
  JobContext context;
  auto executed = Enter(context, job, dir, before.record);
  if (executed) executed = Execute(context, dir, ready);
  if (!executed && executed.error().code == ECANCELED && context.log)
    executed = CancelledExecute(context);
  FaultPoint("executed");
  if (!executed && executed.error().code == EAGAIN)
    return StartOver(context, dir, executed.error());
  if (!executed) return WriteError(context, dir, executed.error());
  if (context.action_log) {
    struct stat log {};
    if (::fstat(context.action_log->fd(), &log) != 0) return SysFault("the action's log", "fstat");
    context.records.action_log_bytes = log.st_size;
    context.records.action_log_known = true;
  }
  return dir.WriteStep(JobState::kExecuted, ExecutedResults(context.records),
                       ToStepRecord(context.records));
}

Result<void> FinalizePhase(const VerbJob& job, const JobDir& dir, const JobStep& before,
                           const FinalizeOptions& options) {
  // The state that a repeated finalize goes back to is in the record of this step.
  CARREL_ASSIGN(const UniqueFd signals, BlockSignals());
  Json begun = {{"state", StateName(before.state)},
                {"lost", before.lost},
                {"boot_id", before.boot_id},
                {"results", Json::parse(before.results.dump())},
                {"record", before.record},
                {"cancelled", options.cancelled},
                {"error", options.error}};
  CARREL_TRY(dir.WriteStep(JobState::kFinalizing, OrderedJson::object(), std::move(begun)));
  FaultPoint("finalizing");
  JobContext context;
  Result<JobOutcome> outcome = JobOutcome{};
  auto entered = Enter(context, job, dir, before.record);
  if (entered) outcome = Finalize(context, before, options);
  FaultPoint("finalized");
  if (!entered) return WriteError(context, dir, entered.error());
  if (!outcome) return WriteError(context, dir, outcome.error());
  return dir.WriteStep(JobState::kFinalized, FinalizedResults(context.records), nullptr);
}

Result<void> CloseLog(const HostConfig& host, const JobDir& dir, const JobStep& step,
                      const std::string& reason, PublicOutcome outcome) {
  if (step.record.is_null() || step.state == JobState::kFinalized) return {};
  JobRecords records;
  records.host = host;
  CARREL_TRY(FromStepRecord(step.record, records));
  if (records.audit_id.empty()) return {};
  // What is left of a lost job's action is recorded as long as it is not dead.
  if (step.state == JobState::kExecuting) CARREL_TRY(SweepRuns(host));
  auto found = AuditLog::Resume(host.state, records.audit_id);
  if (!found && found.error().kind == ErrorKind::kBadInput) return {};  // it was never begun
  CARREL_ASSIGN(ResumedLog resumed, std::move(found));
  const bool sealed_before = resumed.log == nullptr;
  if (sealed_before && step.state == JobState::kError) return {};  // published with its seal
  if (!sealed_before) {
    CARREL_TRY(resumed.log->Append("end", {{"error", reason}, {"refused", false}}));
    CARREL_ASSIGN(resumed.seal, resumed.log->Finish(resumed.counts));
  }
  records.seal = *resumed.seal;
  records.run.counts = resumed.counts;
  const auto definition = ReadJsonFile(dir.path() + "/definition.json", 4u << 20);
  auto job = DecodeJobDefinition(definition.value_or(Json()));
  records.decision.allowed = records.decision.allowed && job;  // else nothing of it can be told
  if (job) records.job = std::move(*job);
  return PublishJob(records, outcome, sealed_before);
}

}  // namespace carrel
