// What `carrel` called as `docker` answers. Each gets the arguments after the command's name and
// returns docker's exit status; an Error becomes docker's "Error response from daemon".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/host_config.h"

namespace carrel {

using DockerArguments = std::vector<std::string>;

/// Prints an error as docker does; returns the exit status of `command`.
int PrintDockerError(std::string_view command, const Error& error);

Result<int> DockerRunCommand(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerInspect(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerContainerInspect(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerKill(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerRemove(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerLogs(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerList(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerStats(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerPull(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerImageInspect(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerTag(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerImages(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerRemoveImage(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerVolumes(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerRemoveVolume(const HostConfig& host, const DockerArguments& arguments);
Result<int> DockerVersion(const HostConfig& host, const DockerArguments& arguments);

}  // namespace carrel
