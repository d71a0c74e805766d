// A launch as a value: every operation that turns a clone into the sandbox, in order, with nothing
// done yet. `BuildPlan` is pure; launch/ applies its result; `--dry-run` and the golden tests print
// it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// What the plan must know about the host. Gathered by launch/host_facts.h; an input here.
struct HostFacts {
  /// A cgroup hierarchy that carrel uses: its mount point and, for v1, its controllers.
  struct Hierarchy {
    std::string mount;
    std::vector<std::string> controllers;
    bool v2 = false;
  };
  std::vector<Hierarchy> hierarchies;   ///< v1 ones first; one v2 always (for attribution)
  std::vector<std::string> proc_files;  ///< regular files in /proc, without the processes
  std::vector<std::string> proc_dirs;
  int landlock_abi = 0;  ///< 0: not there
  int online_cpus = 1;
  bool time_namespaces = false;
  uint64_t open_files_max = 1024;  ///< the hard limit of this process
};

/// LaunchLimits of one action. All are enforced by the kernel, except `log_bytes` (the supervisor).
struct LaunchLimits {
  uint64_t memory_bytes = 4ull << 30;
  uint32_t cpu_milli = 2000;          ///< thousandths of a processor
  uint32_t cpu_weight = 100;          ///< 1 to 10000, as cgroup v2
  uint32_t io_weight = 100;           ///< 1 to 10000
  uint32_t processes = 1024;          ///< tasks, threads included
  uint32_t time_seconds = 24 * 3600;  ///< then TERM, and KILL after grace_seconds
  uint32_t grace_seconds = 10;
  uint64_t scratch_bytes = 16ull << 30;
  uint64_t scratch_inodes = 1u << 20;
  uint64_t file_bytes = 16ull << 30;  ///< the largest single file
  uint64_t log_bytes = 64ull << 20;   ///< stdout and stderr together
  uint32_t open_files = 4096;
};

/// A host file or directory that appears inside, read-only.
struct BindSpec {
  std::string source;  ///< host path
  std::string target;  ///< absolute path inside
  /// The source as it was checked, where others can rename what lies on the path to it: this is
  /// what is mounted, and `source` is for people to read. Open until the launch.
  int source_fd = -1;
};

/// A part of the workspace that the action may write: an empty layer, or a copy-up layer over what
/// is there.
struct WritableSpec {
  std::string target;  ///< absolute path inside
  std::string upper;   ///< host directory that receives the writes
  std::string lower;   ///< host directory below a copy-up layer; empty: bind `upper` itself
  std::string work;    ///< overlay work directory, when `lower` is set
  int upper_fd = -1;   ///< without `lower`: as BindSpec::source_fd
  /// Without `lower`: the owner on disk of what the action writes there, whatever id it runs as.
  std::optional<std::pair<uint32_t, uint32_t>> disk_owner = std::nullopt;
};

struct LaunchRequest {
  std::string id;
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::string working_directory = "/";
  std::string rootfs;    ///< host path
  std::string skeleton;  ///< host directory with mount points that the rootfs lacks, or ""
  std::vector<BindSpec> binds;
  std::vector<WritableSpec> writable;
  std::vector<std::string> writable_tmpfs;  ///< absolute paths inside (carrel exec --writable)
  uint32_t host_uid = 0;                    ///< the unprivileged host id that the action runs as
  uint32_t host_gid = 0;
  std::string seccomp_profile = "base";  ///< a name in launch/seccomp.h
  uint16_t database_port = 0;            ///< where the job's gateway listens inside; 0: no gateway
  LaunchLimits limits;
};

/// One operation on the way from clone to exec. `kind` names it in errors and in JSON.
struct Operation {
  enum class Kind {
    kJoinCgroup,  ///< source: mount point of a v1 hierarchy
    kPrivateMounts,
    kRoot,     ///< source: rootfs, options: directory of further mount points, or ""
    kBind,     ///< source, target; id_mapped: number, number2 are the owner's ids on disk
    kTmpfs,    ///< target, options
    kOverlay,  ///< source: lower, target, options: upper, source2: work
    kProc,     ///< target
    kPivot,
    kLoopbackUp,
    kHostname,       ///< source: the name
    kAffinity,       ///< number: how many processors
    kRlimit,         ///< resource, number
    kUserNamespace,  ///< number: host uid, number2: host gid
    kNoMoreUserNamespaces,
    kIds,               ///< number: uid inside, number2: gid inside
    kWorkingDirectory,  ///< target
    kKeyring,
    kDropCapabilities,
    kNoNewPrivileges,
    kLandlock,  ///< the rules are in LaunchPlan::landlock_*
    kStreams,
    kSeccomp,  ///< source: profile
    kExecInit,
  };
  Kind kind;
  std::string source = "";
  std::string source2 = "";
  std::string target = "";
  std::string options = "";
  uint64_t mount_flags = 0;  ///< MOUNT_ATTR_*
  int resource = 0;          ///< RLIMIT_*
  uint64_t number = 0;
  uint64_t number2 = 0;
  bool id_mapped = false;
  int source_fd = -1;  ///< kBind: what `source` was when it was checked, or -1
};

/// The name of an operation's kind, as in errors and JSON: "bind", "proc", ...
const char* KindName(Operation::Kind kind);

/// "overlay at /workspace": what a person reads when the operation fails.
std::string Describe(const Operation& operation);

struct LaunchPlan {
  std::string id;
  std::vector<std::string> argv;
  std::vector<std::string> environment;  ///< "NAME=value", sorted
  std::vector<Operation> operations;     ///< in the order in which they are applied
  std::vector<std::string> landlock_writable;
  /// What is left of TCP: connections to this port (0: none), or, without a value, all.
  std::optional<uint16_t> landlock_tcp_port = 0;
  int landlock_abi = 0;
  LaunchLimits limits;
  uint32_t host_uid = 0;
  uint32_t host_gid = 0;
  uint64_t namespaces = 0;  ///< CLONE_NEW* given to clone3; user and cgroup come later

  /// Environment values are left out (`NAME` only): they may be secrets.
  OrderedJson ToJson() const;
};

/// The uid and gid of the action inside. Ordinary: there is no root.
inline constexpr uint32_t kInsideId = 1000;

/// What carrel prepares once on a host under `<state>/host` (launch/host_template.h) and the plan
/// binds.
struct HostTemplates {
  std::string root;  ///< "<state>/host"
  std::string dev() const { return root + "/dev"; }
  std::string empty_file() const { return root + "/empty/file"; }
  std::string empty_dir() const { return root + "/empty/dir"; }
  std::string proc_sys() const { return root + "/procsys"; }
  std::string staging() const { return root + "/root"; }
  /// Processors and memory as a job with these limits sees them.
  std::string view(const LaunchLimits& limits, int online_cpus) const;
};

/// Number of whole processors that the job sees: cpu_milli rounded up, at most `online`.
int VisibleCpus(const LaunchLimits& limits, int online);

/// True for "/" and for absolute paths without empty, "." or ".." parts.
bool IsAbsoluteNormalPath(const std::string& path);

/// kBadInput when the request cannot be planned (no argv, a path that is not absolute and normal,
/// two mounts at one place).
Result<LaunchPlan> BuildPlan(const LaunchRequest& request, const HostFacts& facts,
                             const HostTemplates& templates);

}  // namespace carrel
