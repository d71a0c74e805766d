// What collections that were killed have left in the workspaces is found by marks under
// <state>/staging, one a job, so that a command need not search every workspace.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "job/job_definition.h"
#include "policy/host_config.h"

namespace carrel {

/// Says, as long as it lives, that the job's workspace may hold staging directories of it.
class StagingMark {
 public:
  static Result<StagingMark> Make(const HostConfig& host, const JobDefinition& job);
  StagingMark(StagingMark&&) = default;
  StagingMark& operator=(StagingMark&&) = delete;
  ~StagingMark();

 private:
  StagingMark() = default;
  UniqueFd directory_;
  UniqueFd file_;  ///< locked
  std::string name_;
};

/// Removes the staging directories that killed jobs have left, with their marks. Cheap when there
/// are none. The marks of running jobs are locked.
Result<void> SweepStaging(const HostConfig& host);

}  // namespace carrel
