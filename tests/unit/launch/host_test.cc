// What launch/ makes on the host: templates, run directories, ids, cgroups, lowered plans. As root:
// device nodes and cgroups are the point.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "launch/cgroup.h"
#include "launch/host_facts.h"
#include "launch/host_template.h"
#include "launch/lower.h"
#include "launch/run_dir.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing_support::TempDir;

const LaunchLimits kLimits;

HostFacts Facts() {
  auto facts = GatherHostFacts();
  EXPECT_TRUE(facts.has_value()) << facts.error().ToString();
  return facts.value_or(HostFacts{});
}

std::string CgroupParent() { return "carrel-unit-" + std::to_string(::getpid()); }

// Directories below the parent. The parent itself stays, empty, and is taken away here.
std::vector<std::string> CgroupsLeft(const HostFacts& facts) {
  std::vector<std::string> left;
  for (const auto& tree : facts.hierarchies) {
    const std::string parent = tree.mount + "/" + CgroupParent();
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(parent, ignored))
      if (entry.is_directory(ignored)) left.push_back(entry.path());
    ::rmdir(parent.c_str());
  }
  return left;
}

// Whatever a test made below, the parents go with the last one.
class CgroupParents : public ::testing::Environment {
  void TearDown() override { EXPECT_TRUE(CgroupsLeft(Facts()).empty()); }
};
const auto* const kParents = ::testing::AddGlobalTestEnvironment(new CgroupParents);

TEST(HostFacts, OfThisHost) {
  const HostFacts facts = Facts();
  ASSERT_FALSE(facts.hierarchies.empty());
  EXPECT_TRUE(facts.hierarchies.back().v2);
  EXPECT_THAT(facts.proc_files, ::testing::Contains("meminfo"));
  EXPECT_THAT(facts.proc_dirs, ::testing::Contains("sys"));
  EXPECT_GE(facts.online_cpus, 1);
}

TEST(HostTemplate, IsMadeOnceAndChecked) {
  TempDir state;
  auto made = PrepareHostTemplates(state.path(), kLimits, 2);
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  struct stat info {};
  ASSERT_EQ(::stat((made->dev() + "/null").c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(info.st_rdev, makedev(1, 3));
  const ino_t before = info.st_ino;
  ASSERT_TRUE(PrepareHostTemplates(state.path(), kLimits, 2).has_value());
  ASSERT_EQ(::stat((made->dev() + "/null").c_str(), &info), 0);
  EXPECT_EQ(info.st_ino, before);
}

// Several first starts at once: what one of them mounts on must not be replaced by another.
TEST(HostTemplate, IsMadeOnceByManyProcesses) {
  constexpr int kProcesses = 8;
  for (int round = 0; round < 50; ++round) {
    TempDir state;
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) {
      children.push_back(::fork());
      if (children.back() != 0) continue;
      struct stat before {
      }, after{};
      auto made = PrepareHostTemplates(state.path(), kLimits, 2);
      bool same = made && ::stat(made->staging().c_str(), &before) == 0;
      ::usleep(2000);
      same = same && ::stat(made->staging().c_str(), &after) == 0 && before.st_ino == after.st_ino;
      ::_exit(same ? 0 : 1);
    }
    for (pid_t child : children) {
      int status = -1;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ASSERT_EQ(status, 0) << "round " << round;
    }
  }
}

TEST(HostTemplate, AnotherDeviceUnderTheNameIsRefused) {
  for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
    TempDir state;
    auto made = PrepareHostTemplates(state.path(), kLimits, 2);
    ASSERT_TRUE(made.has_value());
    const std::string path = made->dev() + "/" + name;
    std::filesystem::remove(path);
    EXPECT_FALSE(PrepareHostTemplates(state.path(), kLimits, 2).has_value()) << name;
    std::filesystem::create_symlink("/proc/self/environ", path);
    auto checked = PrepareHostTemplates(state.path(), kLimits, 2);
    ASSERT_FALSE(checked.has_value()) << name;
    EXPECT_THAT(checked.error().ToString(), HasSubstr(name));
    std::filesystem::remove(path);
    ASSERT_EQ(::mknod(path.c_str(), S_IFCHR | 0666, makedev(1, 1)), 0);
    EXPECT_FALSE(PrepareHostTemplates(state.path(), kLimits, 2).has_value()) << name;
    std::filesystem::remove(path);
    ASSERT_EQ(::mknod(path.c_str(), S_IFBLK | 0666, made ? makedev(1, 3) : 0), 0);
    EXPECT_FALSE(PrepareHostTemplates(state.path(), kLimits, 2).has_value()) << name;
  }
}

