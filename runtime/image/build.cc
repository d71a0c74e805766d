#include "image/build.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/subprocess.h"
#include "image/build_files.h"
#include "image/build_layout.h"
#include "image/build_packages.h"

namespace carrel {
namespace {

constexpr std::string_view kPrefix = "build-";

// Builds that were killed hold no lock on their directory any more.
Result<void> RemoveLeftovers(int work_dir) {
  CARREL_ASSIGN(auto names, ListDir(work_dir));
  for (const std::string& name : names) {
    if (!name.starts_with(kPrefix)) continue;
    auto dir = OpenBeneath(work_dir, name, O_RDONLY | O_DIRECTORY);
    if (dir && ::flock(dir->get(), LOCK_EX | LOCK_NB) == 0) CARREL_TRY(RemoveTree(work_dir, name));
  }
  return {};
}

// The recipe's own commands, run inside with nothing of the host but /proc.
Result<void> RunInside(const std::string& root, const Recipe& recipe) {
  for (const std::vector<std::string>& command : recipe.run) {
    std::vector<std::string> argv = {"chroot", root};
    argv.insert(argv.end(), command.begin(), command.end());
    CARREL_TRY(RunIsolated(argv, recipe.epoch, "/tmp"));
  }
  return {};
}

Result<Layer> PackLayer(int dir, int layout, const Recipe& recipe) {
  CARREL_ASSIGN(UniqueFd root, OpenBeneath(dir, "root", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(UniqueFd out, OpenBeneath(layout, "layer", O_WRONLY | O_CREAT | O_EXCL, 0644));
  return WriteLayer(root.get(), recipe.epoch, out.get());
}

Result<BuiltImage> BuildIn(BuildDir dir, const Recipe& recipe, const BuildOptions& options) {
  const std::string root = dir.path() + "/root";
  options.progress("installing the packages of " + recipe.name);
  CARREL_TRY(InstallPackages(recipe, options, dir.path(), root));
  CARREL_ASSIGN(UniqueFd root_fd, OpenBeneath(dir.fd(), "root", O_RDONLY | O_DIRECTORY));
  CARREL_TRY(AddRecipeFiles(root_fd.get(), recipe, options));
  CARREL_TRY(RunInside(root, recipe));

  options.progress("packing " + recipe.name);
  const std::string layout = options.layout.empty() ? dir.path() + "/layout" : options.layout;
  if (::mkdir(layout.c_str(), 0755) < 0) return SysFault(layout, "mkdir");
  CARREL_ASSIGN(UniqueFd layout_fd, OpenPath(layout, O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(Layer layer, PackLayer(dir.fd(), layout_fd.get(), recipe));
  CARREL_ASSIGN(std::string digest, WriteLayout(layout_fd.get(), recipe, layer));
  return BuiltImage{digest, layout, layer, std::move(dir)};
}

}  // namespace

Result<BuildDir> BuildDir::Make(const std::string& work_dir) {
  BuildDir dir;
  CARREL_ASSIGN(dir.parent_, MakeDirs(work_dir, 0700));
  // One at a time from here to the lock of our own: nobody takes it for a leftover in between.
  if (::flock(dir.parent_.get(), LOCK_EX) < 0) return SysFault(work_dir, "flock");
  CARREL_TRY(RemoveLeftovers(dir.parent_.get()));
  std::string path = work_dir + "/" + std::string(kPrefix) + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return SysFault(path, "mkdtemp");
  dir.path_ = path;
  CARREL_ASSIGN(dir.fd_, OpenPath(path, O_RDONLY | O_DIRECTORY));
  // Programs in the new root that give up root must be able to reach it.
  if (::fchmod(dir.fd(), 0711) < 0 || ::flock(dir.fd(), LOCK_EX) < 0)
    return SysFault(path, "lock the build directory");
  ::flock(dir.parent_.get(), LOCK_UN);
  return dir;
}

BuildDir::~BuildDir() {
  if (!fd_) return;
  // What cannot be removed now is a leftover for the next build.
  (void)RemoveTree(parent_.get(), path_.substr(path_.rfind('/') + 1)).has_value();
}

Result<BuiltImage> BuildImage(const Recipe& recipe, const BuildOptions& options) {
  if (::geteuid() != 0)
    return BadInput("image build", "needs root", "mmdebstrap makes the files of the image as root");
  struct stat status;
  if (!options.layout.empty() && ::lstat(options.layout.c_str(), &status) == 0)
    return BadInput(options.layout, "is there already", "Name a directory that does not exist");
  const mode_t old_umask = ::umask(022);
  auto dir = BuildDir::Make(options.work_dir);
  Result<BuiltImage> built =
      dir ? BuildIn(std::move(*dir), recipe, options) : Result<BuiltImage>(dir.error());
  ::umask(old_umask);
  return built;
}

}  // namespace carrel
