#include "job/collect.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;

class CollectTest : public testing::Test {
 protected:
  CollectTest() {
    for (const char* name : {"scratch", "high", "medium", "originals", "outside"})
      ::mkdir((dir_ / name).c_str(), 0755);
    scratch_ = Open("scratch");
    high_ = Open("high");
    medium_ = Open("medium");
    request_.scratch_dir = scratch_.get();
    request_.high_workspace = high_.get();
    request_.medium_workspace = medium_.get();
    request_.job_id = "job1";
    request_.high = {::geteuid(), ::getegid(), 0750, 0640};
    request_.medium = {::geteuid(), ::getegid(), 0755, 0644};
    request_.output_spec = {{"output/*.csv", Level::kHighlySensitive},
                            {"output/*.txt", Level::kModeratelySensitive}};
    request_.open_original = [this](const std::string& path) {
      return OpenPath(dir_ / ("originals/" + path), O_RDONLY);
    };
  }

  UniqueFd Open(const std::string& name) { return *OpenPath(dir_ / name, O_RDONLY | O_DIRECTORY); }
  std::string Scratch(const std::string& path) { return dir_ / ("scratch/" + path); }

  Collection Collect() {
    auto collection = CollectOutputs(request_);
    EXPECT_TRUE(collection.has_value()) << (collection ? "" : collection.error().ToString());
    return collection ? std::move(*collection) : Collection{};
  }
  static std::vector<std::string> Paths(const Collection& collection) {
    std::vector<std::string> paths;
    for (const CollectedOutput& output : collection.outputs) paths.push_back(output.path);
    return paths;
  }
  // Every file below a directory, staging included.
  std::vector<std::string> Files(const std::string& name) {
    auto output = RunChecked({"find", dir_ / name, "-mindepth", "1", "-printf", "%P\n"});
    std::vector<std::string> names;
    for (size_t start = 0; output && start < output->size();) {
      const size_t end = output->find('\n', start);
      names.push_back(output->substr(start, end - start));
      start = end + 1;
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  struct stat Stat(const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::lstat((dir_ / name).c_str(), &info), 0) << name;
    return info;
  }

  TempDir dir_;
  UniqueFd scratch_, high_, medium_;
  CollectRequest request_;
};

using Names = std::vector<std::string>;

TEST_F(CollectTest, CopiesByLevelWithOwnerAndModeOfTheLevel) {
  dir_.Write("scratch/output/a.csv", "patient_id\n1\n");
  dir_.Write("scratch/output/b.txt", "mean 3\n");
  dir_.Write("scratch/output/other.bin", "x");
  ::chmod(Scratch("output/a.csv").c_str(), 06777);
  ::chmod(Scratch("output/b.txt").c_str(), ::geteuid() == 0 ? 0 : 0400);
  request_.output_spec["never/*.csv"] = Level::kHighlySensitive;
  const Collection collection = Collect();
  ASSERT_EQ(Paths(collection), (Names{"output/a.csv", "output/b.txt"}));
  EXPECT_EQ(collection.outputs[0].sha256, Sha256Hex("patient_id\n1\n"));
  EXPECT_EQ(collection.outputs[0].size, 13u);
  EXPECT_EQ(collection.unmatched_patterns, Names{"never/*.csv"});
  EXPECT_EQ(collection.unmatched_outputs, Names{"output/other.bin"});
  EXPECT_EQ(Files("high"), (Names{"output", "output/a.csv", "output/b.txt"}));
  EXPECT_EQ(Files("medium"), (Names{"output", "output/b.txt"}));
  EXPECT_EQ(dir_.Read("high/output/a.csv"), "patient_id\n1\n");
  EXPECT_EQ(dir_.Read("medium/output/b.txt"), "mean 3\n");
  EXPECT_EQ(Stat("high/output/a.csv").st_mode & 07777, 0640u);
  EXPECT_EQ(Stat("high/output").st_mode & 07777, 0750u);
  EXPECT_EQ(Stat("medium/output/b.txt").st_mode & 07777, 0644u);
  EXPECT_EQ(Stat("medium/output").st_mode & 07777, 0755u);
}

TEST_F(CollectTest, OwnerAndGroupAreSet) {
  if (::geteuid() != 0) {
    // Without root another owner can't be given: that must be an error and not be passed over.
    request_.high.owner = ::geteuid() + 1;
    dir_.Write("scratch/output/a.csv", "x");
    EXPECT_FALSE(CollectOutputs(request_).has_value());
    return;
  }
  request_.high.owner = 4001;
  request_.high.group = 4002;
  request_.medium.group = 4003;
  dir_.Write("scratch/output/a.csv", "x");
  dir_.Write("scratch/output/b.txt", "x");
  Collect();
  EXPECT_EQ(Stat("high/output/a.csv").st_uid, 4001u);
  EXPECT_EQ(Stat("high/output/a.csv").st_gid, 4002u);
  EXPECT_EQ(Stat("high/output").st_gid, 4002u);
  EXPECT_EQ(Stat("medium/output/b.txt").st_gid, 4003u);
  EXPECT_EQ(Stat("medium/output").st_gid, 4003u);
}

TEST_F(CollectTest, TheHigherLevelWins) {
  dir_.Write("scratch/output/a.csv", "x,y\n1,2\n");
  request_.output_spec = {{"output/*", Level::kModeratelySensitive},
                          {"output/a.csv", Level::kHighlySensitive},
                          {"**/*.csv", Level::kModeratelySensitive}};
  EXPECT_EQ(Collect().outputs[0].level, Level::kHighlySensitive);
  EXPECT_TRUE(Files("medium").empty());
}

// mission.md, mistake 1.
TEST_F(CollectTest, NothingButPlainFilesIsCarriedOut) {
  dir_.Write("outside/secret", "secret of the host");
  dir_.Write("outside/dir/x.csv", "secret of the host");
  dir_.Write("scratch/output/good.csv", "x");
  ASSERT_EQ(::symlink((dir_ / "outside/secret").c_str(), Scratch("output/link.txt").c_str()), 0);
  ASSERT_EQ(::symlink("/proc/self/environ", Scratch("output/environ.txt").c_str()), 0);
  ASSERT_EQ(::symlink("good.csv", Scratch("output/inner.csv").c_str()), 0);
  ASSERT_EQ(::symlink((dir_ / "outside/dir").c_str(), Scratch("linked").c_str()), 0);
  ASSERT_EQ(::link((dir_ / "outside/secret").c_str(), Scratch("output/hard.txt").c_str()), 0);
  ASSERT_EQ(::mkfifo(Scratch("output/fifo.txt").c_str(), 0666), 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{AF_UNIX, {}};
  strncpy(address.sun_path, Scratch("output/s.txt").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  Names skipped = {"linked: a symbolic link, which is not collected",
                   "output/environ.txt: a symbolic link, which is not collected",
                   "output/fifo.txt: a FIFO, which is not collected",
                   "output/hard.txt: a hard link to a file outside the action's workspace",
                   "output/inner.csv: a symbolic link, which is not collected",
                   "output/link.txt: a symbolic link, which is not collected",
                   "output/s.txt: a socket, which is not collected"};
  if (::geteuid() == 0) {
    ASSERT_EQ(::mknod(Scratch("output/null.csv").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
    skipped.insert(skipped.end() - 1, "output/null.csv: a device, which is not collected");
  }
  request_.output_spec["linked/*"] = Level::kModeratelySensitive;
  const Collection collection = Collect();
  EXPECT_EQ(Paths(collection), Names{"output/good.csv"});
  EXPECT_EQ(collection.skipped, skipped);
  EXPECT_EQ(collection.unmatched_patterns, (Names{"linked/*", "output/*.txt"}));
  EXPECT_EQ(Files("high"), (Names{"output", "output/good.csv"}));
  EXPECT_TRUE(Files("medium").empty());
}

TEST_F(CollectTest, HardLinksWithinTheScratchAreCopies) {
  dir_.Write("scratch/output/a.csv", "same");
  ASSERT_EQ(::link(Scratch("output/a.csv").c_str(), Scratch("output/b.csv").c_str()), 0);
  ASSERT_EQ(::link(Scratch("output/a.csv").c_str(), Scratch("not-matched").c_str()), 0);
  EXPECT_EQ(Paths(Collect()), (Names{"output/a.csv", "output/b.csv"}));
  EXPECT_EQ(Stat("high/output/a.csv").st_nlink, 1u);
}

// mission.md, mistake 2, for the side that is written to.
TEST_F(CollectTest, LinksInTheWorkspaceLeadNowhere) {
  dir_.Write("scratch/output/a.csv", "x");
  ASSERT_EQ(::symlink((dir_ / "outside").c_str(), (dir_ / "high/output").c_str()), 0);
  auto collection = CollectOutputs(request_);
  ASSERT_FALSE(collection.has_value());
  EXPECT_EQ(collection.error().where, "output");
  EXPECT_TRUE(Files("outside").empty());
  EXPECT_EQ(Files("high"), Names{"output"});
}

TEST_F(CollectTest, ALinkInPlaceOfAnOutputIsReplaced) {
  dir_.Write("scratch/output/a.csv", "new");
  dir_.Write("scratch/output/b.txt", "new");
  dir_.Write("outside/target", "old");
  ::mkdir((dir_ / "high/output").c_str(), 0755);
  ::mkdir((dir_ / "medium/output").c_str(), 0755);
  for (const char* place : {"high/output/a.csv", "medium/output/b.txt"})
    ASSERT_EQ(::symlink((dir_ / "outside/target").c_str(), (dir_ / place).c_str()), 0);
  Collect();
  EXPECT_EQ(dir_.Read("outside/target"), "old");
  EXPECT_TRUE(S_ISREG(Stat("high/output/a.csv").st_mode));
  EXPECT_TRUE(S_ISREG(Stat("medium/output/b.txt").st_mode));
}

// mission.md, mistake 7: what is new is known by the layer, not by its time.
TEST_F(CollectTest, TimesDecideNothing) {
  dir_.Write("originals/output/input.csv", "input");
  request_.originals = {"output/input.csv"};
  dir_.Write("scratch/output/input.csv", "input");  // copied up unchanged, newest of all
  dir_.Write("scratch/output/old.csv", "made now, dated 1970");
  const timespec epoch[2] = {};
  ASSERT_EQ(::utimensat(AT_FDCWD, Scratch("output/old.csv").c_str(), epoch, 0), 0);
  const Collection collection = Collect();
  EXPECT_EQ(Paths(collection), Names{"output/old.csv"});
  EXPECT_TRUE(collection.tampered.empty());
  EXPECT_FALSE(dir_.Exists("high/output/input.csv"));
}

// mission.md, mistake 8.
TEST_F(CollectTest, NamesThatWouldMisleadAreReportedNotUsed) {
  for (const char* name :
       {"output/a\nb.csv", "output/\x1b[2J.csv", "output/\xff.csv", "output/\xe2\x80\xaevsc.csv",
        "metadata/x.csv", "Metadata/manifest.json", ".carrel-staging-job1/0", "output/good.csv"})
    dir_.Write(std::string("scratch/") + name, "x");
  request_.output_spec = {{"**/*", Level::kHighlySensitive}};
  const Collection collection = Collect();
  EXPECT_EQ(Paths(collection), Names{"output/good.csv"});
  const std::string plain = ": its name has characters that are not plain text";
  const std::string own = ": the directory is carrel's";
  EXPECT_EQ(
      collection.skipped,
      (Names{".carrel-staging-job1/0" + own, "Metadata/manifest.json" + own, "metadata/x.csv" + own,
             "output/\\u202evsc.csv" + plain, "output/\\x1b[2J.csv" + plain,
             "output/\\xff.csv" + plain, "output/a\\x0ab.csv" + plain}));
  request_.job_id = "../x";
  EXPECT_FALSE(CollectOutputs(request_).has_value());
}

TEST_F(CollectTest, TamperingWithholdsEverythingFromLevel4) {
  for (const char* name : {"code/a.py", "code/b.py", "data/in.csv", "lib/x/y.py", "gone/z.py"}) {
    dir_.Write(std::string("originals/") + name, "original");
    request_.originals.insert(name);
  }
  dir_.Write("scratch/output/ok.txt", "fine\n");
  dir_.Write("scratch/code/a.py", "Original");  // same size, other content
  ASSERT_EQ(::symlink("a.py", Scratch("code/b.py").c_str()), 0);
  dir_.Write("scratch/data", "a file in place of a directory");
  // As overlayfs records removals: device 0/0, and an attribute for a directory made anew.
  ASSERT_EQ(::mknod(Scratch("gone").c_str(), S_IFCHR, 0), 0);
  dir_.Write("scratch/lib/x/new.py", "x");
  ASSERT_EQ(::setxattr(Scratch("lib/x").c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  const Collection collection = Collect();
  EXPECT_EQ(collection.tampered,
            (Names{"code/a.py: its content was changed", "code/b.py: replaced by a symbolic link",
                   "data: the directory was replaced", "gone: the directory was removed",
                   "lib/x: the directory was replaced"}));
  ASSERT_EQ(Paths(collection), Names{"output/ok.txt"});
  EXPECT_NE(collection.outputs[0].withheld->find("changed or removed code"), std::string::npos);
  EXPECT_EQ(Files("medium"), (Names{"output", "output/ok.txt.txt"}));
  EXPECT_EQ(dir_.Read("high/output/ok.txt"), "fine\n");
}

TEST_F(CollectTest, TheWorkspaceItselfHasAName) {
  dir_.Write("originals/code.py", "original");
  request_.originals.insert("code.py");
  ASSERT_EQ(::setxattr((dir_ / "scratch").c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  EXPECT_EQ(Collect().tampered, Names{"/workspace: the directory was replaced"});
}

TEST_F(CollectTest, AChangedInputIsNoOutput) {
  dir_.Write("originals/output/in.csv", "1");
  request_.originals = {"output/in.csv"};
  dir_.Write("high/output/in.csv", "1");
  dir_.Write("scratch/output/in.csv", "2");
  const Collection collection = Collect();
  EXPECT_TRUE(collection.outputs.empty());
  EXPECT_EQ(collection.tampered, Names{"output/in.csv: its content was changed"});
  EXPECT_EQ(dir_.Read("high/output/in.csv"), "1");
}

// What the kernel itself writes into the upper layer, as root's mount and as a user namespace's.
class OverlayTest : public CollectTest, public testing::WithParamInterface<bool> {};

TEST_P(OverlayTest, IsUnderstood) {
  const bool user_namespace = GetParam() || ::geteuid() != 0;
  for (const char* name : {"keep.py", "removed.py", "dir/one.py", "input.csv"}) {
    dir_.Write(std::string("originals/") + name, "original");
    request_.originals.insert(name);
  }
  ::mkdir((dir_ / "work").c_str(), 0755);
  ::mkdir((dir_ / "merged").c_str(), 0755);
  const std::string script =
      std::string("mount -t overlay overlay -o lowerdir=originals,upperdir=scratch,workdir=work") +
      (user_namespace ? ",userxattr" : "") +
      " merged && cd merged && touch keep.py && chmod 777 input.csv && rm removed.py && rm -r dir "
      "&& mkdir dir output && echo x > dir/two.py && echo 1 > output/a.csv && rm output/a.csv && "
      "echo 2 > output/b.csv";
  SubprocessOptions options;
  options.directory = dir_.path();
  auto made = RunChecked({"unshare", user_namespace ? "-rm" : "-m", "sh", "-c", script}, options);
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  const Collection collection = Collect();
  EXPECT_EQ(Paths(collection), Names{"output/b.csv"});
  EXPECT_EQ(collection.tampered, (Names{"dir: the directory was replaced", "removed.py: removed"}));
  EXPECT_EQ(collection.unmatched_outputs, Names{"dir/two.py"});
  // overlayfs leaves a directory in work that only its owner can enter.
  ::chmod((dir_ / "work/work").c_str(), 0700);
}

INSTANTIATE_TEST_SUITE_P(Mounts, OverlayTest, testing::Values(false, true));

TEST_F(CollectTest, WithheldOutputsGetAMessageThatGoesAway) {
  dir_.Write("medium/output/r.txt", "an earlier job's");
  dir_.Write("scratch/output/r.txt", "patient_id,age\n1,2\n");
  Collection collection = Collect();
  ASSERT_TRUE(collection.outputs[0].withheld.has_value());
  EXPECT_EQ(Files("medium"), (Names{"output", "output/r.txt.txt"}));
  const std::string message = dir_.Read("medium/output/r.txt.txt");
  EXPECT_NE(message.find("output/r.txt"), std::string::npos);
  EXPECT_NE(message.find("patient identifiers"), std::string::npos);
  EXPECT_NE(message.find("highly_sensitive"), std::string::npos);
  EXPECT_EQ(dir_.Read("high/output/r.txt"), "patient_id,age\n1,2\n");

  dir_.Write("scratch/output/r.txt", "mean 3\n");
  collection = Collect();
  EXPECT_FALSE(collection.outputs[0].withheld.has_value());
  EXPECT_EQ(Files("medium"), (Names{"output", "output/r.txt"}));
}

TEST_F(CollectTest, AnOutputBeneathTheMessagesNameStays) {
  request_.output_spec = {{"output/**/*.txt", Level::kModeratelySensitive}};
  dir_.Write("scratch/output/r.txt", "patient_id,age\n1,2\n");
  dir_.Write("scratch/output/r.txt.txt/s.txt", "a result\n");
  const Collection collection = Collect();
  ASSERT_EQ(Paths(collection), (Names{"output/r.txt", "output/r.txt.txt/s.txt"}));
  EXPECT_EQ(Files("medium"), (Names{"output", "output/r.txt.txt", "output/r.txt.txt/s.txt"}));
  EXPECT_EQ(dir_.Read("high/output/r.txt"), "patient_id,age\n1,2\n");
}

TEST_F(CollectTest, AnOutputThatIsNamedLikeAMessageStays) {
  dir_.Write("scratch/output/r.txt", "patient_id,age\n1,2\n");
  dir_.Write("scratch/output/r.txt.txt", "a result\n");
  Collect();
  EXPECT_EQ(dir_.Read("medium/output/r.txt.txt"), "a result\n");
  dir_.Write("scratch/output/r.txt", "fine\n");
  ::unlink(Scratch("output/r.txt.txt").c_str());
  Collect();
  EXPECT_EQ(dir_.Read("medium/output/r.txt.txt"), "a result\n");
}

TEST_F(CollectTest, AnOutputThatBecameLevel3LeavesLevel4) {
  dir_.Write("scratch/output/a.txt", "x\n");
  Collect();
  EXPECT_TRUE(dir_.Exists("medium/output/a.txt"));
  request_.output_spec["output/*.txt"] = Level::kHighlySensitive;
  Collect();
  EXPECT_FALSE(dir_.Exists("medium/output/a.txt"));
  EXPECT_TRUE(dir_.Exists("high/output/a.txt"));
}

TEST_F(CollectTest, ADirectoryInTheWayIsAnErrorAndNothingChanges) {
  dir_.Write("scratch/output/a.csv", "x");
  dir_.Write("scratch/output/b.csv", "new");
  dir_.Write("high/output/b.csv", "old");
  ::mkdir((dir_ / "high/output/a.csv").c_str(), 0755);
  auto collection = CollectOutputs(request_);
  ASSERT_FALSE(collection.has_value());
  EXPECT_EQ(collection.error().where, "output/a.csv");
  EXPECT_EQ(dir_.Read("high/output/b.csv"), "old");
  EXPECT_EQ(Files("high"), (Names{"output", "output/a.csv", "output/b.csv"}));
}

TEST_F(CollectTest, ADirectoryInTheWayLeavesNoEmptyDirectories) {
  request_.output_spec = {{"**/*.txt", Level::kModeratelySensitive}};
  dir_.Write("scratch/new/a.txt", "x\n");
  dir_.Write("scratch/z.txt", "x\n");
  ::mkdir((dir_ / "medium/z.txt").c_str(), 0755);
  auto collection = CollectOutputs(request_);
  ASSERT_FALSE(collection.has_value());
  EXPECT_EQ(collection.error().where, "z.txt");
  EXPECT_TRUE(Files("high").empty());
  EXPECT_EQ(Files("medium"), Names{"z.txt"});
  // A file where a directory belongs.
  ::unlink(Scratch("z.txt").c_str());
  dir_.Write("scratch/y/b.txt", "x\n");
  dir_.Write("medium/y", "");
  ASSERT_FALSE(CollectOutputs(request_).has_value());
  EXPECT_TRUE(Files("high").empty());
  EXPECT_EQ(Files("medium"), (Names{"y", "z.txt"}));
}

TEST_F(CollectTest, ADirectoryIsNoEarlierCopy) {
  dir_.Write("scratch/output/a.csv", "level 3");
  dir_.Write("medium/output/a.csv/b.txt", "another's");
  Collect();
  EXPECT_EQ(dir_.Read("high/output/a.csv"), "level 3");
  EXPECT_EQ(dir_.Read("medium/output/a.csv/b.txt"), "another's");
}

// A write that fails midway (here: the limit on file size stands for a full disk).
TEST_F(CollectTest, AFailedWriteLeavesNothingBehind) {
  dir_.Write("scratch/output/a.csv", "small");
  dir_.Write("scratch/output/b.csv", std::string(1u << 20, 'x'));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{64u << 10, 64u << 10};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto collection = CollectOutputs(request_);
    const bool right = !collection && collection.error().where == "output/b.csv" &&
                       collection.error().ToString().find("/var/tmp") == std::string::npos;
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Files("high").empty());
  EXPECT_TRUE(Files("medium").empty());
}

TEST_F(CollectTest, AnEarlierCrashIsCleanedUp) {
  dir_.Write("high/.carrel-staging-job1/0", "half");
  dir_.Write("scratch/output/a.csv", "x");
  Collect();
  EXPECT_EQ(Files("high"), (Names{"output", "output/a.csv"}));
}

TEST_F(CollectTest, HolesStayHoles) {
  const UniqueFd file = *OpenPath(dir_ / "scratch/big.csv", O_RDWR | O_CREAT, 0644);
  ASSERT_EQ(::pwrite(file.get(), "a", 1, 0), 1);
  ASSERT_EQ(::pwrite(file.get(), "z", 1, 40 << 20), 1);
  ASSERT_EQ(::ftruncate(file.get(), 64 << 20), 0);
  request_.output_spec = {{"*.csv", Level::kHighlySensitive}};
  const Collection collection = Collect();
  std::string expected(64 << 20, '\0');
  expected[0] = 'a';
  expected[40 << 20] = 'z';
  EXPECT_EQ(collection.outputs[0].sha256, Sha256Hex(expected));
  EXPECT_EQ(collection.outputs[0].size, 64u << 20);
  EXPECT_EQ(dir_.Read("high/big.csv"), expected);
  EXPECT_LT(Stat("high/big.csv").st_blocks * 512, 1 << 20);
}

TEST_F(CollectTest, DeepDirectoriesAreReportedWithoutHarm) {
  const TempDir memory("/dev/shm");
  UniqueFd at = *OpenPath(memory.path(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    at = *OpenBeneath(at.get(), "d", O_RDONLY | O_DIRECTORY);
  }
  memory.Write("output/a.csv", "x");
  request_.scratch_dir = memory.fd();
  const Collection collection = Collect();
  EXPECT_EQ(Paths(collection), Names{"output/a.csv"});
  ASSERT_EQ(collection.skipped.size(), 1u);
  EXPECT_TRUE(collection.skipped[0].ends_with("...: nested too deep"));
  ASSERT_TRUE(RunChecked({"rm", "-rf", memory / "d"}).has_value());
}

TEST_F(CollectTest, TooManyNamesAreAClearError) {
  for (int i = 0; i < 50; ++i) dir_.Write("scratch/output/" + std::to_string(i) + ".csv", "x");
  request_.limits.max_entries = 30;
  auto collection = CollectOutputs(request_);
  ASSERT_FALSE(collection.has_value());
  EXPECT_EQ(collection.error().kind, ErrorKind::kRefused);
  EXPECT_NE(collection.error().what.find("more than 30 files"), std::string::npos);
  request_.limits.max_entries = 100;
  request_.limits.max_outputs = 49;
  EXPECT_FALSE(CollectOutputs(request_).has_value());
  request_.output_spec = {};
  request_.limits.max_reported = 5;
  const Collection reported = Collect();
  ASSERT_EQ(reported.unmatched_outputs.size(), 6u);
  EXPECT_EQ(reported.unmatched_outputs.back(), "and 45 more");
}

TEST_F(CollectTest, AFileBeyondTheLimitIsReported) {
  const UniqueFd file = *OpenPath(dir_ / "scratch/huge.csv", O_RDWR | O_CREAT, 0644);
  ASSERT_EQ(::ftruncate(file.get(), 1ll << 40), 0);
  request_.output_spec = {{"*.csv", Level::kHighlySensitive}};
  const Collection collection = Collect();
  EXPECT_TRUE(collection.outputs.empty());
  ASSERT_EQ(collection.skipped.size(), 1u);
  EXPECT_NE(collection.skipped[0].find("larger than"), std::string::npos);
}

TEST_F(CollectTest, MountPointsAreNotOutputs) {
  dir_.Write("scratch/output/in.csv", "");
  request_.originals = {"output/in.csv"};
  request_.mount_points = {"output/in.csv"};
  const Collection collection = Collect();
  EXPECT_TRUE(collection.outputs.empty());
  EXPECT_TRUE(collection.tampered.empty());
}

}  // namespace
}  // namespace carrel
