// The policy: public, reviewed data files that say what a job may have. One run uses one snapshot.
// policies/README.md describes the files; decide.h applies them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "policy/level.h"
#include "policy/limits.h"

namespace carrel {

inline constexpr int64_t kDayNs = 86'400ll * 1'000'000'000;

/// What one command of a tool may have. `entry` (here and below) names the place that says so:
/// "tools.json#/tools/ehrql/commands/generate-dataset".
struct CommandRule {
  bool database = false;
  std::set<Level> levels;  ///< that its outputs may have
  std::string entry;
};

/// A check of a study's file before the tool starts.
struct PreflightRule {
  std::string check;                            ///< "sql-declaration"
  std::vector<std::string> options_with_value;  ///< of the tool, so that its file can be found
};

struct Tool {
  std::string name;
  std::vector<std::string> images;              ///< exact image names without tag
  std::set<std::string> versions;               ///< tags
  std::map<std::string, std::string> digests;   ///< tag to "sha256:...": no other image will do
  std::map<std::string, CommandRule> commands;  ///< by the first argument, exactly
  std::optional<CommandRule> any_command;       ///< for tools without commands
  std::string requires_listing;    ///< permission file in which the project must be, or empty
  bool told_permissions = false;   ///< gets EHRQL_PERMISSIONS when it gets a database
  bool declares_opt_outs = false;  ///< the query itself says whether opted-out patients are in
  std::vector<std::string> refused_arguments;  ///< options, also abbreviated; "@": response files
  std::map<std::string, std::string> environment;
  std::vector<PreflightRule> preflight;
  PartialLimits limits;
  bool allow_loopback_sockets = false;
  bool copy_up_always = false;
  std::string entry;
};

struct Project {
  std::string id;
  std::string number;  ///< as text, or empty
  std::string name;
  std::string kind;  ///< research, service_evaluation, audit, short_data_report, internal
  std::set<std::string> workspaces;
  bool accepts_unlisted_workspaces = false;
  std::string entry;
};

/// One entry of a permission file. In force from the first instant of `date` to the last of
/// `expires` (UTC).
struct Grant {
  std::string project;             ///< the project's id, whichever way the file names it
  std::vector<std::string> items;  ///< databases or datasets, in the files that list those
  std::string reason, approver, link;
  int64_t from_ns = 0;
  int64_t until_ns = INT64_MAX;
  std::string entry;

  bool InForce(int64_t now_ns) const { return from_ns <= now_ns && now_ns < until_ns; }
};

struct Role {
  std::set<std::string> starts;      ///< kinds of project
  std::set<Level> reads;             ///< levels of files
  std::set<std::string> reads_logs;  ///< "action", "audit"
  std::set<std::string> groups;      ///< of the host, that its people are members of
  std::string entry;
};

/// Who owns what carrel writes at one level, and the most that its modes may give. The host may
/// name other owners.
struct LevelRule {
  std::string directory;  ///< "high_privacy" or "medium_privacy": below which base directory
  std::string owner, group;
  mode_t directory_mode = 0;
  mode_t file_mode = 0;
  std::set<std::string> checks;  ///< that a file passes before it is written there
  std::string entry;
};

/// What the job agent may at most ask of the level 4 checks.
struct Level4Policy {
  int64_t max_csv_rows = 5000;
  int64_t max_file_bytes = 16 << 20;
  std::vector<std::string> file_types;
};

struct Policy {
  std::string digest;           ///< SHA-256 (64 digits) over the names and contents of all files
  std::string commit;           ///< of the git checkout that the directory is in, or empty
  bool commit_changed = false;  ///< the directory differs from that commit
  int64_t bundle_serial = 0;    ///< of the signed bundle that it came in, or 0
  std::map<std::string, Tool> tools;
  std::map<std::string, Project> projects;                ///< by id
  std::map<std::string, std::string> workspace_projects;  ///< workspace to project id
  std::map<std::string, std::vector<Grant>> permissions;  ///< by file: "type-one-opt-outs"
  std::map<std::string, Role> roles;
  std::map<std::string, std::set<std::string>> users;  ///< user to roles
  std::string unlisted_users_are;                      ///< a role, or empty
  std::map<Level, LevelRule> levels;                   ///< has both
  Level4Policy level4;
  PartialLimits default_limits;
  PartialLimits maximum_limits;

  /// By id or number; null when there is none.
  const Project* FindProject(const std::string& id_or_number) const;
  /// The grant of a permission file for a project (and item, where the file lists items) that is in
  /// force; null when there is none.
  const Grant* FindGrant(const std::string& file, const std::string& project, int64_t now_ns,
                         const std::string& item = "") const;
  /// What a project has been granted of ehrQL's permissions, and is in force: to the entry of each.
  std::map<std::string, std::string> EhrqlPermissions(const std::string& project,
                                                      int64_t now_ns) const;
};

/// The permission files, each with the name that ehrQL knows the permission by ("" when it is no
/// permission of ehrQL's) and the member that lists its items ("" when it lists none).
struct PermissionFile {
  const char* file;
  const char* ehrql_name;
  const char* items;
};
const std::vector<PermissionFile>& PermissionFiles();

/// Whether a name, in any case, is one of ehrQL's permissions that are no datasets.
bool IsOtherPermission(const std::string& name);

/// The checks that every level 4 file passes, by name.
const std::set<std::string>& Level4Checks();

/// The kinds of project.
const std::set<std::string>& ProjectKinds();

/// A policy directory's files by relative path: the snapshot.
using PolicyFiles = std::map<std::string, std::string>;

/// Reads all regular files beneath `dir`, each once. A link, or more than 16 MiB, is an error.
Result<PolicyFiles> ReadPolicyFiles(const std::string& dir);

/// Reads the files of `tree` from the git repository around `directory`: "REV:DIR", "REV" (its
/// directory policies), or "REV:" (its top).
Result<PolicyFiles> ReadPolicyRevision(const std::string& tree, const std::string& directory);

/// All problems at once, each with file and pointer (kBadInput). Cross references are checked.
Result<Policy> DecodePolicy(const PolicyFiles& files);

/// Reads and decodes; sets `commit` too. `read` gets the files, as they were.
Result<Policy> LoadPolicy(const std::string& dir, PolicyFiles* read = nullptr);

}  // namespace carrel
