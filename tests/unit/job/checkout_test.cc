#include "job/checkout.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"

namespace carrel {
namespace {

// A repository, a state directory and a destination, all temporary.
class CheckoutTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/var/tmp/policy-checkout-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    repo_ = root_ + "/repos/study";
    NewDestination();
    ASSERT_TRUE(MakeDirs(repo_, 0755).has_value());
    Git({"init", "--quiet", "--initial-branch=main", repo_});
  }
  void TearDown() override {
    auto parent = OpenPath("/var/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.has_value());
    EXPECT_TRUE(RemoveTree(parent->get(), root_.substr(9)).has_value());
  }

  void NewDestination() {
    static int count = 0;
    out_path_ = root_ + "/out" + std::to_string(++count);
    auto out = MakeDirs(out_path_, 0755);
    ASSERT_TRUE(out.has_value());
    out_ = std::move(*out);
  }

  std::string Git(std::vector<std::string> args, const std::string& input = "") {
    args.insert(args.begin(), {"git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c",
                               "commit.gpgsign=false"});
    SubprocessOptions options;
    options.directory = ::access((repo_ + "/.git").c_str(), F_OK) == 0 ? repo_ : root_;
    options.environment = {{"HOME", root_}};
    options.input = input;
    auto output = RunChecked(args, options);
    EXPECT_TRUE(output.has_value()) << (output ? "" : output.error().ToString());
    std::string text = output.value_or("");
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  void Write(const std::string& path, const std::string& text, mode_t mode = 0644) {
    const std::string full = repo_ + "/" + path;
    ASSERT_TRUE(MakeDirs(full.substr(0, full.rfind('/')), 0755).has_value());
    auto fd = OpenPath(full, O_WRONLY | O_CREAT | O_TRUNC, mode);
    ASSERT_TRUE(fd.has_value());
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
  }

  std::string Commit(const std::string& message = "c") {
    Git({"add", "--all", "--force"});
    Git({"commit", "--quiet", "--allow-empty", "-m", message});
    return Git({"rev-parse", "HEAD"});
  }

  // A commit, on main, of a tree made of raw entries (mode, name, id in hexadecimal): what
  // `git add` would refuse.
  std::string CommitRaw(const std::vector<std::array<std::string, 3>>& entries) {
    return CommitTree(RawTree(entries));
  }
  std::string RawTree(const std::vector<std::array<std::string, 3>>& entries) {
    std::string raw;
    for (const auto& [mode, name, id] : entries) {
      raw += mode + " " + name + std::string(1, '\0');
      for (size_t i = 0; i < id.size(); i += 2)
        raw += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
    }
    return Git({"hash-object", "-t", "tree", "-w", "--literally", "--stdin"}, raw);
  }
  std::string CommitTree(const std::string& tree) {
    const std::string commit = Git({"commit-tree", tree, "-m", "raw"});
    Git({"update-ref", "refs/heads/main", commit});
    return commit;
  }
  std::string Blob(const std::string& text) { return Git({"hash-object", "-w", "--stdin"}, text); }

  Result<Checkout> Run(const std::string& commit) {
    request_.commit = commit;
    if (request_.repo_url.empty()) request_.repo_url = repo_;
    if (request_.allowed_repositories.empty()) request_.allowed_repositories = {root_ + "/repos"};
    request_.state_dir = root_ + "/state";
    request_.destination = out_.get();
    return CheckoutCode(request_);
  }
  void ExpectError(const std::string& commit, ErrorKind kind, const std::string& part) {
    NewDestination();
    auto checkout = Run(commit);
    ASSERT_FALSE(checkout.has_value()) << part;
    EXPECT_EQ(checkout.error().kind, kind) << checkout.error().ToString();
    EXPECT_NE(checkout.error().ToString().find(part), std::string::npos)
        << checkout.error().ToString();
  }
  std::string Mirror() {
    auto repos = OpenPath(root_ + "/state/repos", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(repos.has_value());
    const auto names = ListDir(repos->get()).value();
    for (const std::string& name : names)
      if (name.ends_with(".git")) return root_ + "/state/repos/" + name;
    ADD_FAILURE() << "no mirror";
    return "";
  }
  std::string Read(const std::string& path) {
    return ReadFile(out_path_ + "/" + path).value_or("(no such file)");
  }
  struct stat Stat(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::lstat((out_path_ + "/" + path).c_str(), &info), 0) << path;
    return info;
  }

  std::string root_, repo_, out_path_;
  UniqueFd out_;
  CheckoutRequest request_;
};

TEST_F(CheckoutTest, WritesTheTreeOfTheCommit) {
  Write("analysis/run.py", "print(1)\n");
  Write("bin/tool", "#!/bin/sh\n", 0755);
  Write("empty", "");
  const std::string big(300'000, 'x');
  Write("big.txt", big);
  ASSERT_EQ(::symlink("analysis/run.py", (repo_ + "/link").c_str()), 0);
  const std::string commit = Commit();
  Write("later.txt", "later");
  Commit();
  const mode_t old_mask = ::umask(077);  // must not show in what is written
  auto checkout = Run(commit);
  ::umask(old_mask);
  ASSERT_TRUE(checkout.has_value()) << checkout.error().ToString();
  EXPECT_EQ(checkout->tree_id, Git({"rev-parse", commit + "^{tree}"}));
  EXPECT_EQ(Read("analysis/run.py"), "print(1)\n");
  EXPECT_EQ(Read("big.txt"), big);
  EXPECT_EQ(Read("empty"), "");
  EXPECT_EQ(Read("later.txt"), "(no such file)");
  EXPECT_EQ(Stat("analysis/run.py").st_mode, mode_t{S_IFREG | 0644});
  EXPECT_EQ(Stat("bin/tool").st_mode, mode_t{S_IFREG | 0755});
  EXPECT_EQ(Stat("analysis").st_mode, mode_t{S_IFDIR | 0755});
  EXPECT_TRUE(S_ISLNK(Stat("link").st_mode));
  ASSERT_EQ(checkout->files.size(), 7u);
  for (const CodeFile& file : checkout->files)
    if (file.path == "empty") {
      EXPECT_EQ(file.object_id, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}

TEST_F(CheckoutTest, TheMirrorServesASecondRunWithoutTheRepository) {
  Write("a", "1");
  const std::string commit = Commit();
  EXPECT_TRUE(Run(commit)->fetched);
  ASSERT_EQ(::rename((repo_ + "/.git").c_str(), (repo_ + "/gone").c_str()), 0);
  NewDestination();
  auto again = Run(commit);
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_FALSE(again->fetched);
  EXPECT_EQ(Read("a"), "1");
}

TEST_F(CheckoutTest, RepositoriesThatAreNotAllowed) {
  Write("a", "1");
  const std::string commit = Commit();
  request_.allowed_repositories = {root_ + "/repos/stu"};
  ExpectError(commit, ErrorKind::kRefused, "is not one that this host allows");
  // A link below an allowed directory leads to a repository that is not.
  ASSERT_TRUE(MakeDirs(root_ + "/links", 0755).has_value());
  ASSERT_EQ(::symlink(repo_.c_str(), (root_ + "/links/study").c_str()), 0);
  request_.allowed_repositories = {root_ + "/links"};
  request_.repo_url = root_ + "/links/study";
  ExpectError(commit, ErrorKind::kRefused, "is not one that this host allows");
  request_.repo_url = "ext::sh -c touch% /var/tmp/owned";
  ExpectError(commit, ErrorKind::kBadInput, "not a repository");
  request_.repo_url = root_ + "/links/none";
  ExpectError(commit, ErrorKind::kBadInput, "there is no repository at");
}

TEST_F(CheckoutTest, CommitsThatDoNotCount) {
  Write("a", "1");
  const std::string commit = Commit();
  ExpectError("main", ErrorKind::kBadInput, "is not a full commit hash");
  ExpectError(commit.substr(0, 12), ErrorKind::kBadInput, "is not a full commit hash");
  ExpectError(std::string(40, '0'), ErrorKind::kBadInput, "there is no commit 0000");
  ExpectError(Git({"rev-parse", "HEAD^{tree}"}), ErrorKind::kBadInput, "is not a commit");
  // In the repository's object store, on no branch or tag: what a fork's commits are to a forge.
  const std::string orphan = Git({"commit-tree", commit + "^{tree}", "-m", "orphan"});
  ExpectError(orphan, ErrorKind::kBadInput, "there is no commit " + orphan);
  // The mirror has had the commit once, and the branch was moved away from it.
  Git({"update-ref", "refs/heads/side", orphan});
  NewDestination();
  ASSERT_TRUE(Run(orphan).has_value());
  Git({"update-ref", "-d", "refs/heads/side"});
  ExpectError(std::string(40, '1'), ErrorKind::kBadInput, "there is no commit");  // fetches, prunes
  ExpectError(orphan, ErrorKind::kRefused, "is on no branch or tag");
  // A tag is enough.
  Git({"tag", "v1", orphan});
  NewDestination();
  EXPECT_TRUE(Run(orphan).has_value());
}

TEST_F(CheckoutTest, NothingOfTheRepositoryRuns) {
  const std::string mark = root_ + "/ran";
  Write("run.sh", "#!/bin/sh\ntouch " + mark + "\ncat\n", 0755);
  Write(".gitattributes",
        "*.txt filter=evil export-subst\nhidden.txt export-ignore\ntext.txt text eol=crlf ident\n");
  Write("subst.txt", "$Format:%H$\n");
  Write("hidden.txt", "shown\n");
  Write("text.txt", "$Id$\nline\n");
  Write("lfs.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  const std::string commit = Commit();
  for (const char* hook : {"post-checkout", "post-merge", "reference-transaction", "proc-receive",
                           "pre-auto-gc", "post-update", "update"})
    Write(std::string(".git/hooks/") + hook, "#!/bin/sh\ntouch " + mark + "\n", 0755);
  for (const char* key : {"filter.evil.smudge", "filter.evil.clean", "core.fsmonitor",
                          "uploadpack.packObjectsHook", "core.sshCommand", "core.gitProxy",
                          "core.alternateRefsCommand", "remote.origin.uploadpack"})
    Git({"config", key, repo_ + "/run.sh"});
  Git({"config", "protocol.ext.allow", "always"});
  auto checkout = Run(commit);
  ASSERT_TRUE(checkout.has_value()) << checkout.error().ToString();
  EXPECT_NE(::access(mark.c_str(), F_OK), 0) << "a program of the repository was run";
  EXPECT_EQ(Read("subst.txt"), "$Format:%H$\n");
  EXPECT_EQ(Read("hidden.txt"), "shown\n");
  EXPECT_EQ(Read("text.txt"), "$Id$\nline\n");
  EXPECT_EQ(Read("lfs.bin").substr(0, 7), "version");
}

// A repository that calls itself a partial clone would have git fetch what is missing, from
// wherever its configuration says.
TEST_F(CheckoutTest, MissingObjectsAreNotFetchedFromElsewhere) {
  const std::string mark = root_ + "/ran";
  Write("a", "1");
  const std::string commit = Commit();
  const std::string id = Git({"rev-parse", "HEAD:a"});
  Write("run.sh", "#!/bin/sh\ntouch " + mark + "\n", 0755);
  ASSERT_EQ(::unlink((repo_ + "/.git/objects/" + id.substr(0, 2) + "/" + id.substr(2)).c_str()), 0);
  Git({"config", "extensions.partialClone", "origin"});
  Git({"config", "remote.origin.promisor", "true"});
  Git({"config", "remote.origin.url", "ext::" + repo_ + "/run.sh"});
  Git({"config", "protocol.ext.allow", "always"});
  auto checkout = Run(commit);
  ASSERT_FALSE(checkout.has_value());
  EXPECT_EQ(checkout.error().kind, ErrorKind::kBadInput) << checkout.error().ToString();
  EXPECT_NE(::access(mark.c_str(), F_OK), 0) << "a program of the repository was run";
}

TEST_F(CheckoutTest, TheMirrorIsPackedAgainAfterManyFetches) {
  std::string commit;
  for (int i = 0; i < 45; ++i) {
    Write("a", std::to_string(i));
    commit = Commit();
    NewDestination();
    auto checkout = Run(commit);
    ASSERT_TRUE(checkout.has_value()) << checkout.error().ToString();
    EXPECT_TRUE(checkout->fetched);
  }
  EXPECT_EQ(Read("a"), "44");
  auto packs = OpenPath(Mirror() + "/objects/pack", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(packs.has_value());
  EXPECT_LT(ListDir(packs->get())->size(), 60u);  // 45 packs would be 90 files and more
}

TEST_F(CheckoutTest, SubmodulesAreEmptyDirectories) {
  Write(".gitmodules", "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c id\n");
  Commit();
  Git({"update-index", "--add", "--cacheinfo", "160000," + std::string(40, 'a') + ",s"});
  Git({"commit", "--quiet", "-m", "s"});
  auto checkout = Run(Git({"rev-parse", "HEAD"}));
  ASSERT_TRUE(checkout.has_value()) << checkout.error().ToString();
  EXPECT_EQ(checkout->submodules, std::vector<std::string>{"s"});
  EXPECT_TRUE(S_ISDIR(Stat("s").st_mode));
}

TEST_F(CheckoutTest, LinksAreKeptAndNotFollowed) {
  ASSERT_TRUE(MakeDirs(root_ + "/victim", 0755).has_value());
  ASSERT_EQ(::symlink((root_ + "/victim").c_str(), (repo_ + "/out").c_str()), 0);
  ASSERT_EQ(::symlink("/proc/self/environ", (repo_ + "/environ").c_str()), 0);
  auto checkout = Run(Commit());
  ASSERT_TRUE(checkout.has_value()) << checkout.error().ToString();
  EXPECT_TRUE(S_ISLNK(Stat("out").st_mode));
  EXPECT_TRUE(S_ISLNK(Stat("environ").st_mode));
  // One name as a link and as a directory: the file would be written through the link.
  const std::string inner = RawTree({{"100644", "x", Blob("evil")}});
  const std::string commit =
      CommitRaw({{"120000", "a", Blob(root_ + "/victim")}, {"40000", "a", inner}});
  ExpectError(commit, ErrorKind::kBadInput, "is there twice");
  EXPECT_NE(::access((root_ + "/victim/x").c_str(), F_OK), 0);
}

TEST_F(CheckoutTest, HostileNames) {
  const std::string blob = Blob("x");
  for (const char* name : {"..", ".", ".git", ".GIT", ".gIt", "a\nb", "a\x1b[31m", "\xff"}) {
    const std::string commit = CommitRaw({{"100644", name, blob}});
    ExpectError(commit, ErrorKind::kBadInput, "the commit's tree cannot be checked out");
  }
  const std::string git_inside = RawTree({{"100644", "config", blob}});
  const std::string sub = RawTree({{"40000", ".Git", git_inside}});
  ExpectError(CommitRaw({{"40000", "sub", sub}}), ErrorKind::kBadInput, "it holds sub/.Git");
  ExpectError(CommitRaw({{"100644", "a", blob}, {"100644", "a", blob}}), ErrorKind::kBadInput,
              "is there twice");
  EXPECT_NE(::access((root_ + "/x").c_str(), F_OK), 0);
  // Case twins are two files here.
  NewDestination();
  auto twins = Run(CommitRaw({{"100644", "README", blob}, {"100644", "readme", Blob("y")}}));
  ASSERT_TRUE(twins.has_value()) << twins.error().ToString();
  EXPECT_EQ(Read("README") + Read("readme"), "xy");
}

TEST_F(CheckoutTest, AnEntryWithASlashInItsName) {
  const std::string blob = Blob("x");
  ExpectError(CommitRaw({{"100644", "a/b", blob}}), ErrorKind::kBadInput, "a/b");
}

TEST_F(CheckoutTest, ABranchOfWhatIsNotThereIsTheRepositorysFault) {
  Write("a", "1");
  Commit();
  Write(".git/refs/heads/broken", std::string(40, '1') + "\n");
  ExpectError(std::string(40, 'a'), ErrorKind::kBadInput, "damaged");
}

// 2^24 paths of 40 objects: listing them to the end would take minutes.
TEST_F(CheckoutTest, ATreeOfCopiesOfItself) {
  std::string tree = RawTree({{"100644", "file", Blob("x")}});
  for (int depth = 0; depth < 24; ++depth)
    tree = RawTree({{"40000", "aaaaaaaaaaaaaaaa", tree}, {"40000", "bbbbbbbbbbbbbbbb", tree}});
  ExpectError(CommitTree(tree), ErrorKind::kBadInput, "list of files");
}

TEST_F(CheckoutTest, LinkTargets) {
  ExpectError(CommitRaw({{"120000", "l", Blob(std::string("a\0b", 3))}}), ErrorKind::kBadInput,
              "holds a NUL byte");
  ExpectError(CommitRaw({{"120000", "l", Blob(std::string(5000, 'a'))}}), ErrorKind::kBadInput,
              "too long");
}

TEST_F(CheckoutTest, TooLarge) {
  Write("a", std::string(1000, 'a'));
  Write("b", std::string(1000, 'b'));
  const std::string commit = Commit();
  request_.max_bytes = 1500;
  ExpectError(commit, ErrorKind::kBadInput, "larger than 1500 bytes");
  request_.max_bytes = 2000;
  request_.max_files = 1;
  ExpectError(commit, ErrorKind::kBadInput, "more than 1 entries");
  request_.max_files = 2;
  NewDestination();
  EXPECT_TRUE(Run(commit).has_value());
}

TEST_F(CheckoutTest, ReplacedObjectsAreNotUsed) {
  Write("a", "true");
  const std::string commit = Commit();
  const std::string real = Git({"rev-parse", "HEAD:a"});
  Git({"replace", real, Blob("false")});
  ASSERT_TRUE(Run(commit).has_value());
  EXPECT_EQ(Read("a"), "true");
}

// git itself reads a loose object without looking whether its content is that of its name.
TEST_F(CheckoutTest, ADamagedMirrorIsFound) {
  Write("a", "right");
  const std::string commit = Commit();
  ASSERT_TRUE(Run(commit).has_value());
  const std::string right = Git({"rev-parse", "HEAD:a"});
  const std::string wrong = Blob("wrong");
  auto loose = [](const std::string& id) {
    return "/objects/" + id.substr(0, 2) + "/" + id.substr(2);
  };
  const std::string mirror = Mirror();
  auto objects = OpenPath(mirror, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(objects.has_value());
  ASSERT_TRUE(RemoveTree(objects->get(), "objects").has_value());
  ASSERT_TRUE(RunChecked({"cp", "-r", repo_ + "/.git/objects", mirror + "/objects"}).has_value());
  ASSERT_TRUE(RunChecked({"cp", "-f", mirror + loose(wrong), mirror + loose(right)}).has_value());
  NewDestination();
  auto damaged = Run(commit);
  ASSERT_FALSE(damaged.has_value());
  EXPECT_EQ(damaged.error().kind, ErrorKind::kFault);
  EXPECT_NE(damaged.error().ToString().find("is not what its object id says"), std::string::npos)
      << damaged.error().ToString();
}

}  // namespace
}  // namespace carrel
