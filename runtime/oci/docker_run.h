// `docker run`: one container in the same sandbox, with the same audit log, as a job.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "oci/container.h"
#include "policy/host_config.h"

namespace carrel {

struct DockerRunOptions {
  std::string image;                   ///< as the caller names it
  std::string image_digest;            ///< what it was resolved to
  std::vector<std::string> arguments;  ///< after the image's name
  std::string name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> environment;
  std::vector<ContainerMount> mounts;  ///< as the caller named them
  std::string network = "none";
  std::string user;  ///< "", "UID" or "UID:GID": who owns on disk what the action writes
  std::optional<std::string> entrypoint;
  std::string working_directory;
  std::optional<uint64_t> memory_bytes;
  std::optional<uint64_t> cpu_milli;
  std::optional<uint64_t> log_bytes;  ///< the host's maximum holds, silently
  std::vector<std::string> cap_drop, security_options;
  bool detach = false;
  bool interactive = false;
  bool remove = false;
};

/// What `docker run` comes to: the container's id (detached), or the action's exit status.
struct DockerRunOutcome {
  std::string id;
  int exit_code = 0;
  std::string error;  ///< why it ended as it did, when that was not the action's doing
};

/// Detached: returns when the action runs, which a supervisor of its own then looks after. Errors
/// say that nothing runs; the container stays, as docker's does, when it had been made.
Result<DockerRunOutcome> DockerRun(const HostConfig& host, DockerRunOptions options);

}  // namespace carrel
