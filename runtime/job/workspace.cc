#include "job/workspace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "job/patterns.h"

namespace carrel {
namespace {

// Gives every directory and file below `directory` to the action. The tree is this job's own, and
// lies below the copy-up layer, which catches what the action then does to it.
Result<void> GiveTree(int directory, const WorkspaceRequest& request) {
  std::vector<UniqueFd> open;
  CARREL_ASSIGN(UniqueFd start, OpenBeneath(directory, ".", O_RDONLY | O_DIRECTORY));
  open.push_back(std::move(start));
  while (!open.empty()) {
    const UniqueFd current = std::move(open.back());
    open.pop_back();
    if (::fchown(current.get(), request.host_uid, request.host_gid) != 0)
      return SysFault("/workspace", "fchown");
    CARREL_ASSIGN(const auto names, ListDir(current.get()));
    for (const std::string& name : names) {
      struct stat info {};
      if (::fstatat(current.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return SysFault("/workspace", "stat " + name);
      if (S_ISDIR(info.st_mode)) {
        CARREL_ASSIGN(UniqueFd below, OpenBeneath(current.get(), name, O_RDONLY | O_DIRECTORY));
        open.push_back(std::move(below));
      } else if (::fchownat(current.get(), name.c_str(), request.host_uid, request.host_gid,
                            AT_SYMLINK_NOFOLLOW) != 0) {
        return SysFault("/workspace", "chown " + name);
      }
    }
  }
  return {};
}

Result<UniqueFd> MakeOwned(int directory, const std::string& path,
                           const WorkspaceRequest& request) {
  CARREL_ASSIGN(UniqueFd made, MakeDirsBeneath(directory, path, 0755));
  if (::fchown(made.get(), request.host_uid, request.host_gid) != 0)
    return SysFault("scratch", "fchown");
  return made;
}

Result<WritableSpec> PrepareRoot(int tree, int scratch, const std::string& root, size_t index,
                                 const WorkspaceRequest& request) {
  const std::string suffix = root.empty() ? "" : "/" + root;
  WritableSpec spec{.target = "/workspace" + suffix, .upper = request.scratch + "/upper" + suffix};
  auto lower = MakeDirsBeneath(tree, root, 0755);
  if (!lower)
    return BadInput(
        "/output_spec",
        "outputs go to " + root + ", which is a file or a link in the code or the inputs",
        "Name a directory, or one that does not exist yet");
  CARREL_ASSIGN(const auto entries, ListDir(lower->get()));
  CARREL_TRY(MakeOwned(scratch, "upper" + suffix, request));
  if (entries.empty() && !root.empty()) return spec;
  CARREL_TRY(GiveTree(lower->get(), request));
  const std::string work = "work/" + std::to_string(index);
  CARREL_TRY(MakeDirsBeneath(scratch, work, 0700));
  spec.lower = request.tree + suffix;
  spec.work = request.scratch + "/" + work;
  return spec;
}

}  // namespace

std::set<std::string> WritableRoots(const std::map<std::string, Level>& output_spec,
                                    bool copy_up_always) {
  if (copy_up_always) return {""};
  std::set<std::string> all, outermost;
  for (const auto& [pattern, level] : output_spec) all.insert(PatternRoot(pattern));
  if (all.contains("")) return {""};
  for (const std::string& root : all) {
    bool inside = false;
    for (const std::string& other : all) inside = inside || root.starts_with(other + "/");
    if (!inside) outermost.insert(root);
  }
  return outermost;
}

Result<std::vector<WritableSpec>> PrepareWritable(const WorkspaceRequest& request) {
  CARREL_ASSIGN(const UniqueFd tree, OpenPath(request.tree, O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(const UniqueFd scratch, OpenPath(request.scratch, O_RDONLY | O_DIRECTORY));
  CARREL_TRY(MakeDirsBeneath(scratch.get(), "upper", 0755));
  std::vector<WritableSpec> specs;
  for (const std::string& root : WritableRoots(request.output_spec, request.copy_up_always)) {
    CARREL_ASSIGN(WritableSpec spec,
                  PrepareRoot(tree.get(), scratch.get(), root, specs.size(), request));
    specs.push_back(std::move(spec));
  }
  return specs;
}

}  // namespace carrel
