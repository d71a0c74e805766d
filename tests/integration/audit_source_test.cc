// The BPF source against programs whose calls are known.
#include <bpf/bpf.h>
#include <sys/mman.h>

#include "audit/render.h"
#include "base/digest.h"
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

// The rows of a log, for what counts do not tell.
void ForEachRow(const AuditedRun& run, const std::function<void(const AuditEvent&)>& visit) {
  auto reader = LogReader::Open(run.path);
  ASSERT_TRUE(reader.has_value());
  EXPECT_TRUE(ForEachEvent(*reader, {}, visit).has_value());
}

// The path of the opened file whose name is `file`.
std::string OpenedBelow(const AuditedRun& run) {
  EXPECT_EQ(run.status, 0);
  std::string path;
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.has_file && event.file.path.ends_with("/file")) path = event.file.path;
  });
  return path;
}

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
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind != EventKind::kCall || SyscallOf(event) != "getpriority") return;
    EXPECT_EQ(event.flags, kCallDenied | kCallNoReturn);
  });
}

// Of such a call the kernel's tracepoints show neither entry nor exit.
TEST_F(AuditSource, ThreadsKilledByTheFilter) {
  auto run = Run({"kill-threads", "20"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.calls["chmod"], 20u);
  EXPECT_EQ(run.denied, 20u);
  EXPECT_EQ(run.counts.denied, 20u);
  EXPECT_EQ(run.calls["getsid"], 1u);
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind != EventKind::kCall || SyscallOf(event) != "chmod") return;
    EXPECT_EQ(event.flags, kCallDenied | kCallNoReturn);
  });
}

TEST_F(AuditSource, FailedExecsHaveTheirArguments) {
  auto run = Run({"failed-execs"});
  EXPECT_EQ(run.status, 0);
  std::vector<std::string> lines;
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind == EventKind::kCall && SyscallOf(event) == "execve" && event.result != 0)
      lines.push_back(CallText(event));
  });
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].substr(0, lines[0].find("],") + 1),
            "execve(\"/nowhere/program\", [\"program\", \"--with\", \"two words\"]");
  EXPECT_EQ(lines[1].substr(0, lines[1].find("],") + 1),
            "execve(\"/nowhere/long\", [\"a\", \"" + std::string(255, 'x') + "\"]");
  EXPECT_EQ(lines[2], "execve(\"/nowhere/none\", 0, 0) = -2 ENOENT");
  // Which of its two faults is told depends on the kernel.
  EXPECT_EQ(lines[3].substr(0, lines[3].find('=')), "execve(\"/nowhere/bad\", 8, 0) ");
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

TEST_F(AuditSource, AReaderThatIsBehindFreezesTheAction) {
  auto run = Run({"getppid", "500000"}, {.reader_pause_ms = 100, .freezer = true});
  EXPECT_EQ(run.calls["getppid"], 500000u);
  int frozen = 0;
  ForEachRow(run, [&](const AuditEvent& event) {
    frozen += event.kind == EventKind::kStop && (event.flags & kStopFrozen) != 0;
  });
  EXPECT_GT(frozen, 0);
  EXPECT_GE(run.counts.stops, static_cast<uint64_t>(frozen));
}

// Whether they are held or killed for it is a matter of luck; nothing is lost either way.
TEST_F(AuditSource, AnActionThatWakesItselfLosesNothing) {
  auto run = Run({"wakers", "8", "40000"}, {.reader_pause_ms = 100, .may_fail = true});
  EXPECT_TRUE(run.failure.empty() || run.failure.find("did not stop") != std::string::npos)
      << run.failure;
  if (run.failure.empty()) {
    EXPECT_EQ(run.calls["getppid"], 320000u);
  }
}

