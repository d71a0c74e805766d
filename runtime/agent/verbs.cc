#include "agent/verbs.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/phases.h"
#include "base/clock.h"
#include "base/fs.h"
#include "job/fault_point.h"
#include "job/job_context.h"
#include "job/recover.h"
#include "launch/host_facts.h"

namespace carrel {
namespace {

constexpr const char* kRunFirst = "Execute it first, or finalize it with --cancelled";
constexpr int kPatienceMs = 500;  ///< a verb's own, before it answers with what is so far

// The job as its next verb finds it: what was lost goes back to the last state from which the agent
// can go on.
struct Present {
  JobState state = JobState::kUnknown;  ///< as the agent is told
  JobStep step;                         ///< what FinalizePhase begins from
};

JobStep BeforeFinalize(const JobStep& step) {
  JobStep before = step;
  for (const JobState state : {JobState::kUnknown, JobState::kPreparing, JobState::kPrepared,
                               JobState::kExecuting, JobState::kExecuted, JobState::kError})
    if (step.record.value("state", "") == StateName(state)) before.state = state;
  before.lost = step.record.value("lost", false);
  before.boot_id = step.record.value("boot_id", "");
  before.results = OrderedJson::parse(step.record.value("results", Json::object()).dump());
  before.record = step.record.value("record", Json());
  return before;
}

Present Look(JobStep step) {
  if (step.lost && step.state == JobState::kFinalizing) step = BeforeFinalize(step);
  JobState state = step.state;
  if (step.lost && (state == JobState::kPreparing || state == JobState::kPrepared))
    state = JobState::kUnknown;
  if (step.lost && state == JobState::kExecuting) {
    state = JobState::kError;
    auto boot = BootId();
    step.results = AnswerOf(Fault("", LostReason(step))).results;
    step.results["lost"] = boot && *boot != step.boot_id ? "restart" : "supervisor";
  }
  return {state, std::move(step)};
}

VerbAnswer AnswerFrom(const Present& present) {
  return {present.state, present.step.timestamp_ns, present.step.results, std::nullopt};
}

// What this very call did not come to: the agent sees why in its exit status.
VerbAnswer AnswerNow(const JobStep& now) {
  VerbAnswer answer = AnswerFrom(Look(now));
  const std::string kind = answer.results.value("kind", "");
  if (answer.state == JobState::kError || answer.results.contains("retry"))
    answer.failed = kind == "bad_input" ? ErrorKind::kBadInput
                    : kind == "refused" ? ErrorKind::kRefused
                                        : ErrorKind::kFault;
  return answer;
}

// A job that has been cleaned up is known by this alone.
std::string FinalizedFile(const HostConfig& host, const std::string& id) {
  return host.state + "/finalized/" + id + ".json";
}

// `task`: of the agent, who can give a finished job again as another one, which is new then; "" for
// whichever it was.
Result<std::optional<VerbAnswer>> FindFinalized(const HostConfig& host, const std::string& id,
                                                const std::string& task) {
  auto text = ReadFile(FinalizedFile(host, id), 1u << 20);
  if (!text && text.error().code == ENOENT) return std::optional<VerbAnswer>();
  if (!text) return std::move(text).error();
  const OrderedJson json = OrderedJson::parse(*text, nullptr, false);
  if (!json.is_object()) return Fault(FinalizedFile(host, id), "is not whole");
  const std::string finished = json.value("task_id", "");
  if (!task.empty() && !finished.empty() && task != finished) return std::optional<VerbAnswer>();
  VerbAnswer answer;
  answer.state = JobState::kFinalized;
  answer.timestamp_ns = json.value("timestamp_ns", int64_t{0});
  answer.results = json.value("results", OrderedJson::object());
  return std::optional<VerbAnswer>(std::move(answer));
}

Result<std::optional<JobDir>> FindLocked(const HostConfig& host, const std::string& id) {
  for (;;) {
    CARREL_ASSIGN(auto dir, JobDir::Find(host.state, id));
    if (!dir) return dir;
    CARREL_TRY(dir->LockVerbs());
    if (dir->StillThere()) return dir;
  }
}

Result<JobDir> MakeLocked(const HostConfig& host, const std::string& id) {
  for (;;) {
    CARREL_ASSIGN(JobDir dir, JobDir::Make(host.state, id));
    CARREL_TRY(dir.LockVerbs());
    if (dir.StillThere()) return dir;
  }
}

// But for the environment: the agent adds the database's variables when it executes. And but for
// the task: it cancels a job, or runs it again, as another one.
std::string Fingerprint(Json definition) {
  definition.erase("env");
  definition.erase("task_id");
  return definition.dump();
}

// What the job came to is another task's: its own agent has read it, or never will.
bool IsOverForAnotherTask(const JobDir& dir, JobState state, const std::string& task) {
  if (task.empty() || (state != JobState::kError && state != JobState::kFinalized)) return false;
  const auto definition = ReadJsonFile(dir.path() + "/definition.json", 4u << 20);
  const std::string known = definition ? definition->value("task_id", "") : "";
  return !known.empty() && known != task;
}

// The job's present task is this one.
Result<void> WriteDefinition(const JobDir& dir, const VerbJob& job) {
  return WriteFileAtomic(dir.fd(), "definition.json", job.definition.dump(), 0600);
}

Result<void> RequireSameDefinition(const JobDir& dir, const VerbJob& job) {
  auto prepared = ReadJsonFile(dir.path() + "/definition.json", 4u << 20);
  if (!prepared) return {};  // never prepared
  if (Fingerprint(*prepared) == Fingerprint(job.definition)) return {};
  return BadInput("/id", "another definition was prepared under the id " + job.job.id,
                  "Clean that job up first, or give this one another id");
}

Result<UniqueFd> Supervision(const JobDir& dir) {
  FaultPoint("verb-locked");
  CARREL_ASSIGN(UniqueFd lock, dir.TakeSupervision(2000));
  if (lock) return lock;
  Error busy = Fault("job", "its supervisor is still busy", "Ask again in a moment");
  busy.code = EAGAIN;
  return busy;
}

Result<VerbAnswer> AfterWork(const JobDir& dir) {
  FaultPoint("verb-started");
  CARREL_ASSIGN(JobStep now, dir.State());
  return AnswerNow(now);
}

void SendSignals(int pidfd, std::initializer_list<int> numbers) {
  for (int number : numbers) (void)::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0);
}

// Until the process has ended, or the verb's patience.
bool WaitForEnd(int pidfd, int milliseconds) {
  pollfd end = {pidfd, POLLIN, 0};
  return ::poll(&end, 1, milliseconds) > 0;
}

Result<VerbAnswer> Signal(const HostConfig& host, const std::string& id,
                          std::initializer_list<int> numbers,
                          std::initializer_list<JobState> states) {
  CARREL_ASSIGN(auto dir, FindLocked(host, id));
  if (!dir) return StatusVerb(host, id);
  CARREL_ASSIGN(const JobStep step, dir->State());
  const Present present = Look(step);
  if (std::find(states.begin(), states.end(), present.state) == states.end())
    return AnswerFrom(present);
  CARREL_ASSIGN(const UniqueFd pidfd, dir->SupervisorPidfd());
  if (pidfd) {
    SendSignals(pidfd.get(), numbers);
    (void)WaitForEnd(pidfd.get(), kPatienceMs);
  }
  CARREL_ASSIGN(const JobStep now, dir->State());
  return AnswerFrom(Look(now));
}

}  // namespace