TEST(HostTemplate, ViewTellsTheLimits) {
  TempDir state;
  LaunchLimits limits;
  limits.memory_bytes = 96u << 20;
  limits.cpu_milli = 1000;
  auto made = PrepareHostTemplates(state.path(), limits, 2);
  ASSERT_TRUE(made.has_value());
  const std::string view = made->view(limits, 2);
  EXPECT_THAT(ReadFile(view + "/meminfo").value_or(""), HasSubstr("98304 kB"));
  EXPECT_EQ(ReadFile(view + "/sys/fs/cgroup/memory.max").value_or(""), "100663296\n");
  EXPECT_EQ(ReadFile(view + "/sys/devices/system/cpu/online").value_or(""), "0\n");
}

TEST(RunDir, HoldsItsIdAndGivesItUp) {
  TempDir state;
  {
    auto first = RunDir::Create(state.path(), "one");
    ASSERT_TRUE(first.has_value()) << first.error().ToString();
    EXPECT_FALSE(std::filesystem::exists(state / "run/one"));  // not before it is needed
    ASSERT_TRUE(first->Make().has_value());
    EXPECT_TRUE(std::filesystem::is_directory(state / "run/one"));
    auto second = RunDir::Create(state.path(), "one");
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind, ErrorKind::kBadInput);
    EXPECT_TRUE(RunDir::Create(state.path(), "two").has_value());
  }
  EXPECT_TRUE(std::filesystem::is_empty(state / "run"));
  EXPECT_TRUE(RunDir::Create(state.path(), "one").has_value());
}

TEST(RunDir, NamesThatWouldLeaveIt) {
  TempDir state;
  for (const std::string& id :
       {std::string(".."), std::string("."), std::string("a/b"), std::string(""),
        std::string("x.lock"), std::string("a\nb"), std::string("a\0b", 3), std::string(300, 'x')})
    EXPECT_FALSE(RunDir::Create(state.path(), id).has_value()) << id;
}

TEST(RunDir, SweepTakesTheDeadAndLeavesTheLiving) {
  TempDir state;
  const HostFacts facts = Facts();
  auto living = RunDir::Create(state.path(), "living");
  ASSERT_TRUE(living.has_value() && living->Make().has_value());
  std::filesystem::create_directories(state / "run/dead/deep");
  testing_support::WriteFile(state / "run/dead/deep/file", "x");
  testing_support::WriteFile(state / "run/dead.lock", "");
  const auto& tree = facts.hierarchies.back();
  std::filesystem::create_directories(tree.mount + "/" + CgroupParent() + "/" +
                                      CgroupName(state.path(), "dead"));
  auto swept = SweepStaleRuns(state.path(), facts, CgroupParent());
  ASSERT_TRUE(swept.has_value()) << swept.error().ToString();
  EXPECT_FALSE(std::filesystem::exists(state / "run/dead"));
  EXPECT_FALSE(std::filesystem::exists(state / "run/dead.lock"));
  EXPECT_THAT(*DeadRuns(state.path()), testing::ElementsAre("dead"));
  ASSERT_TRUE(ForgetDeadRuns(state.path(), {"dead", "not there"}).has_value());
  EXPECT_THAT(*DeadRuns(state.path()), IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(state / "run/living"));
  EXPECT_THAT(CgroupsLeft(facts), IsEmpty());
}

TEST(IdSlot, OneEach) {
  TempDir state;
  auto first = IdSlot::Take(state.path(), 5000, 2);
  auto second = IdSlot::Take(state.path(), 5000, 2);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->id(), second->id());
  EXPECT_GE(first->id(), 5000u);
  EXPECT_LE(first->id(), 5001u);
  auto third = IdSlot::Take(state.path(), 5000, 2);
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().kind, ErrorKind::kFault);
  const uint32_t freed = first->id();
  first = std::move(third);  // gives the first up
  auto again = IdSlot::Take(state.path(), 5000, 2);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id(), freed);
}

TEST(Cgroup, IsMadeLimitedAndRemoved) {
  const HostFacts facts = Facts();
  LaunchLimits limits;
  limits.memory_bytes = 64u << 20;
  limits.processes = 17;
  {
    auto cgroup = Cgroup::Create(facts, CgroupParent(), "unit", limits);
    ASSERT_TRUE(cgroup.has_value()) << cgroup.error().ToString();
    EXPECT_GT(cgroup->v2_id(), 0u);
    int limited = 0;
    for (const auto& tree : facts.hierarchies) {
      const std::string path = cgroup->PathIn(tree.mount);
      EXPECT_TRUE(std::filesystem::is_directory(path)) << path;
      for (const char* file : {"/memory.max", "/memory.limit_in_bytes"})
        limited += ReadFile(path + file).value_or("") == "67108864\n";
      limited += ReadFile(path + "/pids.max").value_or("") == "17\n";
    }
    EXPECT_EQ(limited, 2);
    EXPECT_EQ(cgroup->Usage().value().oom_kills, 0u);
    EXPECT_FALSE(Cgroup::Create(facts, CgroupParent(), "unit", limits).has_value());
  }
  EXPECT_THAT(CgroupsLeft(facts), IsEmpty());
}

