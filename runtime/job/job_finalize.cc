// Steps 11 and 12: outputs by level, and the records.
#include <fcntl.h>
#include <sys/stat.h>

#include "audit/public_log.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "job/fault_point.h"
#include "job/job_context.h"
#include "pipeline/project_actions.h"

namespace carrel {
namespace {

// Every file of the code and the inputs; what the host adds to the tree later are directories.
Result<std::set<std::string>> ListOriginals(int tree) {
  std::set<std::string> originals;
  std::vector<std::string> below = {""};
  while (!below.empty()) {
    const std::string path = std::move(below.back());
    below.pop_back();
    CARREL_ASSIGN(const UniqueFd directory, OpenBeneath(tree, path, O_RDONLY | O_DIRECTORY));
    CARREL_ASSIGN(const auto names, ListDir(directory.get()));
    for (const std::string& name : names) {
      struct stat info {};
      const std::string full = path.empty() ? name : path + "/" + name;
      if (::fstatat(directory.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return SysFault(full, "stat");
      if (S_ISDIR(info.st_mode))
        below.push_back(full);
      else
        originals.insert(full);
    }
  }
  return originals;
}

// Collecting takes no longer than the action may: a scratch layer full of small files or of holes
// would hold the job, and the agent, for hours.
std::function<Result<void>()> CollectCheck(uint64_t time_seconds) {
  const int64_t seconds = std::max<int64_t>(600, static_cast<int64_t>(time_seconds));
  return [seconds, deadline = MonotonicNs() + seconds * 1'000'000'000]() -> Result<void> {
    CARREL_TRY(CheckCancelled());
    if (MonotonicNs() < deadline) return {};
    return Fault("outputs", "collecting them takes longer than " + std::to_string(seconds) + " s",
                 "Make fewer or smaller files");
  };
}

Result<Collection> Collect(JobContext& job) {
  CARREL_ASSIGN(const UniqueFd upper,
                OpenBeneath(job.scratch->fd(), "upper", O_RDONLY | O_DIRECTORY));
  CollectRequest request = MakeCollectRequest(job.records, upper.get());
  CARREL_ASSIGN(request.originals, ListOriginals(job.tree.get()));
  request.open_original = [&job](const std::string& path) {
    return OpenBeneath(job.tree.get(), path, O_RDONLY);
  };
  request.check = CollectCheck(job.decision().limits.time_seconds);
  CARREL_ASSIGN(const StagingMark mark, StagingMark::Make(job.host(), job.job()));
  FaultPoint("collect");
  return CollectOutputs(request);
}

PublicOutcome OutcomeOf(const JobRecords& records) {
  const ActionEnd& end = records.run.end;
  if (!records.error.empty() && !end.cancelled) return PublicOutcome::kFault;
  if (end.cancelled || end.timed_out || records.oom_killed()) return PublicOutcome::kKilled;
  return records.succeeded() ? PublicOutcome::kSucceeded : PublicOutcome::kFailed;
}

// Of a refused job only what the policy itself names: the rest is the caller's word.
PublicJob MakePublicJob(const JobRecords& records, PublicOutcome outcome) {
  const Decision& decision = records.decision;
  PublicJob job;
  job.job = records.audit_id;
  job.tool = decision.tool;
  job.project = decision.project;
  job.policy_digest = decision.policy_digest;
  job.policy_commit = decision.policy_commit;
  job.started_ns = records.run.started_ns != 0 ? records.run.started_ns : NowNs();
  job.ended_ns = records.run.ended_ns != 0 ? records.run.ended_ns : NowNs();
  job.outcome = outcome;
  job.counts = records.run.counts;
  job.statements = records.run.statements;
  job.head = records.seal.head;
  if (!decision.allowed) return job;
  job.repository = records.job.repo_url;
  job.commit = records.job.commit;
  job.image_digest = records.image.digest;
  job.seccomp_digest = records.run.seccomp_digest;
  if (decision.database) job.database = decision.database->name;
  job.includes_opted_out = decision.include_type_one_opt_outs;
  job.permissions = decision.ehrql_permissions;
  return job;
}

// The last lines of the action's log; what cannot be read is not worth an error.
std::string EndOfFile(int fd) {
  constexpr off_t kMost = 4096;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return "";
  std::string text(static_cast<size_t>(std::min(info.st_size, kMost)), '\0');
  const ssize_t got =
      ::pread(fd, text.data(), text.size(), std::max<off_t>(info.st_size - kMost, 0));
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace

Result<void> CollectJob(JobContext& job) {
  job.Step(11, "collect the outputs");
  JobRecords& records = job.records;
  if (!job.action_log) {  // cancelled before there was one
    CARREL_ASSIGN(UniqueFd file,
                  OpenBeneath(job.place_dir.get(), "action.log", O_RDWR | O_CREAT, 0600));
    job.action_log.emplace(std::move(file), job.decision().limits.log_bytes);
  }
  // A reusable action's project.yaml, if it has one, is not the study's.
  if (job.tree && (!job.job().study || job.job().study->git_repo_url == job.job().repo_url))
    records.actions = ActionsOfCheckout(job.tree.get());
  CARREL_ASSIGN(records.places, OpenPlaces(job.host(), job.job(), records.run.ended_ns));
  CARREL_ASSIGN(job.room, ReserveRoom(records.places, job.place_dir.get(), job.action_log->fd()));
  if (!records.run.end.cancelled && records.error.empty()) {
    auto collected = Collect(job);
    if (collected)
      records.collection = std::move(*collected);
    else if (collected.error().code == ECANCELED)
      records.run.end.cancelled = true;
    else if (collected.error().kind == ErrorKind::kRefused && records.run.end.exit_code != 0)
      // That the action failed is the news; that what it left cannot be taken stands beside it.
      records.collection.skipped.push_back(collected.error().ToString());
    else
      return std::move(collected).error();
  }
  if (records.run.end.exit_code != 0) records.last_output = EndOfFile(job.action_log->fd());
  records.message = DescribeOutcome(records);
  if (job.log == nullptr) return {};  // sealed, by a finalize that did not come to its end
  return job.log->Append("outputs", OutputsRecord(records.collection));
}

// A log that is sealed already is that of a finalize which was killed later on: the public record
// may be there or not.
Result<void> SealAndPublish(JobContext& job) {
  JobRecords& records = job.records;
  const bool sealed_before = job.log == nullptr;
  if (!sealed_before) {
    CARREL_TRY(job.log->Append("end", EndRecord(records)));
    CARREL_ASSIGN(records.seal, job.log->Finish(records.run.counts));
    job.log.reset();
  }
  FaultPoint("sealed");
  CARREL_TRY(PublishJob(records, OutcomeOf(records), sealed_before));
  FaultPoint("published");
  return {};
}

Result<void> RecordJob(JobContext& job) {
  job.Step(12, "write the records");
  job.room.clear();
  JobRecords& records = job.records;
  CARREL_TRY(SealAndPublish(job));
  CARREL_TRY(job.action_log->WriteSummary(SummaryLines(records), NowNs()));
  return WriteRecords(records, job.action_log->fd());
}

Result<void> PublishJob(const JobRecords& records, PublicOutcome outcome, bool if_missing) {
  const std::string& state = records.host.state;
  if (if_missing) {
    const auto log = ReadPublicLog(state, state + "/public");
    if (log && FindPublicRecord(*log, records.audit_id)) return {};
  }
  CARREL_TRY(AppendPublicRecord(state, MakePublicJob(records, outcome)));
  return {};
}

void CloseAfter(JobContext& job, const Error& error) {
  if (job.log == nullptr) return;
  const bool refused = error.kind == ErrorKind::kRefused;
  (void)job.log->Append("end", {{"error", error.ToString()}, {"refused", refused}});
  auto seal = job.log->Finish(job.records.run.counts);
  job.log.reset();
  if (!seal) return;  // an unsealed log says enough
  job.records.seal = std::move(*seal);
  const auto outcome = refused                              ? PublicOutcome::kRefused
                       : error.kind == ErrorKind::kBadInput ? PublicOutcome::kFailed
                                                            : PublicOutcome::kFault;
  auto published = PublishJob(job.records, outcome, false);
  if (!published) LogError("the public record: " + published.error().ToString());
}

}  // namespace carrel
