#include "policy/policy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "policy/names.h"
#include "policy/policy_decode.h"

namespace carrel {
namespace {

constexpr size_t kMaxPolicyBytes = 16u << 20;
constexpr int kMaxPolicyDepth = 8;

Result<void> ReadInto(int dir, const std::string& prefix, int depth, size_t& bytes,
                      PolicyFiles& files) {
  if (depth > kMaxPolicyDepth) return BadInput(prefix, "directories nested deeper than 8");
  CARREL_ASSIGN(auto names, ListDir(dir));
  for (const std::string& name : names) {
    if (prefix.empty() && name == ".git") continue;
    const std::string path = prefix.empty() ? name : prefix + "/" + name;
    // O_NONBLOCK: a FIFO in the directory must not hold the run.
    auto fd = OpenBeneath(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    if (!fd)
      return BadInput(path, "cannot be opened as a file of the policy: " + fd.error().ToString(),
                      "A policy directory has plain files and directories only, no links");
    struct stat info {};
    if (::fstat(fd->get(), &info) != 0) return SysFault(path, "fstat");
    if (S_ISDIR(info.st_mode)) {
      CARREL_TRY(ReadInto(fd->get(), path, depth + 1, bytes, files));
      continue;
    }
    if (!S_ISREG(info.st_mode)) return BadInput(path, "is neither a file nor a directory");
    CARREL_ASSIGN(files[path], ReadFd(fd->get(), kMaxPolicyBytes));
    bytes += files[path].size();
    if (bytes > kMaxPolicyBytes) return BadInput(path, "the policy is larger than 16 MiB");
  }
  return {};
}

// git without any configuration but the repository's own, and none of that which runs programs.
Result<std::string> Git(const std::string& directory, std::vector<std::string> args) {
  args.insert(args.begin(), {"git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
                             "-c", "safe.directory=*", "-C", directory});
  SubprocessOptions options;
  options.environment = {{"HOME", "/nonexistent"},
                         {"GIT_CONFIG_NOSYSTEM", "1"},
                         {"GIT_CONFIG_GLOBAL", "/dev/null"},
                         {"GIT_CONFIG_COUNT", "1"},
                         {"GIT_CONFIG_KEY_0", "safe.directory"},
                         {"GIT_CONFIG_VALUE_0", "*"},
                         {"GIT_OPTIONAL_LOCKS", "0"},
                         {"GIT_ALLOW_PROTOCOL", "none"},
                         {"GIT_NO_REPLACE_OBJECTS", "1"}};
  options.timeout = std::chrono::seconds(30);
  return RunChecked(args, options);
}

bool IsInGitCheckout(const std::string& dir) {
  std::error_code error;
  for (auto path = std::filesystem::canonical(dir, error); !error; path = path.parent_path()) {
    if (::access((path / ".git").c_str(), F_OK) == 0) return true;
    if (path == path.root_path()) break;
  }
  return false;
}

std::string DigestOf(const PolicyFiles& files) {
  Sha256 hash;
  for (const auto& [path, text] : files)
    hash.Update(path + '\0' + std::to_string(text.size()) + '\0' + text);
  return hash.HexFinal();
}

}  // namespace

const std::vector<PermissionFile>& PermissionFiles() {
  static const std::vector<PermissionFile> kFiles = {
      {"cohort-extractor", "", ""},
      {"databases", "", "databases"},
      {"datasets", "", "datasets"},
      {"event-level-data", "event_level_data", ""},
      {"gp-unactivated", "include_gp_unactivated", ""},
      {"ndoo", "include_ndoo", ""},
      {"plain-relay", "", "databases"},
      {"sql-runner", "", ""},
      {"type-one-opt-outs", "include_t1oo", ""},
  };
  return kFiles;
}

bool IsOtherPermission(const std::string& name) {
  const std::string lower = Lower(name);
  const auto& files = PermissionFiles();
  return lower.starts_with("include_") ||
         std::any_of(files.begin(), files.end(), [&](const PermissionFile& file) {
           return *file.ehrql_name != '\0' && lower == file.ehrql_name;
         });
}

const std::set<std::string>& Level4Checks() {
  static const std::set<std::string> kChecks = {"type", "size", "rows", "patient_identifiers"};
  return kChecks;
}

const std::set<std::string>& ProjectKinds() {
  static const std::set<std::string> kKinds = {"research", "service_evaluation", "audit",
                                               "short_data_report", "internal"};
  return kKinds;
}

const Project* Policy::FindProject(const std::string& id_or_number) const {
  if (auto found = projects.find(id_or_number); found != projects.end()) return &found->second;
  for (const auto& [id, project] : projects)
    if (!project.number.empty() && project.number == id_or_number) return &project;
  return nullptr;
}

const Grant* Policy::FindGrant(const std::string& file, const std::string& project, int64_t now_ns,
                               const std::string& item) const {
  auto found = permissions.find(file);
  if (found == permissions.end()) return nullptr;
  for (const Grant& grant : found->second) {
    if (grant.project != project || !grant.InForce(now_ns)) continue;
    if (item.empty() ||
        std::find(grant.items.begin(), grant.items.end(), item) != grant.items.end())
      return &grant;
  }
  return nullptr;
}

std::map<std::string, std::string> Policy::EhrqlPermissions(const std::string& project,
                                                            int64_t now_ns) const {
  std::map<std::string, std::string> granted;
  for (const PermissionFile& file : PermissionFiles()) {
    auto grants = permissions.find(file.file);
    if (grants == permissions.end()) continue;
    const bool datasets = std::string_view(file.items) == "datasets";
    if (*file.ehrql_name == '\0' && !datasets) continue;
    for (const Grant& grant : grants->second) {
      if (project.empty() || grant.project != project || !grant.InForce(now_ns)) continue;
      if (*file.ehrql_name != '\0') granted.emplace(file.ehrql_name, grant.entry);
      if (datasets)
        for (const std::string& item : grant.items)
          if (!IsOtherPermission(item)) granted.emplace(item, grant.entry);
    }
  }
  return granted;
}

Result<PolicyFiles> ReadPolicyFiles(const std::string& dir) {
  auto opened = OpenPath(dir, O_RDONLY | O_DIRECTORY);
  if (!opened)
    return BadInput(dir, "no policy directory: " + opened.error().ToString(),
                    "`policies` in the configuration names it");
  PolicyFiles files;
  size_t bytes = 0;
  auto read = ReadInto(opened->get(), "", 0, bytes, files);
  if (!read) {
    Error error = std::move(read).error();
    error.where = dir + "/" + error.where;
    return error;
  }
  return files;
}

Result<PolicyFiles> ReadPolicyRevision(const std::string& tree, const std::string& directory) {
  const size_t colon = tree.find(':');
  const std::string revision = tree.substr(0, colon);
  std::string path = colon == std::string::npos ? "policies" : tree.substr(colon + 1);
  if (path == ".") path.clear();  // the top
  if (revision.empty() || revision[0] == '-' || (!path.empty() && !IsNormalRelativePath(path)))
    return BadInput(tree, "neither a policy directory nor a git revision (REV or REV:DIR)");
  auto root = Git(directory, {"rev-parse", "--verify", "--end-of-options", revision + ":" + path});
  if (!root)
    return BadInput(tree, "neither a policy directory nor a revision of the repository here",
                    "Give two directories or, inside a git checkout, REV:DIR (REV is REV:policies, "
                    "REV: is its top)");
  root->pop_back();
  CARREL_ASSIGN(std::string listing,
                Git(directory, {"ls-tree", "-r", "-z", "--full-tree", "--name-only", *root}));
  PolicyFiles files;
  for (size_t start = 0; start < listing.size();) {
    const size_t end = listing.find('\0', start);
    const std::string name = listing.substr(start, end - start);
    CARREL_ASSIGN(files[name], Git(directory, {"cat-file", "blob", *root + ":" + name}));
    start = end + 1;
  }
  return files;
}

Result<Policy> DecodePolicy(const PolicyFiles& files) {
  CARREL_ASSIGN(Policy policy, policy_decode::DecodePolicyFiles(files));
  policy.digest = DigestOf(files);
  return policy;
}

Result<Policy> LoadPolicy(const std::string& dir, PolicyFiles* read) {
  CARREL_ASSIGN(PolicyFiles files, ReadPolicyFiles(dir));
  auto policy = DecodePolicy(files);
  if (read != nullptr) *read = std::move(files);
  if (!policy) {
    Error error = std::move(policy).error();
    error.where = dir;
    return error;
  }
  if (!IsInGitCheckout(dir)) return policy;
  auto commit = Git(dir, {"rev-parse", "--verify", "HEAD^{commit}"});
  auto status = Git(dir, {"status", "--porcelain", "--ignored", "--", "."});
  // A directory that merely lies below somebody's repository is no reason to fail; the digest above
  // is the identity, the commit a help for readers.
  if (commit && status && IsCommitHash(commit->substr(0, commit->size() - 1))) {
    policy->commit = commit->substr(0, commit->size() - 1);
    policy->commit_changed = !status->empty();
  }
  return policy;
}

}  // namespace carrel