TEST(Cgroup, IoWeightWhereTheHostHasOne) {
  const HostFacts facts = Facts();
  LaunchLimits limits;
  limits.io_weight = 321;
  {
    auto cgroup = Cgroup::Create(facts, CgroupParent(), "weight", limits);
    ASSERT_TRUE(cgroup.has_value()) << cgroup.error().ToString();
    std::string found;
    for (const std::string& mount :
         {std::string("/sys/fs/cgroup/blkio"), facts.hierarchies.back().mount})
      for (const char* file : {"/blkio.bfq.weight", "/io.weight", "/io.bfq.weight"})
        found += ReadFile(cgroup->PathIn(mount) + file).value_or("");
    EXPECT_EQ(cgroup->io_weight_set(), !found.empty());
    EXPECT_TRUE(!cgroup->io_weight_set() || found.find("321") != std::string::npos) << found;
    // BFQ's own files are there in the root, so it has weights further down.
    if (std::filesystem::exists("/sys/fs/cgroup/blkio/blkio.bfq.io_serviced")) {
      EXPECT_TRUE(cgroup->io_weight_set());
    }
  }
  EXPECT_THAT(CgroupsLeft(facts), IsEmpty());
}

// Not what the state directory is called: what it is.
TEST(CgroupName, BelongsToOneStateDirectory) {
  TempDir one, two;
  std::filesystem::create_symlink(one.path(), two / "link");
  EXPECT_NE(CgroupName(one.path(), "id"), CgroupName(two.path(), "id"));
  EXPECT_EQ(CgroupName(one.path(), "id"), CgroupName(two / "link", "id"));
  EXPECT_THAT(CgroupName(one.path(), "cgroup.procs"), ::testing::StartsWith("cgroup.procs-"));
}

// What cannot be lowered is told in the plan's words.
class Lower : public ::testing::Test {
 protected:
  Error ErrorOf(LaunchRequest request) {
    const HostFacts facts = Facts();
    request.argv = {"/act"};
    if (request.rootfs.empty()) request.rootfs = directory_.path();
    request.host_uid = request.host_gid = 1879048200;
    auto templates = PrepareHostTemplates(directory_ / "state", kLimits, facts.online_cpus);
    auto plan = BuildPlan(request, facts, *templates);
    EXPECT_TRUE(plan.has_value()) << plan.error().ToString();
    auto cgroup = Cgroup::Create(facts, CgroupParent(), "lower", kLimits);
    EXPECT_TRUE(cgroup.has_value()) << cgroup.error().ToString();
    auto lowered = LowerPlan(*plan, *templates, *cgroup);
    EXPECT_FALSE(lowered.has_value());
    return lowered ? Error{} : lowered.error();
  }
  TempDir directory_;
};

TEST_F(Lower, MissingSourceNamesTheOperation) {
  LaunchRequest request;
  request.binds = {{directory_ / "missing", "/data"}};
  const Error error = ErrorOf(request);
  EXPECT_EQ(error.where, "bind at /data");
  EXPECT_EQ(error.code, ENOENT);
  EXPECT_THAT(error.ToString(), HasSubstr(directory_ / "missing"));
}

TEST_F(Lower, SourceThatIsALinkIsRefused) {
  std::filesystem::create_symlink("/etc", directory_ / "link");
  LaunchRequest request;
  request.binds = {{directory_ / "link", "/data"}};
  EXPECT_EQ(ErrorOf(request).where, "bind at /data");
}

TEST_F(Lower, SourceThatIsADeviceIsRefused) {
  ASSERT_EQ(::mknod((directory_ / "device").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  LaunchRequest request;
  request.binds = {{directory_ / "device", "/data"}};
  EXPECT_EQ(ErrorOf(request).where, "bind at /data");
}

TEST_F(Lower, MissingRootfsNamesTheRoot) {
  LaunchRequest request;
  request.rootfs = directory_ / "missing";
  EXPECT_EQ(ErrorOf(request).where, "root at /");
}

}  // namespace
}  // namespace carrel
