// The one decision function: what a job may have, and which entry of the policy says so.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "policy/host_config.h"
#include "policy/job_request.h"
#include "policy/policy.h"

namespace carrel {

/// The one database that the job may reach.
struct DatabaseGrant {
  std::string name;   ///< in `databases` of the host configuration, which says how to reach it
  std::string kind;   ///< "sqlite", "postgresql", "mssql" or "relay"
  std::string path;   ///< sqlite: host path of the file
  bool wait = false;  ///< the database is in maintenance: the job waits for its end
};

/// A check to make on a file of the study before the tool starts. A failure refuses the job.
struct Preflight {
  std::string check;  ///< "sql-declaration": RequireDeclaration of sql_declaration.h
  std::string file;   ///< relative to the workspace
};

struct Decision {
  bool allowed = false;
  /// Refused: all reasons, in words. Allowed: what was granted, and what was not, in words.
  std::vector<std::string> reasons;
  /// Part ("tool", "database", "limits"...) to the policy entry that decided it.
  std::map<std::string, std::string> decided_by;
  /// Refused for now only (the database is in maintenance): the same job may be given again.
  bool try_again = false;

  std::string tool;
  std::string command;  ///< the first argument, where the tool has commands; else empty
  std::string project;  ///< its id
  std::string project_kind;
  std::string role;  ///< in which the user starts the job
  /// "sha256:..." (of manifest or configuration) when the policy or the job pins one: no other
  /// image may run. Empty: what the name stands for in the image store.
  std::string image_digest;
  std::optional<DatabaseGrant> database;
  /// "no database", "excluded", "included", or "declared by the query" (SQL Runner).
  std::string opt_outs = "no database";
  bool include_type_one_opt_outs = false;
  std::vector<std::string> ehrql_permissions;  ///< sorted
  std::set<Level> levels;                      ///< that outputs may have
  Limits limits;
  Level4Policy level4;
  std::string seccomp_profile = "base";  ///< "base", "gateway" or "loopback"
  bool copy_up_always = false;
  std::vector<Preflight> preflight;
  /// The action's variables from job and policy, whole: the job's own that may pass, and what
  /// carrel sets (TEMP_DATABASE_NAME too). Without DATABASE_URL, which whoever makes the database
  /// reachable adds.
  std::map<std::string, std::string> environment;

  std::string policy_digest;
  std::string policy_commit;  ///< or empty; "+changes" follows when the directory differs
  int64_t policy_serial = 0;  ///< of the signed bundle, or 0
};

/// Total, pure, and deny by default: what is not granted is not there, and every claim of the job
/// beyond what is granted refuses it. `now_ns` decides which grants are in force.
Decision Decide(const JobRequest& request, const Policy& policy, const HostConfig& host,
                int64_t now_ns);

/// kRefused with all reasons when the decision is no (with code EAGAIN for `try_again`); else
/// success.
Result<void> RequireAllowed(const Decision& decision);

OrderedJson ToJson(const Decision& decision);

}  // namespace carrel
