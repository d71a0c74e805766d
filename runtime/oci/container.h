// What the docker front keeps of a container, from `docker run` to `docker rm`:
// `<state>/containers/<id>/{config.json,state.json,log.jsonl,lock}` and a link
// `<state>/containers/names/<name>`. A container runs as long as a process holds its lock; a state
// that says "running" without one is of a supervisor that was killed, and is put right when read.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/cgroup.h"

namespace carrel {

struct ContainerMount {
  std::string source;  ///< host path, without links
  std::string target;  ///< absolute path inside
  bool read_only = false;
};

struct ContainerConfig {
  std::string id;    ///< 64 hexadecimal digits
  std::string name;  ///< letters, digits, "_", ".", "-"
  std::string audit_id;
  int64_t created_ns = 0;
  std::string image_name;    ///< as the caller named it
  std::string image_digest;  ///< "sha256:..." of the image's configuration: docker's image id
  std::vector<std::string> entrypoint, arguments;
  std::vector<std::string> environment;  ///< "NAME=value", secrets redacted: never a credential
  std::map<std::string, std::string> labels;
  std::string user;
  std::string working_directory;
  uint64_t memory_bytes = 0;
  uint64_t cpu_milli = 0;
  std::vector<std::string> cap_drop, security_options;
  std::vector<ContainerMount> mounts;
  std::string network = "none";
  bool auto_remove = false;
};

struct ContainerState {
  std::string status = "created";  ///< "created", "running" or "exited"
  int64_t started_ns = 0;
  int64_t finished_ns = 0;
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;
  CgroupPaths counters;  ///< where the kernel counts, while it runs
  bool running() const { return status == "running"; }
};

/// The exit status of a container whose action never began: no success.
inline constexpr int kNeverRan = 128;

class Container {
 public:
  const ContainerConfig& config() const { return config_; }
  int directory() const { return directory_.get(); }

  /// As it is now; corrected, and kept, where its supervisor is gone.
  Result<ContainerState> State() const;
  Result<void> WriteState(const ContainerState& state) const;

  /// Holds the lock until this process ends. Call it in the process that will supervise.
  Result<UniqueFd> Lock() const;
  /// Pid of the process that holds the lock, or 0.
  Result<pid_t> Holder() const;

  /// Ends the action now, and waits (10 s at most) until it has ended. kRefused when it doesn't
  /// run.
  Result<void> Kill() const;
  /// True when Kill was asked for.
  bool Killed() const;

  /// What `docker inspect` shows.
  Result<OrderedJson> Inspect() const;

 private:
  friend class ContainerStore;
  /// kBadInput "No such container: X", with ENOENT, where another command has removed it.
  Result<ContainerState> ReadState() const;
  ContainerConfig config_;
  UniqueFd directory_;
};

class ContainerStore {
 public:
  static Result<ContainerStore> Open(const std::string& state_dir);

  /// Gives it an id, and a name where it has none. kRefused when the name is taken.
  Result<Container> Create(ContainerConfig config) const;
  /// By name, id or the beginning of an id. kBadInput "No such container: X".
  Result<Container> Find(const std::string& reference) const;
  /// All, the newest first.
  Result<std::vector<Container>> List() const;
  /// kRefused for a running one, unless `force` (it is killed).
  Result<void> Remove(const Container& container, bool force) const;

 private:
  Result<Container> Read(const std::string& id) const;
  UniqueFd directory_, names_;
};

}  // namespace carrel
