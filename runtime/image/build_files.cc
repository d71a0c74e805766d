#include "image/build_files.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel {
namespace {

// Splits "a/b/c" into the directory "a/b" (made if missing) and the name "c".
Result<UniqueFd> OpenParent(int root, const std::string& path, std::string* name) {
  const size_t slash = path.rfind('/');
  *name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (slash == std::string::npos) return OpenInRoot(root, ".", O_RDONLY | O_DIRECTORY);
  const std::string directory = path.substr(0, slash);
  // In an image, bin and lib are links; follow them, within the root.
  if (auto there = OpenInRoot(root, directory, O_RDONLY | O_DIRECTORY)) return there;
  return MakeDirsBeneath(root, directory, 0755);
}

Result<void> CopyFile(int source, int dir, const std::string& name, const std::string& place) {
  struct stat status;
  if (::fstat(source, &status) < 0) return SysFault(place, "fstat");
  const mode_t mode = (status.st_mode & S_IXUSR) ? 0755 : 0644;
  if (::unlinkat(dir, name.c_str(), 0) < 0 && errno != ENOENT) return SysFault(place, "unlink");
  CARREL_ASSIGN(UniqueFd target, OpenBeneath(dir, name, O_WRONLY | O_CREAT | O_EXCL, mode));
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t n = ::sendfile(target.get(), source, nullptr, left);
    if (n <= 0) return SysFault(place, "copy", n < 0 ? errno : EIO);
    left -= n;
  }
  if (::fchmod(target.get(), mode) < 0) return SysFault(place, "fchmod");
  return {};
}

Result<void> CopyAny(int source, int dir, const std::string& name, const std::string& place);

Result<void> CopyTree(int source, int target, const std::string& place) {
  CARREL_ASSIGN(auto names, ListDir(source));
  for (const std::string& name : names) {
    if (name.starts_with('.') || name == "__pycache__") continue;
    const std::string path = place + "/" + name;
    auto child = OpenBeneath(source, name, O_RDONLY | O_NONBLOCK);
    if (!child)
      return BadInput(path, "cannot be added: " + child.error().what,
                      "Links and special files are not taken into an image");
    CARREL_TRY(CopyAny(child->get(), target, name, path));
  }
  return {};
}

Result<void> CopyAny(int source, int dir, const std::string& name, const std::string& place) {
  struct stat status;
  if (::fstat(source, &status) < 0) return SysFault(place, "fstat");
  if (S_ISREG(status.st_mode)) return CopyFile(source, dir, name, place);
  if (!S_ISDIR(status.st_mode)) return BadInput(place, "is neither a file nor a directory");
  CARREL_ASSIGN(UniqueFd target, MakeDirsBeneath(dir, name, 0755));
  return CopyTree(source, target.get(), place);
}

Result<UniqueFd> OpenSource(const RecipeFile& file, const Recipe& recipe,
                            const BuildOptions& options) {
  if (file.origin == RecipeFile::Origin::kProgram) {
    for (const std::string& dir : options.program_dirs)
      if (auto fd = OpenPath(dir + "/" + file.from, O_RDONLY)) return fd;
    return BadInput(file.from, "is not built", "Build carrel with its own preset first");
  }
  const bool checkout = file.origin == RecipeFile::Origin::kCheckout;
  if (checkout && options.tool_checkout.empty())
    return BadInput(recipe.name, "is built from a checkout of the tool",
                    "Name it with --tool-checkout PATH");
  const std::string& base = checkout ? options.tool_checkout : recipe.directory;
  CARREL_ASSIGN(UniqueFd dir, OpenPath(base, O_RDONLY | O_DIRECTORY));
  auto fd = OpenBeneath(dir.get(), file.from, O_RDONLY | O_NONBLOCK);
  if (!fd) return BadInput(base, "has no " + file.from + " that can be read without a link");
  return fd;
}

}  // namespace

Result<void> AddRecipeFiles(int root, const Recipe& recipe, const BuildOptions& options) {
  for (const RecipeFile& file : recipe.files) {
    CARREL_ASSIGN(UniqueFd source, OpenSource(file, recipe, options));
    std::string name;
    CARREL_ASSIGN(UniqueFd dir, OpenParent(root, file.to, &name));
    CARREL_TRY(CopyAny(source.get(), dir.get(), name, file.from));
  }
  for (const auto& [link, target] : recipe.links) {
    std::string name;
    CARREL_ASSIGN(UniqueFd dir, OpenParent(root, link.substr(1), &name));
    if (::symlinkat(target.c_str(), dir.get(), name.c_str()) < 0)
      return SysFault(link, "symlinkat");
  }
  // A start mounts on it, in a root that cannot be written.
  CARREL_TRY(MakeDirsBeneath(root, recipe.config.working_dir.substr(1), 0755));
  return {};
}

}  // namespace carrel
