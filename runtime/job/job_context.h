// One job on its way through the twelve steps: what earlier steps leave for later ones. The steps
// are functions of their own, called in order by job_runner.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "audit/audit_log.h"
#include "audit/public_log.h"
#include "job/action_log.h"
#include "job/database_access.h"
#include "job/job_records.h"
#include "job/sandbox.h"
#include "job/scratch.h"
#include "job/staging_mark.h"

namespace carrel {

/// Members are undone in reverse order, whatever happens.
struct JobContext {
  /// Human progress: step 1 to 12 and what it does.
  std::function<void(int step, const std::string& what)> progress = [](int, const std::string&) {};
  /// Called every second while the action runs.
  std::function<void(const EventCounts&)> every_second = [](const EventCounts&) {};
  /// Given what the action writes on its standard output, beside its log; may be empty.
  std::function<void(std::string_view)> on_stdout;

  Json definition;
  JobRecords records;

  UniqueFd signals;
  std::optional<SandboxRun> run;  ///< this process runs (or collects) the job
  UniqueFd image_hold;            ///< the image cannot be removed as long
  std::unique_ptr<AuditLog> log;

  /// The job's own directory, for root alone: code, scratch file, action's log. It is
  /// run->directory for `carrel run`, and outlives the process where the phases are called one by
  /// one.
  std::string place;
  UniqueFd place_dir;
  bool keep_scratch = false;  ///< the scratch layer outlives this process, in `place`

  UniqueFd tree;  ///< place/workspace: code and inputs
  UniqueFd scratch_file;
  std::optional<Scratch> scratch;
  std::vector<WritableSpec> writable;
  DatabaseAccess database;
  std::shared_ptr<const Redactor> redactor;  ///< of credentials that are inside, or null
  UniqueFd database_place;                   ///< among the jobs that may have the database at once
  LaunchPlan plan;
  std::optional<ActionLog> action_log;
  std::vector<UniqueFd> room;

  JobDefinition& job() { return records.job; }
  const HostConfig& host() const { return records.host; }
  const Decision& decision() const { return records.decision; }

  /// Announces step 1 to 12.
  void Step(int number, const std::string& what);
};

// job_prepare.cc

/// What is wrong with the job is said with its file: an agent's log has many.
Error InFile(Error error, const std::string& definition_path);

Result<void> DecodeJob(JobContext& job, const std::string& definition_path);  ///< 1
Result<void> DecideJob(JobContext& job);                                      ///< 2
/// Before the first mount: signals cancel from here on, BPF programs, mounts and id of this run.
Result<void> BeginRun(JobContext& job);
/// The same, for a job whose own directory ends with this process.
Result<void> BeginRunInItsDirectory(JobContext& job);
Result<void> OpenJobLog(JobContext& job);    ///< 3: with the decision as its first record
Result<void> ResolveImage(JobContext& job);  ///< 4
Result<void> CheckOut(JobContext& job);      ///< 5: code and inputs
/// The tool's checks on files of `tree`, and their records.
Result<void> CheckPreflight(const Decision& decision, int tree, AuditLog& log);
Result<void> CheckBeforeStart(JobContext& job);

// job_execute.cc
Result<LaunchPlan> PlanDryRun(JobContext& job);
Result<void> MountScratch(JobContext& job);
Result<void> PlanLaunch(JobContext& job);  ///< 6
Result<void> RunAction(JobContext& job);   ///< 7 to 10
/// What stands for a run where the action was not started.
SandboxResult CancelledBeforeStart();

// job_finalize.cc
Result<void> CollectJob(JobContext& job);  ///< 11
Result<void> RecordJob(JobContext& job);   ///< 12
/// Of step 12: the log's last record and seal, and the public record.
Result<void> SealAndPublish(JobContext& job);
/// The public record of a log that is sealed; `if_missing`: unless it has one.
Result<void> PublishJob(const JobRecords& records, PublicOutcome outcome, bool if_missing);
/// The job did not come to a result: the log says why, is sealed, and the public record says so.
void CloseAfter(JobContext& job, const Error& error);

}  // namespace carrel
