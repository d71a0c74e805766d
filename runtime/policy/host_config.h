// The host's configuration: /etc/carrel/carrel.json, --config FILE or CARREL_CONFIG. What is the
// same for all hosts, and public, is policy (policy.h) instead.
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
#include "policy/database_config.h"
#include "policy/level.h"
#include "policy/limits.h"

namespace carrel {

inline constexpr const char* kDefaultConfigFile = "/etc/carrel/carrel.json";

/// Owner, group and modes of everything that carrel writes at one level.
struct LevelOwnership {
  uid_t owner = 0;
  gid_t group = 0;
  mode_t directory_mode = 0750;
  mode_t file_mode = 0640;
  std::set<std::string> said;  ///< members that the configuration gives; levels.json the others
};

/// A signed policy (bundle.h) instead of a directory.
struct BundleRules {
  std::string file;
  std::vector<std::string> keys;  ///< Ed25519 public keys, 64 hexadecimal digits each
  int64_t signatures = 1;         ///< good ones that a bundle needs, of different keys
  int64_t minimum_serial = 1;
};

/// What `carrel` called as `docker` may do on this host. Empty: nothing may be bound, and the only
/// network is "none".
struct DockerFront {
  std::vector<std::string> bind_prefixes;       ///< host directories below which binds may lie
  std::map<std::string, std::string> networks;  ///< docker's name of a network: a database's name
  std::string
      user;  ///< of the policy, whose role counts, as docker's call names none; may be empty
  /// A container without the agent's label "workspace" (its own questions to a database) counts as
  /// of this workspace. Empty: it reaches no database.
  std::string task_workspace;
};

/// What `carrel pipeline` takes when its options don't say.
struct PipelineConfig {
  std::string workspace;  ///< or empty: the directory's name
  std::string user;       ///< or empty: who called sudo, else root
  uint32_t jobs = 0;      ///< actions side by side; 0: one a processor, four at most
};

/// What `carrel gc` keeps, in days since it was last needed; 0: for ever.
struct RetentionConfig {
  uint32_t audit_days = 0;      ///< sealed audit logs
  uint32_t log_days = 0;        ///< high_privacy/logs: action logs and metadata.json
  uint32_t image_days = 0;      ///< images that the policy names no more, since their import
  uint32_t job_days = 30;       ///< jobs that are over and that the agent has not cleaned up
  uint32_t selftest_days = 90;  ///< reports and results of `carrel selftest`
};

struct HostConfig {
  std::string file;                       ///< that it was read from; empty: none
  std::string state = "/var/lib/carrel";  ///< everything of carrel's own
  std::string policies = "/etc/carrel/policies";
  std::optional<BundleRules> policy_bundle;         ///< then `policies` is not used
  std::string high_privacy;                         ///< default: <state>/high_privacy
  std::string medium_privacy;                       ///< default: <state>/medium_privacy
  std::string backend;                              ///< OPENSAFELY_BACKEND; empty: the job's own
  std::vector<std::string> allowed_repositories;    ///< normal prefixes (repository.h)
  std::map<std::string, DatabaseConfig> databases;  ///< by the name that grants use
  PartialLimits default_limits;                     ///< where policy and job say nothing
  PartialLimits maximum_limits;                     ///< no job gets more
  std::map<Level, LevelOwnership> levels;           ///< has both levels
  DockerFront docker;
  /// Unprivileged host ids for jobs. 0x70000000 is above what systemd-nspawn takes for containers
  /// (0x00080000 to 0x6fffffff) and what useradd gives users in /etc/subuid (from 100000 on), and
  /// below the ids that are signed-negative.
  uint32_t uid_start = 1879048192;
  uint32_t uid_count = 4096;
  std::string cgroup_parent = "carrel";  ///< below each hierarchy's root; names, with '/' between
  PipelineConfig pipeline;
  RetentionConfig retention;
  /// Where the kernel refuses BPF: run with a log of calls as they begin, without results and
  /// without the refused ones. Otherwise such a host runs nothing.
  bool allow_entry_only_audit = false;
};

/// All problems at once, each with its JSON pointer (kBadInput). Names of owners and groups are
/// looked up in /etc/passwd and /etc/group (no NSS: a static program loads no plug-in); ids from
/// elsewhere are given as numbers.
Result<HostConfig> DecodeHostConfig(const Json& value);

/// `file`, or where that is empty CARREL_CONFIG, or /etc/carrel/carrel.json; when nothing is named
/// and the last does not exist, the defaults. `state`, when not empty, replaces the
/// configuration's.
Result<HostConfig> LoadHostConfig(const std::string& file, const std::string& state = "");

OrderedJson ToJson(const HostConfig& config);

}  // namespace carrel