// The marks are taken away, and nothing is read: the ring overflows.
TEST_F(AuditSource, TheFirstLostEventEndsTheAction) {
  AuditedOptions options;
  options.may_fail = true;
  options.running = [](pid_t pid) {
    auto objects = OpenBpfObjects(state_->path());
    ASSERT_TRUE(objects.has_value());
    void* memory = ::mmap(nullptr, sizeof(SlotState) * CARREL_SLOTS, PROT_READ | PROT_WRITE,
                          MAP_SHARED, objects->slots.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    auto* slots = static_cast<volatile SlotState*>(memory);
    for (int i = 0; i < CARREL_SLOTS; ++i)
      if (slots[i].epoch != 0) {
        slots[i].stop_at = ~0u;
        slots[i].kill_at = ~0u;
      }
    siginfo_t info{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
    ::munmap(memory, sizeof(SlotState) * CARREL_SLOTS);
  };
  const std::string id = "overflow";
  auto run =
      RunAudited(state_->path(), id, {Payload("audit_calls"), "getppid", "2000000000"}, options);
  EXPECT_TRUE(WIFSIGNALED(run.status));
  EXPECT_GT(run.counts.lost, 0u);
  EXPECT_NE(run.failure.find("events were lost"), std::string::npos) << run.failure;
  EXPECT_EQ(VerifyLog(state_->path(), run.path, id)->finding, LogFinding::kIncomplete);
}

TEST_F(AuditSource, StructuresAndMessagesAddresses) {
  auto run = Run({"structures"});
  EXPECT_EQ(run.status, 0);
  int seen = 0;
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind != EventKind::kCall) return;
    const std::string name = SyscallName(event.nr, false);
    for (const Datum& datum : event.data) {
      if (name == "openat2" && datum.kind == kDataBytes) {
        ++seen;
        ASSERT_EQ(datum.bytes.size(), 24u);
        uint64_t how[3];
        std::memcpy(how, datum.bytes.data(), sizeof how);
        EXPECT_EQ(how[0], static_cast<uint64_t>(O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        EXPECT_EQ(how[2], 4u);
      } else if (name == "clone3" && datum.kind == kDataBytes) {
        ++seen;
        EXPECT_EQ(datum.bytes.size(), 88u);
      } else if (name == "sendmsg" && datum.kind == kDataSockaddr) {
        ++seen;
        EXPECT_NE(datum.bytes.find("/nowhere/socket"), std::string_view::npos);
      }
    }
  });
  EXPECT_EQ(seen, 3);
}

TEST_F(AuditSource, WhoIsRenamedByAnotherIsKnownByTheNewName) {
  auto run = Run({"renamed"});
  EXPECT_EQ(run.status, 0);
  std::string name;
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind == EventKind::kCall && SyscallName(event.nr, false) == "getsid")
      name = event.task.comm;
  });
  EXPECT_EQ(name, "other");
}

// What the kernel opened below many directories is known by its whole path.
TEST_F(AuditSource, DeepFilesHaveTheirPath) {
  TempDir base;
  std::string directories;
  for (int i = 0; i < 500; ++i) directories += "/d";
  EXPECT_EQ(OpenedBelow(Run({"deep-file", "500", base.path(), "d"})),
            base.path() + directories + "/file");
}

TEST_F(AuditSource, AnEndIsNotTakenForAPath) {
  TempDir base;
  auto run = Run({"deep-file", "50", base.path(), std::string(200, 'd')});
  const std::string path = OpenedBelow(run);
  EXPECT_TRUE(path.starts_with(".../ddd") && path.ends_with("/file")) << path;
}

TEST_F(AuditSource, ExecutedFilesHaveTheirDigest) {
  auto run = Run({"vfork", "20"});
  const std::string wanted = Sha256Hex(*ReadFile(Payload("audit_calls")));
  int digests = 0;
  ForEachRow(run, [&](const AuditEvent& event) {
    if (event.kind != EventKind::kDigest) return;
    ++digests;
    EXPECT_EQ(event.file.path, Payload("audit_calls"));
    ASSERT_EQ(event.data.at(0).bytes.size(), 32u) << int{event.data.at(0).flags};
    Hash digest;
    std::copy_n(event.data[0].bytes.data(), digest.size(), digest.begin());
    EXPECT_EQ(HexOf(digest), wanted);
  });
  EXPECT_EQ(digests, 1);
}

// Every call of every process of the host passes through the programs: without a job, they look at
// nothing but this count.
TEST_F(AuditSource, JobsAreCountedAsLongAsTheyRun) {
  const auto jobs = [] {
    auto objects = OpenBpfObjects(state_->path());
    const uint32_t all = CARREL_BUCKETS;
    uint64_t count = 99;
    EXPECT_EQ(objects ? ::bpf_map_lookup_elem(objects->present.get(), &all, &count) : -1, 0);
    return count;
  };
  uint64_t during = 99;
  AuditedOptions options;
  options.running = [&](pid_t) { during = jobs(); };
  EXPECT_EQ(Run({"getsid", "10"}, options).calls["getsid"], 10u);
  EXPECT_EQ(during, 1u);
  EXPECT_EQ(jobs(), 0u);
}

// Programs that see nothing are no source: the action was there.
TEST_F(AuditSource, AnActionOfWhichNothingWasSeenIsALoss) {
  TestCgroup cgroup;
  auto source = AttachBpfSource(state_->path(), cgroup.id(), -1);
  auto log = AuditLog::Create(state_->path(), "unseen");
  ASSERT_TRUE(source && log);
  EXPECT_EQ((*source)->Finish(**log)->lost, 1u);
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