OrderedJson VerbAnswer::ToJson() const {
  return {{"state", StateName(state)}, {"timestamp_ns", timestamp_ns}, {"results", results}};
}

VerbAnswer AnswerOf(const Error& error) {
  VerbAnswer answer;
  answer.state = JobState::kError;
  answer.timestamp_ns = NowNs();
  answer.failed = error.kind;
  answer.results = {{"error", error.ToString()},
                    {"kind", error.kind == ErrorKind::kBadInput  ? "bad_input"
                             : error.kind == ErrorKind::kRefused ? "refused"
                                                                 : "fault"}};
  if (error.code == EAGAIN) answer.results["retry"] = true;
  return answer;
}

Result<VerbJob> MakeVerbJob(const HostConfig& host, Json definition) {
  CARREL_ASSIGN(JobDefinition job, DecodeJobDefinition(definition));
  return VerbJob{host, std::move(definition), std::move(job)};
}

Result<VerbJob> LoadVerbJob(const std::string& config, const std::string& state,
                            const std::string& definition_path) {
  CARREL_ASSIGN(const HostConfig host, LoadHostConfig(config, state));
  CARREL_ASSIGN(Json definition, ReadJsonFile(definition_path, 4u << 20));
  auto job = MakeVerbJob(host, std::move(definition));
  if (!job) return InFile(std::move(job).error(), definition_path);
  return job;
}

