#include "job/git_mirror.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"

namespace carrel {
namespace {

constexpr size_t kMaxListing = 64u << 20;  // 200,000 entries of 320 bytes
// No file that git writes is larger: a repository that never ends must not fill the disk.
constexpr const char* kMaxGitFile = "--fsize=17179869184";
// Every fetch adds a pack; git looks through all of them for each object.
constexpr size_t kMaxPacks = 40;

// All of git's configuration there is: no system's, no user's. GIT_CONFIG_GLOBAL reaches the
// helpers of a local fetch too, where "-c" options do not.
constexpr std::string_view kConfig = R"([safe]
	directory = *
[core]
	hooksPath = /dev/null
	attributesFile = /dev/null
	excludesFile = /dev/null
	fsmonitor = false
	symlinks = true
	protectHFS = true
	protectNTFS = false
[protocol]
	allow = never
[protocol "https"]
	allow = always
[protocol "file"]
	allow = always
[http]
	followRedirects = false
[credential]
	helper =
[fetch]
	recurseSubmodules = false
	writeCommitGraph = false
	unpackLimit = 1
[submodule]
	recurse = false
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
)";

bool IsLocal(const std::string& repository) { return repository.starts_with('/'); }

}  // namespace

Result<GitMirror> GitMirror::Open(const std::string& state_dir, const std::string& repository,
                                  bool sha256) {
  GitMirror mirror;
  mirror.repository_ = repository;
  // git runs elsewhere: a relative --state would mean another place to it.
  std::error_code error;
  mirror.directory_ = (std::filesystem::absolute(state_dir, error) / "repos").string();
  // Two kinds of object ids cannot share a mirror.
  mirror.name_ = Sha256Hex(repository).substr(0, 40) + (sha256 ? ".sha256.git" : ".git");
  CARREL_ASSIGN(mirror.directory_fd_, MakeDirs(mirror.directory_, 0700));
  CARREL_ASSIGN(mirror.lock_, OpenBeneath(mirror.directory_fd_.get(), mirror.name_ + ".lock",
                                          O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  CARREL_TRY(LockExclusively(mirror.lock_.get(), mirror.directory_));
  // A mirror without HEAD is one that a crash left half made.
  if (!OpenBeneath(mirror.directory_fd_.get(), mirror.name_ + "/HEAD", O_PATH)) {
    CARREL_TRY(RemoveTree(mirror.directory_fd_.get(), mirror.name_));
    CARREL_TRY(mirror.Make(sha256));
  }
  return mirror;
}

Result<void> GitMirror::Make(bool sha256) {
  CARREL_TRY(WriteFileAtomic(directory_fd_.get(), "gitconfig", kConfig, 0600));
  const std::string temporary = name_ + ".new";
  CARREL_TRY(RemoveTree(directory_fd_.get(), temporary));
  CARREL_TRY(Git({"init", "--quiet", "--bare",
                  "--template=", sha256 ? "--object-format=sha256" : "--object-format=sha1",
                  directory_ + "/" + temporary}));
  if (::renameat(directory_fd_.get(), temporary.c_str(), directory_fd_.get(), name_.c_str()) != 0)
    return SysFault(directory_, "rename of a new mirror");
  return {};
}

Result<std::string> GitMirror::Git(std::vector<std::string> args, const std::string& input,
                                   int output_fd, size_t max_output) const {
  SubprocessOptions options;
  options.environment = {{"HOME", "/nonexistent"},
                         {"XDG_CONFIG_HOME", "/nonexistent"},
                         {"GIT_CONFIG_NOSYSTEM", "1"},
                         {"GIT_CONFIG_GLOBAL", directory_ + "/gitconfig"},
                         {"GIT_ATTR_NOSYSTEM", "1"},
                         {"GIT_TERMINAL_PROMPT", "0"},
                         {"GIT_ASKPASS", "/bin/false"},
                         {"SSH_ASKPASS", "/bin/false"},
                         {"GIT_SSH_COMMAND", "/bin/false"},
                         // Before any configuration, also that of a hostile local repository.
                         {"GIT_ALLOW_PROTOCOL", IsLocal(repository_) ? "file" : "https"},
                         {"GIT_NO_REPLACE_OBJECTS", "1"},
                         {"GIT_NO_LAZY_FETCH", "1"}};
  options.input = input;
  options.output_fd = output_fd;
  options.max_output = max_output;
  args.insert(args.begin(), {"prlimit", kMaxGitFile, "git"});
  return RunChecked(args, options);
}

Result<void> GitMirror::Fetch() {
  auto fetched = Git({"--git-dir=" + directory_ + "/" + name_, "fetch", "--quiet", "--prune",
                      "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force",
                      "--", repository_, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"});
  if (fetched) return Tidy();
  return FetchError(std::move(fetched).error());
}

Error GitMirror::FetchError(Error error) const {
  if (error.code == ECANCELED) return error;
  error.where = repository_;
  // git's own words for what the other side lacks, whatever the transport.
  for (const char* sign : {"not our ref", "repository corruption on the remote side", "bad object",
                           "did not send all necessary objects"}) {
    if (error.what.find(sign) == std::string::npos) continue;
    error.kind = ErrorKind::kBadInput;
    error.what = "the repository is damaged, a branch or tag of it names what it does not have: " +
                 error.what;
    error.hint = "`git fsck` in the repository shows it; mend or delete the branch";
    return error;
  }
  // Nothing is known of the repository, only that its host did not answer: the agent asks again.
  for (const char* sign :
       {"Could not resolve host", "Failed to connect", "Connection refused", "Connection timed out",
        "Connection reset", "Operation timed out", "GnuTLS recv error", "SSL_read", "early EOF",
        "returned error: 502", "returned error: 503", "returned error: 504"})
    if (error.what.find(sign) != std::string::npos && !IsLocal(repository_)) error.code = EAGAIN;
  error.what = "the repository cannot be fetched: " + error.what;
  error.hint = "Check that it exists and that this host can reach it";
  return error;
}

Result<void> GitMirror::Tidy() {
  CARREL_ASSIGN(UniqueFd packs,
                OpenBeneath(directory_fd_.get(), name_ + "/objects/pack", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(auto names, ListDir(packs.get()));
  const auto count = std::count_if(names.begin(), names.end(), [](const std::string& name) {
    return name.ends_with(".pack") || name.starts_with("tmp_pack");
  });
  if (static_cast<size_t>(count) <= kMaxPacks) return {};
  CARREL_TRY(Git({"--git-dir=" + directory_ + "/" + name_, "gc", "--quiet", "--prune=now"}));
  return {};
}

Result<std::string> GitMirror::TreeOf(const std::string& commit) const {
  CARREL_ASSIGN(std::string answer, Git({"--git-dir=" + directory_ + "/" + name_, "cat-file",
                                         "--batch-check=%(objectname) %(objecttype)"},
                                        commit + "\n" + commit + "^{tree}\n"));
  const size_t line = answer.find('\n');
  if (line == std::string::npos) return Fault("git cat-file", "no answer");
  const std::string first = answer.substr(0, line);
  if (first.ends_with(" missing")) return std::string();
  if (first != commit + " commit")
    return BadInput("/commit", "the object " + commit + " is not a commit");
  const std::string second = answer.substr(line + 1);
  if (second.size() != commit.size() + 6 || !second.ends_with(" tree\n") ||
      !IsLowerHex(second.substr(0, commit.size()), commit.size()))
    return Fault("git cat-file", "the commit " + commit + " has no tree");
  return second.substr(0, commit.size());
}

Result<bool> GitMirror::IsReachable(const std::string& commit) const {
  CARREL_ASSIGN(std::string refs,
                Git({"--git-dir=" + directory_ + "/" + name_, "for-each-ref", "--count=1",
                     "--format=%(refname)", "--contains=" + commit, "refs/heads", "refs/tags"}));
  return !refs.empty();
}

Result<std::string> GitMirror::ListTree(const std::string& tree) const {
  auto listing = Git({"--git-dir=" + directory_ + "/" + name_, "ls-tree", "-r", "-t", "-l", "-z",
                      "--full-tree", tree},
                     "", -1, kMaxListing);
  if (!listing && listing.error().code == EFBIG)
    return BadInput("/commit",
                    "the commit's tree cannot be checked out: its list of files is "
                    "longer than " +
                        std::to_string(kMaxListing) + " bytes",
                    "Remove the copies of directories in directories");
  return listing;
}

Result<UniqueFd> GitMirror::ReadBlobs(const std::vector<std::string>& ids) const {
  const std::string name = name_ + ".blobs";  // one at a time: the lock is held
  (void)::unlinkat(directory_fd_.get(), name.c_str(), 0);
  CARREL_ASSIGN(UniqueFd file, OpenBeneath(directory_fd_.get(), name,
                                           O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (::unlinkat(directory_fd_.get(), name.c_str(), 0) != 0) return SysFault(name, "unlink");
  std::string input;
  for (const std::string& id : ids) input += id + "\n";
  CARREL_TRY(Git({"--git-dir=" + directory_ + "/" + name_, "cat-file", "--batch", "--buffer"},
                 input, file.get()));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return SysFault(name, "lseek");
  return file;
}

}  // namespace carrel
