// What a job's steps hand to each other, and its translation into records: audit log entries,
// metadata.json, manifest.json, the log's summary, and the result that `carrel run` prints.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "audit/audit_log.h"
#include "image/image_store.h"
#include "job/checkout.h"
#include "job/collect.h"
#include "job/database_access.h"
#include "job/inputs.h"
#include "job/job_definition.h"
#include "job/messages.h"
#include "job/metadata.h"
#include "job/sandbox.h"
#include "policy/decide.h"

namespace carrel {

/// The directories that records and outputs go to, open.
struct JobPlaces {
  UniqueFd high_logs, high_workspace, medium_workspace;
  std::string month;
};

struct JobRecords {
  HostConfig host;
  JobDefinition job;
  Decision decision;
  OrderedJson decision_json;  ///< the whole of it, for records
  Image image;
  std::string audit_id;
  std::string tree_id;
  SandboxResult run;
  OrderedJson container;         ///< as `docker container inspect` shows it; redacted
  int64_t action_log_bytes = 0;  ///< at the action's end, when it is known
  bool action_log_known = false;
  std::string last_output;  ///< the end of what the action printed, of one that failed
  std::string error;        ///< of carrel, when the job is finalized without a run; else empty
  JobPlaces places;
  Collection collection;
  JobMessage message;
  AuditSeal seal;
  std::optional<std::set<std::string>> actions;  ///< of the study's project.yaml, where known

  bool oom_killed() const { return run.usage.oom_kills > 0; }
  bool ended_well() const;  ///< the action itself: its exit, and what it did to code and inputs
  bool succeeded() const;   ///< and it made what it declared
};

// job_launch.cc: what the launch gets of decision and image.

LaunchLimits ToLaunchLimits(const Limits& limits);

/// PATH and the image's variables, then the decision's, HOME=/tmp, and the database's.
std::map<std::string, std::string> ActionEnvironment(const Image& image, const Decision& decision,
                                                     const DatabaseAccess& database);

CollectRequest MakeCollectRequest(const JobRecords& records, int scratch_dir);

/// For JobRecords::container.
OrderedJson ContainerMetadata(const JobRecords& records, const LaunchPlan& plan);

// job_places.cc: where records and outputs go.

/// `id`, or `id.2`, `id.3`... when the job has been run before: a log is never written twice.
Result<std::string> FreeAuditId(const std::string& state_dir, const std::string& id);

/// Makes and opens the directories of the job's workspace and logs, with owners and modes by level.
Result<JobPlaces> OpenPlaces(const HostConfig& host, const JobDefinition& job, int64_t now_ns);

/// Room on the disks of the workspaces and of carrel's state, held while outputs are copied and
/// given back before the records are written: outputs on a full disk don't appear without them.
/// kFault when there is none.
Result<std::vector<UniqueFd>> ReserveRoom(const JobPlaces& places, int state_dir, int action_log);

const LevelOwnership& Ownership(const HostConfig& host, Level level);

// job_records.cc: members of audit records. No environment values, no contents.

Json DecisionRecord(const JobDefinition& job, const Decision& decision, const Json& definition);
Json CodeRecord(const JobDefinition& job, const Checkout& code);
Json InputsRecord(const std::vector<InputFile>& inputs);
Json OutputsRecord(const Collection& collection);
Json EndRecord(const JobRecords& records);

// job_results.cc: what people and the agent read.

/// The message for how the action ended and for what it made.
JobMessage DescribeOutcome(const JobRecords& records);

std::vector<std::pair<std::string, std::string>> SummaryLines(const JobRecords& records);

/// Log copies, manifest.json and metadata.json.
Result<void> WriteRecords(const JobRecords& records, int action_log);

/// What `carrel run` prints. Names of outputs are in it: it is for the host's own people.
OrderedJson ResultJson(const JobRecords& records);

OrderedJson Metrics(const JobRecords& records);

}  // namespace carrel
