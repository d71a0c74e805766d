// The BPF source against programs whose calls are known.
#include "support/audited.h"
#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

class AuditSource : public testing::Test {
 protected:
  static void SetUpTestSuite() { state_ = new TempDir; }
  static void TearDownTestSuite() {
    auto removed = RemoveBpfObjects(state_->path(), false);
    EXPECT_TRUE(removed.has_value()) << removed.error().ToString();
    EXPECT_EQ(*removed, 1);
    ::umount2((*state_ / "bpf").c_str(), MNT_DETACH);
    delete state_;
  }
  AuditedRun Run(std::vector<std::string> args, const AuditedOptions& options = {}) {
    args.insert(args.begin(), Payload("audit_calls"));
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    auto run = RunAudited(state_->path(), name, args, options);
    EXPECT_EQ(run.counts.lost, 0u);
    uint64_t sum = 0;
    for (auto& [call, count] : run.calls) sum += count;
    EXPECT_EQ(sum, run.counts.events);
    auto verdict = VerifyLog(state_->path(), run.path, name);
    EXPECT_TRUE(verdict.has_value());
    EXPECT_EQ(verdict->finding, LogFinding::kWhole) << verdict->why;
    return run;
  }
  static TempDir* state_;
};
TempDir* AuditSource::state_ = nullptr;

// A test that is interrupted leaves its group; the next one finds no such owner.
TEST(AuditSourceGroups, OfDeadTestsAreRemoved) {
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const std::string prefix = CgroupRoot() + "/carrel-audit-test-";
  const std::string stale = prefix + std::to_string(dead) + "-1";
  const std::string living = prefix + std::to_string(::getpid()) + "-9999";
  ASSERT_EQ(::mkdir(stale.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir(living.c_str(), 0755), 0);
  TestCgroup::RemoveStale();
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_EQ(::rmdir(living.c_str()), 0);
}

TEST_F(AuditSource, CountsFromTheFirstExec) {
  auto run = Run({"getppid", "1000"});
  EXPECT_EQ(run.status, 0);
  // Neither the 50 of the set-up, nor the exec that failed.
  EXPECT_EQ(run.calls["getppid"], 1000u);
  EXPECT_EQ(run.calls["execve"], 1u);
  EXPECT_EQ(run.calls["exit_group"], 1u);
  EXPECT_EQ(run.denied, 0u);
}

TEST_F(AuditSource, Threads) {
  auto run = Run({"threads", "8", "5000"});
  EXPECT_EQ(run.calls["getppid"], 40000u);
  // The last thread of a process ends with exit_group; the others with exit.
  EXPECT_EQ(run.calls["exit"], 8u);
}

TEST_F(AuditSource, ShortLivedProcesses) {
  auto run = Run({"short", "300"});
  EXPECT_EQ(run.calls["getsid"], 300u);
  EXPECT_EQ(run.calls["exit_group"], 301u);
}

TEST_F(AuditSource, CrowdOfProcesses) {
  auto run = Run({"crowd", "64", "2000"}, {.pid_namespace = true});
  EXPECT_EQ(run.calls["getppid"], 128000u);
  EXPECT_EQ(run.calls["exit_group"], 65u);
}

TEST_F(AuditSource, DeepForks) { EXPECT_EQ(Run({"deep", "40"}).calls["getsid"], 41u); }

TEST_F(AuditSource, Vfork) {
  auto run = Run({"vfork", "50"});
  EXPECT_EQ(run.calls["vfork"], 50u);
  EXPECT_EQ(run.calls["execve"], 51u);
  EXPECT_EQ(run.calls["getsid"], 50u);
}

TEST_F(AuditSource, DeniedCallsAreThereAndMarked) {
  auto run = Run({"denied", "1000"});
  EXPECT_EQ(run.calls["chmod"], 1000u);
  EXPECT_EQ(run.denied, 1000u);
  EXPECT_EQ(run.counts.denied, 1000u);
}

TEST_F(AuditSource, KilledByTheFilter) {
  auto run = Run({"kill-by-filter"});
  EXPECT_TRUE(WIFSIGNALED(run.status));
  EXPECT_EQ(run.calls["getpriority"], 1u);
  EXPECT_EQ(run.denied, 1u);
}

TEST_F(AuditSource, ExecFromAThread) {
  auto run = Run({"exec-thread"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.calls["execve"], 2u);
  EXPECT_EQ(run.calls["getpgid"], 1u);
  EXPECT_EQ(run.calls["getsid"], 3u);
  EXPECT_EQ(run.calls["pause"], 1u);  // the leader's, which never came back
}

TEST_F(AuditSource, KilledInsideACall) {
  auto run = Run({"killed"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.calls["getsid"], 1u);
  EXPECT_EQ(run.calls["read"], 2u);
}

TEST_F(AuditSource, RestartedCalls) {
  auto run = Run({"restart"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.calls["read"], 2u);
  EXPECT_EQ(run.calls["rt_sigreturn"], 1u);
}

TEST_F(AuditSource, ForeignInterfacesAreMarked) { EXPECT_EQ(Run({"x32"}).calls["x32:getpid"], 1u); }

TEST_F(AuditSource, CompatCallsAreMarked) {
  EXPECT_EQ(Run({"compat", "5"}).calls["i386:getpid"], 5u);
}

TEST_F(AuditSource, NothingLostWithASlowReader) {
  auto run = Run({"getppid", "1000000"}, {.reader_pause_ms = 100, .pid_namespace = true});
  EXPECT_EQ(run.calls["getppid"], 1000000u);
  EXPECT_GT(run.counts.stops, 0u);
}

TEST_F(AuditSource, NothingLostWithManyWritersAndASlowReader) {
  auto run = Run({"crowd", "32", "30000"}, {.reader_pause_ms = 100, .pid_namespace = true});
  EXPECT_EQ(run.calls["getppid"], 960000u);
  EXPECT_GT(run.counts.stops, 0u);
}

TEST_F(AuditSource, KilledWhileHeld) {
  AuditedOptions options;
  options.reader_pause_ms = 100;
  options.running = [](pid_t pid) {
    ::usleep(600000);
    ::kill(pid, SIGKILL);
  };
  auto run = Run({"getppid", "100000000"}, options);
  EXPECT_TRUE(WIFSIGNALED(run.status));
}

}  // namespace
}  // namespace carrel::testing_support
