// The log cannot be written, the source cannot be had, the supervisor is killed: the action ends,
// and what is there says so.
#include <sys/statvfs.h>

#include <set>

#include "audit/query.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using testing::HasSubstr;

std::string LogOf(const Jail& jail, const std::string& id) {
  return jail.state() + "/audit/" + HostId(id) + ".carrel-log";
}

LogVerdict Verdict(const Jail& jail, const std::string& id) {
  auto verdict = VerifyLog(jail.state(), LogOf(jail, id), HostId(id));
  EXPECT_TRUE(verdict.has_value()) << verdict.error().ToString();
  return verdict ? *verdict : LogVerdict{};
}

void ForEachRow(const Jail& jail, const std::string& id,
                const std::function<void(const AuditEvent&)>& visit) {
  auto reader = LogReader::Open(LogOf(jail, id));
  ASSERT_TRUE(reader.has_value());
  EXPECT_TRUE(ForEachEvent(*reader, {}, visit).has_value());
}

std::string Records(const Jail& jail, const std::string& id) {
  std::string all;
  ForEachRow(jail, id, [&](const AuditEvent& event) {
    if (event.kind == EventKind::kRecord) all += std::string(event.record) + '\n';
  });
  return all;
}

/// A mount that goes with the object.
class Mounted {
 public:
  Mounted(const std::string& command, std::string at) : at_(std::move(at)) {
    std::filesystem::create_directories(at_);
    const std::string line = command + " " + at_;
    EXPECT_EQ(::system(line.c_str()), 0) << line;  // NOLINT: fixed words
  }
  ~Mounted() {
    ::umount2((at_ + "/bpf").c_str(), MNT_DETACH);
    ::umount2(at_.c_str(), MNT_DETACH);
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

 private:
  const std::string at_;
};

// Leaves `room` bytes of the file system at `path`.
void FillDisk(const std::string& path, uint64_t room) {
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(path.c_str(), &disk), 0);
  const uint64_t free = disk.f_bavail * disk.f_frsize;
  ASSERT_GT(free, room);
  const UniqueFd file(::open((path + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::posix_fallocate(file.get(), 0, static_cast<off_t>(free - room)), 0);
}

// Little room, and calls whose log does not get small: on a busy host too it is soon used up.
TEST(AuditFailure, AFullDiskEndsTheActionAndTheLogSaysSo) {
  Jail jail({"audit_calls"});
  const Mounted disk("mount -t tmpfs -o size=3m tmpfs", jail.state());
  ASSERT_EQ(jail.Run({"--", "/audit_calls", "getppid", "10"}).status, 0);  // what is made once
  FillDisk(jail.state(), 512u << 10);
  const Outcome outcome = jail.Run({"--id", "full", "--", "/audit_calls", "number", "2000000000"});
  EXPECT_EQ(outcome.status, 70) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("ENOSPC"));
  EXPECT_THAT(outcome.err, HasSubstr("write the audit log"));
  const LogVerdict verdict = Verdict(jail, "full");
  EXPECT_EQ(verdict.finding, LogFinding::kIncomplete) << verdict.why;
  EXPECT_GT(verdict.events, 10'000u);
  EXPECT_THAT(Records(jail, "full"), HasSubstr("audit_failed"));
  EXPECT_THAT(Records(jail, "full"), HasSubstr("ENOSPC"));
  jail.ExpectNothingLeft("full");
}

// A file system on a sparse file whose disk is full: every write succeeds, and none arrives.
TEST(AuditFailure, WhatDoesNotReachTheDiskFailsTheRun) {
  Jail jail({"audit_calls"});
  const std::string disk = jail / "disk";
  const Mounted room("mount -t tmpfs -o size=4m tmpfs", disk);
  ASSERT_EQ(::system(("truncate -s 32m " + disk + "/image && mkfs.ext4 -q -F -O ^has_journal " +
                      disk + "/image")
                         .c_str()),
            0);
  const Mounted state("mount -o loop " + disk + "/image", jail.state());
  ASSERT_EQ(jail.Run({"--", "/audit_calls", "getppid", "10"}).status, 0);
  ::sync();
  ASSERT_NE(::system(("dd if=/dev/zero of=" + disk + "/rest bs=4k 2>/dev/null").c_str()), 0);
  const Outcome outcome = jail.Run({"--id", "error", "--", "/audit_calls", "crowd", "8", "20000"});
  EXPECT_EQ(outcome.status, 70) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("audit log"));
}

TEST(AuditFailure, AKilledSupervisorLeavesALogThatReadsToItsLastBlock) {
  Jail jail({"audit_calls"});
  Process carrel = jail.Start({"--id", "killed", "--", "/audit_calls", "getppid", "2000000000"});
  ASSERT_TRUE(Eventually(
      [&] {
        std::error_code none;
        const auto size = std::filesystem::file_size(LogOf(jail, "killed"), none);
        return !none && size > 100'000;
      },
      60))
      << carrel.Err();
  ::kill(carrel.pid(), SIGKILL);
  EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
  EXPECT_TRUE(Eventually([] { return TasksOf("killed").empty(); }, 10));
  const LogVerdict verdict = Verdict(jail, "killed");
  EXPECT_EQ(verdict.finding, LogFinding::kTruncated) << verdict.why;
  EXPECT_GT(verdict.events, 10'000u);
  EXPECT_EQ(jail.Run({"--", "/audit_calls", "getppid", "10"}).status, 0);
  jail.ExpectNothingLeft("killed");
}

uint64_t CallsNamed(const Jail& jail, const std::string& id, const std::string& name) {
  uint64_t count = 0;
  ForEachRow(jail, id, [&](const AuditEvent& event) {
    count += event.kind == EventKind::kCall && SyscallName(event.nr, false) == name;
  });
  return count;
}

// The directory of the pins, below the jail's state.
std::string Pins(const Jail& jail) {
  for (const auto& entry : std::filesystem::directory_iterator(jail.state() + "/bpf"))
    if (entry.is_directory()) return entry.path();
  return "";
}

// Without its link a program sees nothing, and the log would say nothing of that.
TEST(AuditFailure, PinsThatAreGoneAreMadeAnew) {
  Jail jail({"audit_calls"});
  ASSERT_EQ(jail.Run({"--", "/audit_calls", "getppid", "10"}).status, 0);
  for (const char* pin : {"link-on_exit", "slots", "link-on_enter"}) {
    ASSERT_TRUE(std::filesystem::remove(Pins(jail) + "/" + pin)) << pin;
    const Outcome outcome = jail.Run({"--id", pin, "--", "/audit_calls", "getppid", "1000"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(CallsNamed(jail, pin, "getppid"), 1000u) << pin;
    EXPECT_EQ(Verdict(jail, pin).finding, LogFinding::kWhole);
  }
}

// A running job does not depend on its pins, and another cannot begin with half of them.
TEST(AuditFailure, PinsThatGoUnderARunningJobCostNoEvent) {
  Jail jail({"audit_calls", "act"});
  Process running = jail.Start({"--id", "runs", "--", "/audit_calls", "short", "5000"});
  // An init with a child: a task is in several cgroups, and the launcher's child is one alone.
  ASSERT_TRUE(Eventually(
      [] {
        const std::vector<pid_t> tasks = TasksOf("runs");
        return std::set<pid_t>(tasks.begin(), tasks.end()).size() > 1;
      },
      60))
      << running.Err();
  ASSERT_TRUE(std::filesystem::remove(Pins(jail) + "/link-on_exit"));
  const Outcome refused = jail.Run({"--id", "half", "--", "/act", "echo"});
  EXPECT_EQ(refused.status, 70);
  EXPECT_THAT(refused.err, HasSubstr("some of the pinned BPF programs and maps are gone"));
  ASSERT_EQ(::umount2((jail.state() + "/bpf").c_str(), MNT_DETACH), 0);
  EXPECT_EQ(running.Wait(), 0) << running.Err();
  EXPECT_EQ(CallsNamed(jail, "runs", "getsid"), 5000u);
  EXPECT_EQ(Verdict(jail, "runs").finding, LogFinding::kWhole);
  EXPECT_EQ(jail.Run({"--id", "next", "--", "/audit_calls", "getppid", "10"}).status, 0);
  EXPECT_EQ(CallsNamed(jail, "next", "getppid"), 10u);
}

// The records from before the action are in the log as soon as it runs.
TEST(AuditFailure, KilledAtOnceTheLogSaysWhatRan) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "young", "--", "/act", "sleep"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
  ::kill(carrel.pid(), SIGKILL);
  EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
  const auto shown = RunCarrel({"audit", "show", HostId("young"), "--state", jail.state()}).output;
  EXPECT_THAT(shown, HasSubstr("/act sleep"));
  EXPECT_THAT(shown, HasSubstr("completeness=full"));
  EXPECT_THAT(shown, testing::Not(HasSubstr("1970")));
  EXPECT_TRUE(Eventually([] { return TasksOf("young").empty(); }, 10));
  EXPECT_EQ(jail.Run({"--", "/act", "exit", "0"}).status, 0);
  jail.ExpectNothingLeft("young");
}

// `carrel exec` where the kernel refuses BPF.
Outcome RunWithoutBpf(Jail& jail, const std::string& id, std::vector<std::string> options) {
  std::vector<std::string> words = {CARREL_BINARY, "exec",        "--state", jail.state(),
                                    "--rootfs",    jail.rootfs(), "--id",    HostId(id)};
  words.insert(words.end(), options.begin(), options.end());
  StartOptions start;
  start.binary = Payload("no_bpf");
  Process process = jail.StartCarrel(words, start);
  const int status = process.Wait();
  return {status, process.Out(), process.Err()};
}

TEST(AuditFailure, WithoutBpfNothingRuns) {
  Jail jail({"act"});
  const Outcome outcome = RunWithoutBpf(jail, "none", {"--", "/act", "echo"});
  EXPECT_EQ(outcome.status, 70) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("BPF"));
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(Verdict(jail, "none").events, 0u);
  jail.ExpectNothingLeft("none");
}

TEST(AuditFailure, EntriesAloneAreEnoughOnlyWhenTheOperatorSaysSo) {
  Jail jail({"audit_calls"});
  const Outcome outcome = RunWithoutBpf(
      jail, "entries", {"--allow-entry-only-audit", "--", "/audit_calls", "crowd", "8", "500"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const LogVerdict verdict = Verdict(jail, "entries");
  EXPECT_EQ(verdict.finding, LogFinding::kWhole) << verdict.why;
  std::map<std::string, int> calls;
  std::string argv;
  ForEachRow(jail, "entries", [&](const AuditEvent& event) {
    if (event.kind != EventKind::kCall) return;
    EXPECT_TRUE(event.flags & kCallEntryOnly);
    const std::string name = SyscallName(event.nr, false);
    ++calls[name];
    if (name != "execve") return;
    for (const Datum& datum : event.data) argv += std::string(datum.bytes) + ';';
  });
  EXPECT_EQ(calls["getppid"], 4000);
  EXPECT_EQ(calls["exit_group"], 10);  // of the eight, the program, the init
  EXPECT_EQ(argv, std::string("/audit_calls;/audit_calls\0crowd\0008\000500\0;", 39));
  EXPECT_THAT(Records(jail, "entries"), HasSubstr(R"("completeness":"entry_only")"));
  EXPECT_THAT(Records(jail, "entries"), HasSubstr("audit_entry_only"));
  auto reader = LogReader::Open(LogOf(jail, "entries"));
  while (*reader->NextBlock()) {
  }
  EXPECT_TRUE(reader->seal().counts.entry_only);
  jail.ExpectNothingLeft("entries");
}

TEST(AuditFailure, WithBpfTheLogIsFullWhateverIsAllowed) {
  Jail jail({"audit_calls"});
  EXPECT_EQ(
      jail.Run({"--id", "bpf", "--allow-entry-only-audit", "--", "/audit_calls", "getppid", "10"})
          .status,
      0);
  EXPECT_THAT(Records(jail, "bpf"), HasSubstr(R"("completeness":"full")"));
}

TEST(AuditFailure, ALogOverItsLimitEndsTheAction) {
  Jail jail({"audit_calls"});
  const Outcome outcome = jail.Run(
      {"--id", "large", "--audit-bytes", "1M", "--", "/audit_calls", "number", "2000000000"});
  EXPECT_EQ(outcome.status, 70) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the audit log has more than 1048576 bytes"));
  EXPECT_EQ(Verdict(jail, "large").finding, LogFinding::kWhole);
  EXPECT_THAT(Records(jail, "large"), HasSubstr("audit_limit"));
}

TEST(AuditFailure, WhoWasKilledForMemoryIsMarked) {
  Jail jail({"act"});
  (void)jail.Run({"--id", "eat", "--memory", "64M", "--", "/act", "eat", "anonymous"});
  int marked = 0;
  ForEachRow(jail, "eat", [&](const AuditEvent& event) {
    marked += event.kind == EventKind::kExit && (event.flags & kExitOom) != 0;
  });
  EXPECT_GT(marked, 0);
}

TEST(AuditFailure, EveryProgramOfARunHasADigest) {
  Jail jail({"act"});
  EXPECT_EQ(jail.Run({"--id", "digest", "--", "/act", "exit", "0"}).status, 0);
  std::set<std::string> paths;
  ForEachRow(jail, "digest", [&](const AuditEvent& event) {
    if (event.kind == EventKind::kDigest && event.data.at(0).bytes.size() == 32)
      paths.emplace(event.file.path);
  });
  EXPECT_EQ(paths.count("/act"), 1u);
}

}  // namespace
}  // namespace carrel::testing_support
