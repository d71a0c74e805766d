// What the job agent asks for, decoded strictly (contract.md, "Job definition").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "policy/job_request.h"
#include "policy/level.h"

namespace carrel {

/// The study that the job belongs to. It differs from the job's own `repo_url` and `commit` when
/// the action is a reusable action.
struct Study {
  std::string git_repo_url;
  std::string commit;  ///< full hash, or empty
  std::string branch;  ///< as the agent gave it; never used to choose code
};

struct JobDefinition {
  std::string id;        ///< one safe path component, as are workspace and action
  std::string rap_id;    ///< may be empty
  std::string task_id;   ///< may be empty
  std::string repo_url;  ///< not yet checked against the repositories that the host allows
  std::string commit;    ///< 40 or 64 lower-case hexadecimal digits
  std::optional<Study> study;
  std::string workspace;
  std::string project;  ///< id or number; empty when the definition has none
  std::string action;
  int64_t created_at = 0;  ///< seconds since the epoch
  std::string image;       ///< "name:tag"
  std::string image_sha;   ///< "sha256:...", or empty
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::vector<std::string> inputs;           ///< deprecated: paths in the level 3 workspace
  std::vector<std::string> input_job_ids;    ///< jobs whose outputs are this job's inputs
  std::map<std::string, Level> output_spec;  ///< pathlib glob, relative to the workspace
  bool allow_database_access = false;
  int64_t level4_max_csv_rows = 5000;
  int64_t level4_max_filesize = 16 << 20;      ///< bytes
  std::vector<std::string> level4_file_types;  ///< with the dot, lower case
  std::set<std::string> unsaid;  ///< those of the three above that are the agent's usual ones
  std::string user;              ///< may be empty
  std::string database_name = "default";
  uint64_t cpu_milli = 2000;
  uint64_t memory_bytes = 4ull << 30;
};

/// All problems at once, each with its JSON pointer (kBadInput). Required: id, workspace, action,
/// repo_url, commit, image, args, output_spec; the others have contract.md's defaults, and null is
/// as absent there (the agent writes what it does not know as null).
Result<JobDefinition> DecodeJobDefinition(const Json& value);

/// What the policy's decision needs to know of the job.
JobRequest RequestOf(const JobDefinition& job);

/// For records: every member, with the values of `env` redacted but for OPENSAFELY_BACKEND and
/// EHRQL_PERMISSIONS, which are no secret.
OrderedJson ToJson(const JobDefinition& job);

/// Null when `pattern` stays in the workspace and out of metadata/; else what is wrong with it.
std::optional<std::string> OutputPatternProblem(std::string_view pattern);

}  // namespace carrel
