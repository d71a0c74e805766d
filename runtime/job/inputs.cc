#include "job/inputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "base/digest.h"
#include "base/fs.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "job/collect_copy.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr size_t kMaxManifest = 256u << 20;

// What the manifest says of a file that is to be an input.
struct Wanted {
  std::string job_id;
  std::string sha256;  ///< or empty
  std::string where;   ///< the member of the job definition that asks for it
};

Result<UniqueFd> OpenWorkspace(const std::string& base, const std::string& workspace) {
  CARREL_ASSIGN(UniqueFd root, OpenPath(base, O_RDONLY | O_DIRECTORY));
  return OpenBeneath(root.get(), "workspaces/" + workspace, O_RDONLY | O_DIRECTORY);
}

Result<Json> ReadManifest(const InputsRequest& request) {
  const std::string name = "manifest.json of the workspace " + request.workspace;
  auto workspace = OpenWorkspace(request.medium_privacy, request.workspace);
  if (!workspace && workspace.error().code == ENOENT) return Json::object();
  if (!workspace) return std::move(workspace).error();
  auto file =
      OpenBeneath(workspace->get(), "metadata/manifest.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file && file.error().code == ENOENT) return Json::object();
  if (!file) return std::move(file).error();
  CARREL_ASSIGN(std::string text, ReadFd(file->get(), kMaxManifest));
  CARREL_ASSIGN(Json manifest, ParseJson(text, name, kMaxManifest));
  auto outputs = manifest.find("outputs");
  if (outputs == manifest.end() || !outputs->is_object())
    return Fault(name, "it has no outputs", "The manifest is damaged");
  return *outputs;
}

std::string TextOf(const Json& entry, const char* key) {
  if (!entry.is_object()) return "";
  auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : "";
}

// The files that the request means, by path.
Result<std::map<std::string, Wanted>> FindWanted(const InputsRequest& request) {
  std::map<std::string, Wanted> wanted;
  CARREL_ASSIGN(const Json outputs, ReadManifest(request));
  for (size_t i = 0; i < request.job_ids.size(); ++i) {
    const std::string& id = request.job_ids[i];
    const std::string where = "/input_job_ids/" + std::to_string(i);
    size_t found = 0;
    for (const auto& [path, entry] : outputs.items()) {
      if (TextOf(entry, "job_id") != id) continue;
      if (!IsNormalRelativePath(path) || path.starts_with("metadata/"))
        return Fault("manifest.json of the workspace " + request.workspace,
                     "it lists a path that is no output", "The manifest is damaged");
      ++found;
      wanted[path] = {id, TextOf(entry, "content_hash"), where};
    }
    if (found == 0)
      return BadInput(where,
                      "the workspace " + request.workspace + " has no outputs of the job " + id,
                      "Run that action again: its outputs are missing, or a later job's have "
                      "replaced them");
  }
  for (size_t i = 0; i < request.paths.size(); ++i) {
    const std::string& path = request.paths[i];
    const std::string where = "/inputs/" + std::to_string(i);
    if (!IsNormalRelativePath(path) || path.starts_with("metadata/"))
      return BadInput(where, "is not a path of an output");
    auto entry = outputs.find(path);
    const bool listed = entry != outputs.end();
    wanted.emplace(path, Wanted{listed ? TextOf(*entry, "job_id") : "",
                                listed ? TextOf(*entry, "content_hash") : "", where});
  }
  return wanted;
}

// A new file at `path` beneath the destination. What the code has there is in the way.
Result<UniqueFd> CreateInput(int destination, const std::string& path, const std::string& where) {
  auto collision = [&](const Error& error) -> Error {
    if (error.code != EEXIST && error.code != ENOTDIR && error.code != ELOOP &&
        error.code != EISDIR)
      return error;
    return BadInput(where, "the input " + path + " collides with a file of the study's code",
                    "Rename one of them, or remove it from the repository");
  };
  const size_t slash = path.rfind('/');
  UniqueFd parent;
  CARREL_ASSIGN(parent, OpenBeneath(destination, ".", O_RDONLY | O_DIRECTORY));
  for (size_t start = 0; slash != std::string::npos && start < slash;) {
    const size_t end = path.find('/', start);
    const std::string part = path.substr(start, end - start);
    const bool made = ::mkdirat(parent.get(), part.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) return SysFault(path, "mkdir");
    auto opened = OpenBeneath(parent.get(), part, O_RDONLY | O_DIRECTORY);
    if (!opened) return collision(opened.error());
    if (made && ::fchmod(opened->get(), 0755) != 0) return SysFault(path, "fchmod");
    parent = std::move(*opened);
    start = end + 1;
  }
  auto file = OpenBeneath(parent.get(), path.substr(slash + 1),
                          O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return collision(file.error());
  return file;
}

Result<InputFile> CopyInput(int workspace, const std::string& path, const Wanted& wanted,
                            int destination, Copier& copier) {
  // O_NONBLOCK: a FIFO in the file's place must not hold the run.
  auto source = OpenBeneath(workspace, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!source)
    return BadInput(wanted.where,
                    "the input " + path +
                        (wanted.job_id.empty() ? "" : " of the job " + wanted.job_id) +
                        " is missing at level 3 (" + ErrnoName(source.error().code) + ")",
                    "Run the action that makes it again");
  struct stat info {};
  if (::fstat(source->get(), &info) != 0) return SysFault(path, "fstat");
  if (!S_ISREG(info.st_mode))
    return BadInput(wanted.where, "the input " + path + " is not a regular file");
  CARREL_ASSIGN(UniqueFd copy, CreateInput(destination, path, wanted.where));
  auto copied = copier.Copy(source->get(), copy.get(), static_cast<uint64_t>(info.st_size));
  if (!copied) {
    Error error = std::move(copied).error();
    error.where = path;
    return error;
  }
  if (!wanted.sha256.empty() && wanted.sha256 != copied->sha256)
    return BadInput(wanted.where,
                    "the input " + path + " is not what the job " + wanted.job_id + " made",
                    "It was changed at level 3 after the job; run that action again");
  if (::fchmod(copy.get(), 0644) != 0) return SysFault(path, "fchmod");
  return InputFile{path, wanted.job_id, copied->sha256, copied->size};
}

}  // namespace

Result<std::vector<InputFile>> GatherInputs(const InputsRequest& request) {
  std::vector<InputFile> files;
  if (request.job_ids.empty() && request.paths.empty()) return files;
  if (!IsName(request.workspace)) return BadInput("/workspace", "is not a name");
  CARREL_ASSIGN(const auto wanted, FindWanted(request));
  auto workspace = OpenWorkspace(request.high_privacy, request.workspace);
  if (!workspace)
    return BadInput(wanted.begin()->second.where,
                    "the workspace " + request.workspace + " has no level 3 files (" +
                        ErrnoName(workspace.error().code) + ")",
                    "Run the action that makes the input first");
  Copier copier(&CheckCancelled);
  for (const auto& [path, file] : wanted) {
    CARREL_ASSIGN(InputFile copied,
                  CopyInput(workspace->get(), path, file, request.destination, copier));
    files.push_back(std::move(copied));
  }
  return files;
}

}  // namespace carrel
