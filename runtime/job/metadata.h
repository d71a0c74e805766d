// The records of a finished job: metadata.json and the copies of its log.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "job/collect.h"
#include "job/job_definition.h"
#include "job/messages.h"
#include "policy/host_config.h"

namespace carrel {

/// What metadata.json says beyond the job definition (contract.md, "Files").
struct JobMetadata {
  Collection collection;
  JobMessage message;
  std::string image_id;  ///< "sha256:..." of the image that ran; expected is the definition's
  int64_t completed_at_ns = 0;
  int exit_code = 0;
  bool oom_killed = false;
  bool cancelled = false;
  std::string error;  ///< of carrel; empty: none
  /// As `docker container inspect` shows it, for the agent's readers. Goes in redacted.
  OrderedJson container_metadata = OrderedJson::object();
  OrderedJson job_metrics = OrderedJson::object();
  /// Labels of the image; empty ones become null.
  std::string action_version, action_revision, action_created, base_revision, base_created;
  OrderedJson carrel = OrderedJson::object();  ///< carrel's own: decision, audit seal, limits
};

/// All members of contract.md, in its order.
OrderedJson ToJson(const JobDefinition& job, const JobMetadata& metadata);

/// Replaces the values of every "Env" list ("NAME=value") and "env" or "environment" object in
/// `value` by "[redacted]", but for names that hold no secret. Also in those, a password in a URL.
OrderedJson RedactEnvironment(const OrderedJson& value);

/// Where the records of one job go. Descriptors of directories.
struct RecordPlaces {
  int high_logs = -1;         ///< high_privacy/logs
  int high_workspace = -1;    ///< high_privacy/workspaces/<workspace>
  int medium_workspace = -1;  ///< medium_privacy/workspaces/<workspace>
  std::string month;          ///< "2026-08"
  std::string job_id;
  std::string action;
  LevelOwnership high, medium;
};

/// Writes <month>/os-job-<id>/metadata.json. kBadInput for a job id or action that is no name.
Result<void> WriteMetadata(const RecordPlaces& places, const OrderedJson& metadata);

/// Copies the finished log (from the start of `log`) to <month>/os-job-<id>/logs.txt and, as
/// metadata/<action>.log, to both workspaces.
Result<void> PublishLog(const RecordPlaces& places, int log);

}  // namespace carrel
