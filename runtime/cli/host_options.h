// The options by which most commands find the host's configuration and state.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "policy/host_config.h"

namespace carrel {

/// Adds --config and --state. Both strings must outlive the parsing.
void AddHostOptions(CLI::App& app, std::string& config, std::string& state);

/// Parses, and reads the configuration that `config` and `state` then name. nullopt: what there
/// was to say is printed, and the command ends with `*status`.
std::optional<HostConfig> ParseHostOptions(CLI::App& app, int argc, char** argv,
                                           const std::string& config, const std::string& state,
                                           int* status);

/// For commands that need no more of the host than its state directory: parses, and where --state
/// is given without --config, reads no file (the defaults hold, with that state). Else `state` is
/// then the configuration's. nullopt: the command ends with `*status`.
std::optional<HostConfig> ParseWithState(CLI::App& app, int argc, char** argv,
                                         const std::string& config, std::string& state,
                                         int* status);

}  // namespace carrel
