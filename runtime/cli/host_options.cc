#include "cli/host_options.h"

#include "cli/command.h"

namespace carrel {

void AddHostOptions(CLI::App& app, std::string& config, std::string& state) {
  app.add_option("--config", config,
                 "configuration (default: CARREL_CONFIG, or /etc/carrel/carrel.json)");
  app.add_option("--state", state,
                 "directory of all that is carrel's own (default: the configuration's)");
}

std::optional<HostConfig> ParseHostOptions(CLI::App& app, int argc, char** argv,
                                           const std::string& config, const std::string& state,
                                           int* status) {
  if (!ParseOptions(app, argc, argv, status)) return std::nullopt;
  auto host = LoadHostConfig(config, state);
  if (host) return std::move(*host);
  *status = PrintError(host.error());
  return std::nullopt;
}

std::optional<HostConfig> ParseWithState(CLI::App& app, int argc, char** argv,
                                         const std::string& config, std::string& state,
                                         int* status) {
  if (!ParseOptions(app, argc, argv, status)) return std::nullopt;
  HostConfig host;
  if (config.empty() && !state.empty()) {
    host.state = state;
    return host;
  }
  auto read = LoadHostConfig(config, state);
  if (!read) {
    *status = PrintError(read.error());
    return std::nullopt;
  }
  state = read->state;
  return std::move(*read);
}

}  // namespace carrel
