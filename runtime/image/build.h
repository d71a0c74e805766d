// From a recipe to an OCI image layout, with nothing but Debian packages.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/build_layer.h"
#include "image/recipe.h"

namespace carrel {

struct BuildOptions {
  std::string work_dir;              ///< builds happen below it; fetched packages are kept in it
  std::string layout;                ///< where the layout goes (a new directory); "": work_dir
  std::string tool_checkout;         ///< where "checkout:" files are; may be empty
  std::string program_dirs[2];       ///< where "program:" files are, in the order of the search
  std::string apt_dir = "/etc/apt";  ///< the machine's configuration of package sources
  /// Told what is being done, one line at a time.
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

/// A directory of one build, locked while it is in use and removed at the end.
class BuildDir {
 public:
  /// Makes one below `work_dir`, and removes those that killed builds have left.
  static Result<BuildDir> Make(const std::string& work_dir);
  BuildDir(BuildDir&&) = default;
  BuildDir& operator=(BuildDir&&) = delete;
  ~BuildDir();

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  BuildDir() = default;
  UniqueFd parent_;
  UniqueFd fd_;
  std::string path_;
};

struct BuiltImage {
  std::string digest;  ///< "sha256:..." of the manifest
  std::string layout;  ///< path of the OCI layout; below `dir` unless the options named another
  Layer layer;
  BuildDir dir;
};

/// Builds `recipe` into an OCI layout. The same recipe, package versions and added files give the
/// same digest, whatever the time, host name, directory, umask, time zone or locale. Needs root and
/// mmdebstrap. Leaves no mount, no process and, when it fails, no file but fetched packages.
Result<BuiltImage> BuildImage(const Recipe& recipe, const BuildOptions& options);

}  // namespace carrel
