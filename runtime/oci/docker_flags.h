// Docker's own way of writing options: parsed by table, so that what carrel does not know is
// refused loudly and not skipped.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/docker_run.h"

namespace carrel {

/// One option: what to do with its value. A flag takes none ("true", or what follows "=").
struct DockerFlag {
  bool takes_value = true;
  std::function<Result<void>(const std::string& value)> apply;
};

/// By name without dashes ("name", "d"); short flags can be joined ("-it").
using DockerFlags = std::map<std::string, DockerFlag>;

/// Flag tables' usual entries.
DockerFlag TextFlag(std::string& target);
DockerFlag SwitchFlag(bool& target);

/// Applies the options of `arguments` up to the first that is none ("stop_at_first", for run) or
/// all of them, and returns the rest. kBadInput "unknown flag: --x".
Result<std::vector<std::string>> ParseDockerFlags(const std::vector<std::string>& arguments,
                                                  const DockerFlags& flags, bool stop_at_first);

/// The options and operands of `docker run`. `environment` looks up `--env NAME`.
Result<DockerRunOptions> ParseDockerRun(const std::vector<std::string>& arguments,
                                        const std::function<const char*(const char*)>& environment);

/// "4G", "512m", "1024", "64kb", as docker reads sizes.
Result<uint64_t> ParseDockerSize(const std::string& flag, const std::string& text);

}  // namespace carrel
