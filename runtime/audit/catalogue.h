// The logs of a state directory, and which of them a question is about.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

/// What the first records of a log say of its job. What is not known is "".
struct JobInfo {
  std::string id;    ///< of the log: "J", or "J.2" for its second run
  std::string path;  ///< of the log
  int64_t start_ns = 0;
  std::string project;
  std::string workspace;
  std::string action;
  std::string user;
  std::string tool;
  std::string commit;
  std::string seccomp_profile;
  std::string policy_digest;
  bool refused = false;  ///< by the policy: nothing ran
};

/// All that is set must fit.
struct JobFilter {
  std::vector<std::string> ids;  ///< any of these; empty: every log
  std::optional<std::string> project;
  std::optional<std::string> workspace;
  std::optional<std::string> action;
  std::optional<std::string> user;
  std::optional<int64_t> until_ns;  ///< begun before this, nanoseconds since the epoch
};

struct JobList {
  std::vector<JobInfo> jobs;    ///< by time, the oldest first
  std::vector<Error> problems;  ///< logs whose beginning cannot be read
};

/// The ids of all logs, sorted.
Result<std::vector<std::string>> LogIds(const std::string& state_dir);

std::string AuditLogPath(const std::string& state_dir, const std::string& id);

/// Reads the beginning of each log. A log named in `ids` that is not there is an error.
Result<JobList> FindJobs(const std::string& state_dir, const JobFilter& filter);

/// The beginning of one log.
Result<JobInfo> ReadJobInfo(const std::string& state_dir, const std::string& id);

}  // namespace carrel