Result<VerbAnswer> PrepareVerb(const VerbJob& job) {
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(auto finalized, FindFinalized(job.host, job.job.id, job.job.task_id));
  if (finalized) return *finalized;
  CARREL_ASSIGN(JobDir dir, MakeLocked(job.host, job.job.id));
  CARREL_ASSIGN(const JobStep step, dir.State());
  const Present present = Look(step);
  if (present.state != JobState::kUnknown &&
      !IsOverForAnotherTask(dir, present.state, job.job.task_id)) {
    CARREL_TRY(RequireSameDefinition(dir, job));
    return AnswerFrom(present);
  }
  CARREL_ASSIGN(UniqueFd lock, Supervision(dir));
  // What an earlier preparation has left, and its log, come to an end first.
  CARREL_TRY(CloseLog(job.host, dir, present.step, "its preparation was lost: it is prepared again",
                      PublicOutcome::kFault));
  CARREL_TRY(dir.Empty());
  CARREL_TRY(WriteDefinition(dir, job));
  CARREL_TRY(dir.WriteStep(JobState::kPreparing, OrderedJson::object(), nullptr));
  CARREL_TRY(StartSupervisor(dir, std::move(lock), kPatienceMs,
                             [&](const Ready& ready) { return PreparePhase(job, dir, ready); }));
  return AfterWork(dir);
}

Result<VerbAnswer> ExecuteVerb(const VerbJob& job) {
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(auto dir, FindLocked(job.host, job.job.id));
  if (!dir) {
    CARREL_ASSIGN(auto finalized, FindFinalized(job.host, job.job.id, job.job.task_id));
    if (finalized) return *finalized;
    return BadInput("/id", "the job is not prepared: its state is unknown", "Prepare it first");
  }
  CARREL_TRY(RequireSameDefinition(*dir, job));
  CARREL_ASSIGN(const JobStep step, dir->State());
  const Present present = Look(step);
  if (present.state == JobState::kUnknown || present.state == JobState::kPreparing)
    return BadInput(
        "/id", std::string("the job is not prepared: its state is ") + StateName(present.state),
        "Prepare it first");
  if (present.state != JobState::kPrepared) return AnswerFrom(present);
  CARREL_ASSIGN(UniqueFd lock, Supervision(*dir));
  CARREL_TRY(StartSupervisor(*dir, std::move(lock), 2 * kPatienceMs, [&](const Ready& ready) {
    return ExecutePhase(job, *dir, present.step, ready);
  }));
  return AfterWork(*dir);
}

Result<VerbAnswer> StatusVerb(const HostConfig& host, const std::string& id,
                              const std::string& task) {
  CARREL_ASSIGN(const auto dir, JobDir::Find(host.state, id));
  if (dir) {
    CARREL_ASSIGN(const JobStep step, dir->State());
    const Present present = Look(step);
    if (step.state != JobState::kUnknown && !IsOverForAnotherTask(*dir, present.state, task))
      return AnswerFrom(present);
  }
  CARREL_ASSIGN(const auto finalized, FindFinalized(host, id, task));
  if (finalized) return *finalized;
  VerbAnswer unknown;
  unknown.timestamp_ns = NowNs();
  return unknown;
}

