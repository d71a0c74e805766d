#include "pipeline/work_tree.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "policy/names.h"
#include "policy/repository.h"

namespace carrel {
namespace {

constexpr size_t kMaxListed = 20;
constexpr size_t kMaxProject = 1u << 20;
constexpr uint64_t kMaxCopied = uint64_t{4} << 30;

// All the configuration there is, for the repository of carrel's.
constexpr const char* kConfig =
    "[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tattributesFile = /dev/null\n"
    "\tfsmonitor = false\n\tbare = false\n[gc]\n\tauto = 0\n[advice]\n\taddEmbeddedRepo = false\n";

class Tree {
 public:
  explicit Tree(const WorkTreeRequest& request) : request_(request) {}

  Result<WorkTree> Open() {
    CARREL_TRY(MakePlaces());
    CARREL_TRY(FindHead());
    CARREL_TRY(MakeRepository());
    CARREL_TRY(FindChanges());
    if (tree_.uncommitted.empty())
      CARREL_TRY(ChooseRepository());
    else
      CARREL_TRY(TakeSnapshot());
    return ReadProjectFile();
  }

 private:
  std::string place() const { return directory_ + "/" + name_; }

  // A command in the tester's directory reads the configuration that it finds there. That names
  // programs: of the ways to them a command takes the fetch of a missing object (a "promisor" and
  // its uploadpack) by itself.
  Result<std::string> Git(std::vector<std::string> args, const std::string& date = "",
                          const std::string& input = "") const {
    SubprocessOptions options;
    options.input = input;
    options.environment = {{"HOME", "/nonexistent"},
                           {"XDG_CONFIG_HOME", "/nonexistent"},
                           {"GIT_ALLOW_PROTOCOL", "none"},
                           {"GIT_NO_LAZY_FETCH", "1"},
                           {"GIT_NO_REPLACE_OBJECTS", "1"},
                           {"GIT_CONFIG_NOSYSTEM", "1"},
                           {"GIT_CONFIG_GLOBAL", directory_ + "/gitconfig"},
                           {"GIT_ATTR_NOSYSTEM", "1"},
                           {"GIT_TERMINAL_PROMPT", "0"},
                           {"GIT_OPTIONAL_LOCKS", "0"},
                           {"GIT_INDEX_FILE", place() + "/index"}};
    if (!date.empty())
      for (const char* who : {"AUTHOR", "COMMITTER"}) {
        options.environment[std::string("GIT_") + who + "_NAME"] = "carrel pipeline";
        options.environment[std::string("GIT_") + who + "_EMAIL"] = "carrel@localhost";
        options.environment[std::string("GIT_") + who + "_DATE"] = date;
      }
    args.insert(args.begin(), "git");
    CARREL_ASSIGN(std::string output, RunChecked(args, options));
    return output;
  }
  // A command in carrel's repository, on the tester's files.
  Result<std::string> Own(std::vector<std::string> args, const std::string& date = "",
                          const std::string& input = "") const {
    args.insert(args.begin(), {"--git-dir=" + place(), "--work-tree=" + tree_.directory, "-c",
                               "core.bare=false"});
    return Git(std::move(args), date, input);
  }
  static std::string Line(const std::string& text) { return text.substr(0, text.find('\n')); }

