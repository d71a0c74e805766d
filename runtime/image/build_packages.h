// Debian packages into a new root file system, by mmdebstrap.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/build.h"
#include "image/recipe.h"

namespace carrel {

/// Installs the essential packages and the recipe's into the new directory `root`. `scratch` is a
/// directory of this build. Packages are fetched once and kept in `<work_dir>/packages`.
Result<void> InstallPackages(const Recipe& recipe, const BuildOptions& options,
                             const std::string& scratch, const std::string& root);

/// Runs a build step with its own mounts, processes, host name and a fixed environment, so that
/// nothing it does outlives it or depends on the machine. `tmp` is its TMPDIR.
Result<void> RunIsolated(const std::vector<std::string>& argv, int64_t epoch,
                         const std::string& tmp);

}  // namespace carrel
