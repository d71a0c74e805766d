// The bind mounts of a container that `docker run` asks for.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/container.h"
#include "plan/launch_plan.h"
#include "policy/host_config.h"

namespace carrel {

/// "UID" or "UID:GID", in numbers.
Result<std::pair<uint32_t, uint32_t>> ParseDockerUser(const std::string& text);

/// Adds a mount to `request`. Its source, which must be below one of the host's bind_prefixes, is
/// opened and kept in `sources`: the request names the descriptor. `user`: of the container, or
/// empty; who owns what is written.
Result<void> AddDockerMount(const HostConfig& host, const std::string& user,
                            const ContainerMount& mount, LaunchRequest& request,
                            std::vector<UniqueFd>& sources);

}  // namespace carrel