Result<VerbAnswer> FinalizeVerb(const VerbJob& job, const FinalizeOptions& options) {
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(auto finalized, FindFinalized(job.host, job.job.id, job.job.task_id));
  if (finalized) return *finalized;
  const bool without_run = options.cancelled || !options.error.empty();
  CARREL_ASSIGN(const auto there, JobDir::Find(job.host.state, job.job.id));
  if (!there && !without_run)
    return BadInput("/id", "the job has not run: its state is unknown", kRunFirst);
  CARREL_ASSIGN(JobDir dir, MakeLocked(job.host, job.job.id));
  CARREL_TRY(RequireSameDefinition(dir, job));
  CARREL_ASSIGN(const JobStep step, dir.State());
  const Present present = Look(step);
  switch (present.state) {
    case JobState::kFinalizing:
      return AnswerFrom(present);
    case JobState::kFinalized:
      CARREL_TRY(WriteDefinition(dir, job));
      return AnswerFrom(present);
    case JobState::kPreparing:
    case JobState::kExecuting:
      return BadInput("/id", std::string("the job is ") + StateName(present.state),
                      "Wait for it, or terminate it first");
    case JobState::kUnknown:
    case JobState::kPrepared:
      if (!without_run)
        return BadInput(
            "/id", std::string("the job has not run: its state is ") + StateName(present.state),
            kRunFirst);
      break;
    case JobState::kExecuted:
    case JobState::kError:
      break;
  }
  CARREL_ASSIGN(UniqueFd lock, Supervision(dir));
  CARREL_TRY(WriteDefinition(dir, job));
  CARREL_TRY(StartSupervisor(dir, std::move(lock), kPatienceMs, [&](const Ready&) {
    return FinalizePhase(job, dir, present.step, options);
  }));
  return AfterWork(dir);
}

// Two different signals: the second says that the action has no time to end by itself.
Result<VerbAnswer> TerminateVerb(const HostConfig& host, const std::string& id) {
  CARREL_TRY(RequireRoot());
  return Signal(host, id, {SIGTERM, SIGINT}, {JobState::kPreparing, JobState::kExecuting});
}

Result<VerbAnswer> KillVerb(const HostConfig& host, const std::string& id) {
  CARREL_TRY(RequireRoot());
  return Signal(host, id, {SIGUSR1}, {JobState::kExecuting});
}

Result<VerbAnswer> CleanupVerb(const HostConfig& host, const std::string& id) {
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(auto dir, FindLocked(host, id));
  if (!dir) return StatusVerb(host, id);
  CARREL_ASSIGN(const UniqueFd pidfd, dir->SupervisorPidfd());
  if (pidfd) SendSignals(pidfd.get(), {SIGKILL});  // the action's init goes with it
  CARREL_ASSIGN(UniqueFd lock, Supervision(*dir));
  // A step that is not whole says to clean up.
  const Present present = Look(dir->StateOfNobody().value_or(JobStep()));
  // What is left of its action dies first: until then it may still be recorded.
  CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
  CARREL_TRY(SweepDeadRuns(host.state, facts, host.cgroup_parent));
  CARREL_TRY(CloseLog(host, *dir, present.step, "the job was cleaned up before it was finalized",
                      PublicOutcome::kKilled));
  CARREL_TRY(SweepStaging(host));
  VerbAnswer answer = AnswerFrom(present);
  if (present.state == JobState::kFinalized) {
    CARREL_ASSIGN(const UniqueFd records, MakeDirs(host.state + "/finalized", 0700));
    OrderedJson finished = answer.ToJson();
    if (auto definition = ReadJsonFile(dir->path() + "/definition.json", 4u << 20))
      finished["task_id"] = definition->value("task_id", "");
    CARREL_TRY(WriteFileAtomic(records.get(), id + ".json", finished.dump(2), 0600));
  } else {
    answer = VerbAnswer();
    answer.timestamp_ns = NowNs();
  }
  CARREL_TRY(dir->MoveAway());
  lock.reset();
  CARREL_TRY(SweepRemovedJobs(host.state));
  return answer;
}

}  // namespace carrel