  Result<void> MakePlaces() {
    std::error_code error;
    tree_.directory = std::filesystem::canonical(request_.directory, error).string();
    if (error) return BadInput(request_.directory, "there is no such directory");
    directory_ = (std::filesystem::absolute(request_.state_dir, error) / "pipelines").string();
    name_ = Sha256Hex(tree_.directory).substr(0, 40) + ".git";
    CARREL_ASSIGN(directory_fd_, MakeDirs(directory_, 0700));
    CARREL_TRY(WriteFileAtomic(directory_fd_.get(), "gitconfig", kConfig, 0600));
    CARREL_ASSIGN(tree_.lock, OpenBeneath(directory_fd_.get(), name_ + ".lock",
                                          O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    if (::flock(tree_.lock.get(), LOCK_EX | LOCK_NB) != 0)
      return BadInput(tree_.directory, "a pipeline of this directory is running already",
                      "Wait until it ends, or cancel it");
    return {};
  }

  Result<void> FindHead() {
    auto top = Git({"-C", tree_.directory, "rev-parse", "--show-toplevel"});
    if (!top || Line(*top) != tree_.directory)
      return BadInput(tree_.directory,
                      top ? "is inside the git work tree " + Line(*top) : "is no git work tree",
                      top ? "Name that directory: project.yaml belongs there"
                          : "A job runs a commit: `git init`, `git add`, `git commit`");
    auto commit = Git({"-C", tree_.directory, "rev-parse", "--verify", "HEAD^{commit}"});
    if (!commit)
      return BadInput(tree_.directory, "has no commit yet", "Commit the study: `git commit`");
    tree_.commit = Line(*commit);
    if (!IsCommitHash(tree_.commit)) return Fault("git", "HEAD is no commit: " + tree_.commit);
    CARREL_ASSIGN(common_, Git({"-C", tree_.directory, "rev-parse", "--path-format=absolute",
                                "--git-common-dir"}));
    common_ = Line(common_);
    auto branch = Git({"-C", tree_.directory, "symbolic-ref", "--short", "--quiet", "HEAD"});
    if (branch) tree_.branch = Line(*branch);
    return {};
  }

  // A bare repository that reads the tester's objects as an alternate: nothing is copied.
  Result<void> MakeRepository() {
    const bool sha256 = tree_.commit.size() == 64;
    CARREL_TRY(RemoveTree(directory_fd_.get(), name_ + "/index.lock"));
    if (!OpenBeneath(directory_fd_.get(), name_ + "/HEAD", O_PATH)) {
      CARREL_TRY(RemoveTree(directory_fd_.get(), name_));
      CARREL_TRY(Git({"init", "--quiet", "--bare", "--template=",
                      sha256 ? "--object-format=sha256" : "--object-format=sha1", place()}));
    }
    CARREL_ASSIGN(const UniqueFd info,
                  MakeDirsBeneath(directory_fd_.get(), name_ + "/objects/info", 0700));
    CARREL_TRY(WriteFileAtomic(info.get(), "alternates", common_ + "/objects\n", 0600));
    CARREL_TRY(Own({"update-ref", "--no-deref", "HEAD", tree_.commit}));
    return {};
  }

  Result<void> FindChanges() {
    CARREL_TRY(Own({"read-tree", tree_.commit}));
    CARREL_ASSIGN(
        const std::string status,
        Own({"-c", "core.excludesFile=" + common_ + "/info/exclude", "status", "--porcelain=v1",
             "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=all"}));
    for (size_t start = 0; start < status.size();) {
      const size_t end = std::min(status.find('\0', start), status.size());
      if (end > start + 3) tree_.uncommitted.push_back(status.substr(start + 3, end - start - 3));
      start = end + 1;
    }
    if (tree_.uncommitted.empty() || request_.allow_uncommitted) return {};
    std::string names;
    for (size_t i = 0; i < tree_.uncommitted.size() && i < kMaxListed; ++i)
      names += "\n  " + tree_.uncommitted[i];
    if (tree_.uncommitted.size() > kMaxListed)
      names += "\n  and " + std::to_string(tree_.uncommitted.size() - kMaxListed) + " more";
    return BadInput(tree_.directory,
                    "a job runs a commit, and files are not committed; commit them, list them in "
                    ".gitignore, or use --allow-uncommitted:" +
                        names);
  }

  Result<void> ChooseRepository() {
    const auto& allowed = request_.allowed_repositories;
    tree_.repo_url = tree_.directory;
    if (IsRepositoryAllowed(tree_.repo_url, allowed)) return {};
    auto origin = Git({"-C", tree_.directory, "config", "--get", "remote.origin.url"});
    if (origin) {
      auto normal = NormalRepository(Line(*origin));
      if (normal && IsRepositoryAllowed(*normal, allowed)) {
        tree_.repo_url = *normal;
        return {};
      }
    }
    return Refused("/allowed_repositories",
                   "the configuration allows neither " + tree_.directory + " nor its origin" +
                       (origin ? " " + Line(*origin) : ""),
                   "Add one of them to `allowed_repositories`");
  }

  // The same files on the same commit give the same snapshot: its times are the commit's.
  Result<void> TakeSnapshot() {
    tree_.repo_url = place();
    if (!IsRepositoryAllowed(tree_.repo_url, request_.allowed_repositories))
      return Refused("/allowed_repositories",
                     "the configuration does not allow " + directory_ +
                         ", where snapshots of uncommitted files are kept",
                     "Commit the files, or add it to `allowed_repositories`");
    CARREL_ASSIGN(const std::string date, Own({"log", "-1", "--format=%cI", tree_.commit}));
    CARREL_TRY(AddCopies());
    CARREL_ASSIGN(const std::string tree, Own({"write-tree"}));
    CARREL_ASSIGN(const std::string commit, Own({"commit-tree", Line(tree), "-p", tree_.commit,
                                                 "-m", "Uncommitted files of " + tree_.directory},
                                                Line(date)));
    tree_.commit = Line(commit);
    return Ignore(Own({"update-ref", "refs/heads/snapshot-" + tree_.commit, tree_.commit}));
  }

  // Adds what is not committed from copies. Not `add --all`: it runs `status` in each repository
  // within this one, with the configuration that it finds there, which names programs. And git
  // opens a file by its name after it has looked at it: whoever writes in the study's directory
  // could put a link to a file of root's there in between.
  Result<void> AddCopies() {
    const std::string copies = place() + "/snapshot";
    CARREL_TRY(RemoveTree(directory_fd_.get(), name_ + "/snapshot"));
    CARREL_ASSIGN(const UniqueFd to,
                  MakeDirsBeneath(directory_fd_.get(), name_ + "/snapshot", 0700));
    CARREL_ASSIGN(const UniqueFd from, OpenPath(tree_.directory, O_RDONLY | O_DIRECTORY));
    std::string present, gone;
    for (const std::string& name : tree_.uncommitted) {
      if (name.ends_with('/')) continue;  // a repository within: none of the study's code
      CARREL_ASSIGN(const bool copied, CopyBeneath(from.get(), to.get(), name));
      (copied ? present : gone) += name + '\0';
    }
    CARREL_TRY(Own({"update-index", "--force-remove", "-z", "--stdin"}, "", gone));
    CARREL_TRY(Git({"--git-dir=" + place(), "--work-tree=" + copies, "-c", "core.bare=false",
                    "update-index", "--add", "--replace", "-z", "--stdin"},
                   "", present));
    return RemoveTree(directory_fd_.get(), name_ + "/snapshot");
  }

  // False when there is no such file or link.
  Result<bool> CopyBeneath(int from, int to, const std::string& name) {
    auto found = OpenBeneath(from, name, O_PATH | O_NOFOLLOW);
    if (!found) {
      const int code = found.error().code;
      if (code == ENOENT || code == ENOTDIR || code == ELOOP) return false;
      return std::move(found).error();
    }
    struct stat info {};
    if (::fstat(found->get(), &info) != 0) return SysFault(name, "fstat");
    const size_t slash = name.rfind('/') + 1;  // npos + 1 is 0
    CARREL_ASSIGN(const UniqueFd parent, MakeDirsBeneath(to, name.substr(0, slash), 0700));
    if (S_ISLNK(info.st_mode)) {
      std::string target(4096, '\0');
      const ssize_t size = ::readlinkat(found->get(), "", target.data(), target.size());
      if (size < 0) return SysFault(name, "readlink");
      target.resize(static_cast<size_t>(size));
      if (::symlinkat(target.c_str(), parent.get(), name.c_str() + slash) != 0)
        return SysFault(name, "symlink");
      return true;
    }
    if (!S_ISREG(info.st_mode)) return false;
    CARREL_ASSIGN(const UniqueFd in, OpenBeneath(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (::fstat(in.get(), &info) != 0) return SysFault(name, "fstat");
    if (!S_ISREG(info.st_mode)) return false;
    CARREL_ASSIGN(const UniqueFd out,
                  OpenBeneath(parent.get(), name.substr(slash), O_WRONLY | O_CREAT | O_EXCL,
                              (info.st_mode & 0100) != 0 ? 0700 : 0600));
    for (;;) {
      const ssize_t size = ::sendfile(out.get(), in.get(), nullptr, size_t{1} << 20);
      if (size < 0) return SysFault(name, "sendfile");
      if (size == 0) return true;
      copied_ += static_cast<uint64_t>(size);
      if (copied_ > kMaxCopied)
        return BadInput(name, "the files that are not committed have more than 4 GiB",
                        "Data belongs elsewhere: list it in .gitignore");
    }
  }
  static Result<void> Ignore(const Result<std::string>& result) {
    if (!result) return result.error();
    return {};
  }

  Result<WorkTree> ReadProjectFile() {
    auto size = Own({"cat-file", "-s", tree_.commit + ":project.yaml"});
    if (!size)
      return BadInput(tree_.directory, "the commit has no project.yaml", "Add and commit one");
    if (Line(*size).size() > 7 || std::stoul(Line(*size)) > kMaxProject)
      return BadInput(tree_.directory + "/project.yaml", "has more than 1 MiB");
    CARREL_ASSIGN(tree_.project, Own({"cat-file", "blob", tree_.commit + ":project.yaml"}));
    return std::move(tree_);
  }

  const WorkTreeRequest& request_;
  WorkTree tree_;
  std::string directory_, name_, common_;
  uint64_t copied_ = 0;
  UniqueFd directory_fd_;
};

}  // namespace

Result<WorkTree> OpenWorkTree(const WorkTreeRequest& request) { return Tree(request).Open(); }

}  // namespace carrel
