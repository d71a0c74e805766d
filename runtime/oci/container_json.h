// A container as JSON: as carrel keeps it, and as docker shows it.
#pragma once

#include "oci/container.h"

namespace carrel {

OrderedJson ToJson(const ContainerConfig& config);
OrderedJson ToJson(const ContainerState& state);
Result<ContainerConfig> DecodeContainerConfig(const Json& json);
Result<ContainerState> DecodeContainerState(const Json& json);

/// `docker container inspect`.
OrderedJson InspectJson(const ContainerConfig& config, const ContainerState& state, pid_t pid);

/// One row of `docker container ls`: the names that its --format knows.
OrderedJson ListRow(const ContainerConfig& config, const ContainerState& state, int64_t now_ns,
                    bool truncate);

/// Docker's time for what hasn't happened.
inline constexpr const char* kNever = "0001-01-01T00:00:00Z";

}  // namespace carrel
