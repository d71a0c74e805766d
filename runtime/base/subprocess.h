// Host helpers (git, tar, mmdebstrap, mkfs.ext4). Never for the jail: see launch/.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

struct SubprocessOptions {
  std::map<std::string, std::string> environment;  ///< the whole environment: nothing is inherited
  std::string directory;                           ///< working directory; "" is "/"
  std::string input;                               ///< what the helper reads on stdin
  int output_fd = -1;                              ///< stdout goes here instead of into the result
  size_t max_output = 16u << 20;                   ///< bytes of stdout kept; more is an error
  std::chrono::seconds timeout{600};               ///< then the helper is killed
};

struct SubprocessResult {
  int exit_code = 0;   ///< 128+n when signal n ended it
  std::string output;  ///< stdout
  std::string errors;  ///< stderr, its first 64 KiB
};

/// Runs argv[0] (an absolute path, or a name on /usr/sbin:/usr/bin:/sbin:/bin) and waits for it. An
/// exit status that is not 0 is a result; a helper that is missing or takes too long is an Error.
/// The helper dies with carrel.
Result<SubprocessResult> RunSubprocess(const std::vector<std::string>& argv,
                                       const SubprocessOptions& options = {});

/// The same, where any exit status but 0 is a Fault that carries the end of the helper's stderr.
Result<std::string> RunChecked(const std::vector<std::string>& argv,
                               const SubprocessOptions& options = {});

}  // namespace carrel
