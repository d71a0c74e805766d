#include "job/recover.h"

#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <vector>

#include "audit/audit_log.h"
#include "audit/catalogue.h"
#include "audit/log_reader.h"
#include "audit/public_log.h"
#include "base/clock.h"
#include "base/log.h"
#include "launch/run_dir.h"

namespace carrel {
namespace {

// "J" for "J.2", the log of a second run.
std::string WithoutRun(const std::string& id) { return id.substr(0, id.rfind('.')); }

bool IsOfAgent(const std::string& state_dir, const std::string& id) {
  for (const std::string& job : {id, WithoutRun(id)})
    if (::access((state_dir + "/jobs/" + job).c_str(), F_OK) == 0) return true;
  return false;
}

// Reads the headers alone, but for a log that is worth a closer look.
bool IsCutOff(const std::string& path) {
  auto log = LogReader::Open(path);
  if (!log) return false;
  const auto more = log->NextBlockIf([](const BlockHeader&) { return false; });
  // One without a block may be about to get its first.
  return more && !*more && log->blocks() > 0 && log->Standing() == LogStanding::kCutOff;
}

// What the policy itself names, and no more: the log's other words are the action's. Runs that have
// no public record (`carrel exec`) get none here.
Result<void> Publish(const std::string& state_dir, const std::string& id, const EventCounts& counts,
                     const std::string& head) {
  CARREL_ASSIGN(const JobInfo info, ReadJobInfo(state_dir, id));
  if (info.policy_digest.empty()) return {};
  PublicJob job;
  job.job = id;
  job.tool = info.tool;
  job.project = info.project;
  job.policy_digest = info.policy_digest;
  job.started_ns = info.start_ns;
  job.ended_ns = NowNs();
  job.outcome = PublicOutcome::kFault;
  job.counts = counts;
  job.head = head;
  CARREL_TRY(AppendPublicRecord(state_dir, job));
  return {};
}

Result<void> Seal(const std::string& state_dir, const std::string& id) {
  CARREL_ASSIGN(ResumedLog resumed, AuditLog::Resume(state_dir, id));
  if (resumed.log == nullptr) return {};
  CARREL_TRY(resumed.log->Append(
      "end", {{"error", "carrel was killed while this ran"}, {"refused", false}}));
  CARREL_ASSIGN(const AuditSeal seal, resumed.log->Finish(resumed.counts));
  return Publish(state_dir, id, seal.counts, seal.head);
}

// Logs that nobody writes and that have no seal.
Result<std::vector<std::string>> CutOffLogs(const std::string& state_dir) {
  CARREL_ASSIGN(const auto ids, LogIds(state_dir));
  std::vector<std::string> cut_off;
  std::optional<PublicLog> published;  // read on first need
  for (const std::string& id : ids) {
    if (IsOfAgent(state_dir, id) || !IsCutOff(AuditLogPath(state_dir, id))) continue;
    if (!published) {
      CARREL_ASSIGN(published, ReadPublicLog(state_dir, state_dir + "/public"));
    }
    // Threat: a log whose end somebody has cut off, with the seal that was published, gets another.
    if (!FindPublicRecord(*published, id)) cut_off.push_back(id);
  }
  return cut_off;
}

// False: a log could not be sealed now, and may be another time.
Result<bool> SealAll(const std::string& state_dir, const HostFacts& facts,
                     const std::string& cgroup_parent) {
  CARREL_ASSIGN(const auto cut_off, CutOffLogs(state_dir));
  if (cut_off.empty()) return true;
  // Of these one may have been killed after the last sweep: what is left of its action dies first.
  CARREL_TRY(SweepStaleRuns(state_dir, facts, cgroup_parent));
  bool all = true;
  for (const std::string& id : cut_off) {
    if (auto sealed = Seal(state_dir, id); !sealed) {
      LogError("the audit log of " + id + " was not sealed: " + sealed.error().ToString());
      all = all && sealed.error().kind == ErrorKind::kRefused;
    }
  }
  return all;
}

}  // namespace

Result<void> SealCutOffLogs(const std::string& state_dir, const HostFacts& facts,
                            const std::string& cgroup_parent) {
  CARREL_TRY(SealAll(state_dir, facts, cgroup_parent));
  return {};
}

Result<void> SweepDeadRuns(const std::string& state_dir, const HostFacts& facts,
                           const std::string& cgroup_parent) {
  CARREL_TRY(SweepStaleRuns(state_dir, facts, cgroup_parent));
  CARREL_ASSIGN(const auto dead, DeadRuns(state_dir));
  if (dead.empty()) return {};
  auto sealed = SealAll(state_dir, facts, cgroup_parent);
  if (sealed && *sealed) return ForgetDeadRuns(state_dir, dead);
  // No reason for a job not to run: whoever looks at the logs is told.
  if (!sealed) LogError("logs that were cut off were not sealed: " + sealed.error().ToString());
  return {};
}

}  // namespace carrel
