#include "cli/host_options.h"

#include "cli/command.h"

namespace carrel {

void AddHostOptions(CLI::App& app, std::string& config, std::string& state) {
  app.add_option("--config", config, "configuration (default: /etc/carrel/carrel.json)");
  app.add_option("--state", state, "directory under which carrel keeps everything");
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

void AddStateOption(CLI::App& app, std::string& state) {
  app.add_option("--state", state,
                 "directory of all that is carrel's own (default: the configuration's)");
}

bool ParseWithState(CLI::App& app, int argc, char** argv, std::string& state, int* status) {
  if (!ParseOptions(app, argc, argv, status)) return false;
  if (!state.empty()) return true;
  auto host = LoadHostConfig("");
  if (host)
    state = host->state;
  else
    *status = PrintError(host.error());
  return bool(host);
}

}  // namespace carrel
