// Carrel is killed with SIGKILL: nothing of what the action did is lost, for the kernel has it
// still. What is there says meanwhile that it ends early, and the next command seals it.
#include <map>

#include "audit/query.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using testing::HasSubstr;
using testing::Not;

class AuditKilled : public testing::Test {
 protected:
  std::string PathOf(const std::string& id) const {
    return jail_.state() + "/audit/" + HostId(id) + ".carrel-log";
  }
  LogVerdict Verdict(const std::string& id) const {
    auto verdict = VerifyLog(jail_.state(), PathOf(id), HostId(id));
    EXPECT_TRUE(verdict.has_value()) << verdict.error().ToString();
    return verdict ? *verdict : LogVerdict{};
  }
  SubprocessResult Audit(std::vector<std::string> words) const {
    words.insert(words.begin(), "audit");
    words.insert(words.end(), {"--state", jail_.state()});
    return RunCarrel(words);
  }
  SubprocessResult Audit(const std::string& verb, const std::string& id) const {
    return Audit({verb, HostId(id)});
  }
  // Kills the run as soon as its action has said so, and waits for the action's death.
  void KillWhen(Process& carrel, const std::string& id, const std::string& said) {
    ASSERT_TRUE(Eventually([&] { return carrel.Out() == said; }, 60)) << carrel.Err();
    Kill(carrel, id);
  }
  static void Kill(Process& carrel, const std::string& id) {
    ::kill(carrel.pid(), SIGKILL);
    EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
    ASSERT_TRUE(Eventually([&] { return TasksOf(id).empty(); }, 10));
  }
  // The first arguments of all calls of getppid, by the program that numbers them.
  std::vector<uint64_t> Numbers(const std::string& id) const {
    std::vector<uint64_t> numbers;
    auto reader = LogReader::Open(PathOf(id));
    EXPECT_TRUE(reader.has_value());
    EventFilter filter;
    filter.syscalls = {*SyscallNumber("getppid")};
    EXPECT_TRUE(ForEachEvent(*reader, filter, [&](const AuditEvent& event) {
                  EXPECT_EQ(event.task.comm, "audit_calls");
                  EXPECT_NE(event.task.inner_tid, 0u);
                  numbers.push_back(event.args[0]);
                }).has_value());
    return numbers;
  }
  void ExpectNumbered(const std::string& id) const {
    const auto numbers = Numbers(id);
    for (size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], i);
  }
  void RunNext() { EXPECT_EQ(jail_.Run({"--", "/audit_calls", "getppid", "1"}).status, 0); }

  Jail jail_{{"audit_calls"}};
};

TEST_F(AuditKilled, NoCallOfTheLastSecondIsLost) {
  Process carrel = jail_.Start({"--id", "last", "--", "/audit_calls", "number", "5000"});
  KillWhen(carrel, "last", "done\n");
  EXPECT_LT(Numbers("last").size(), 5000u);  // else there was nothing to recover
  RunNext();
  const LogVerdict verdict = Verdict("last");
  EXPECT_EQ(verdict.finding, LogFinding::kWhole) << verdict.why;
  EXPECT_THAT(verdict.why, HasSubstr("carrel was killed"));
  EXPECT_EQ(Numbers("last").size(), 5000u);
  ExpectNumbered("last");
  jail_.ExpectNothingLeft("last");
}

// Whatever the moment, in whatever state the block that is being written: none twice, none missing.
TEST_F(AuditKilled, AtAnyMomentOfAFlood) {
  for (int moment = 0; moment < 12; ++moment) {
    const std::string id = "flood" + std::to_string(moment);
    Process carrel = jail_.Start({"--id", id, "--", "/audit_calls", "number", "2000000000"});
    std::error_code none;
    ASSERT_TRUE(Eventually(
        [&] { return std::filesystem::file_size(PathOf(id), none) > 100'000 && !none; }, 60))
        << carrel.Err();
    ::usleep(static_cast<useconds_t>(moment) * 3001);
    Kill(carrel, id);
    const size_t before = Numbers(id).size();
    RunNext();
    const LogVerdict verdict = Verdict(id);
    EXPECT_EQ(verdict.finding, LogFinding::kWhole) << verdict.why;
    EXPECT_GT(Numbers(id).size(), before);
    ExpectNumbered(id);
  }
}

// The name was in the ring before the last block was written, the call's end after it.
TEST_F(AuditKilled, ACallThatWasUnderWayHasItsName) {
  Process carrel = jail_.Start({"--id", "under", "--", "/audit_calls", "blocked", "/tmp/a-fifo"});
  KillWhen(carrel, "under", "done\n");
  RunNext();
  EXPECT_EQ(Verdict("under").finding, LogFinding::kWhole) << Verdict("under").why;
  int opened = 0;
  auto reader = LogReader::Open(PathOf("under"));
  EventFilter filter;
  filter.path = "/tmp/a-fifo";
  filter.syscalls = {*SyscallNumber("openat"), *SyscallNumber("open")};
  ASSERT_TRUE(ForEachEvent(*reader, filter, [&](const AuditEvent& event) {
                EXPECT_LT(event.result, 0);
                EXPECT_EQ(event.task.comm, "audit_calls");
                ++opened;
              }).has_value());
  EXPECT_EQ(opened, 1);
}

TEST_F(AuditKilled, EveryCommandSaysThatTheLogEndsEarly) {
  Process carrel = jail_.Start({"--id", "early", "--", "/audit_calls", "number", "100"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "done\n"; }, 60)) << carrel.Err();
  EXPECT_THAT(Audit({"list"}).output, HasSubstr("running"));
  EXPECT_THAT(Audit("verify", "early").output, HasSubstr("the job runs"));
  EXPECT_EQ(Audit("verify", "early").exit_code, 5);
  EXPECT_THAT(Audit("show", "early").output, HasSubstr("NOT sealed (running)"));
  Kill(carrel, "early");

  EXPECT_THAT(Audit({"list"}).output, HasSubstr("truncated"));
  EXPECT_THAT(Audit({"list", "--json"}).output, HasSubstr(R"("end":"truncated")"));
  EXPECT_EQ(Audit("verify", "early").exit_code, 4);
  EXPECT_THAT(Audit("verify", "early").output, HasSubstr("ends early"));
  EXPECT_THAT(Audit("show", "early").output, HasSubstr("NOT sealed (truncated)"));
  for (const char* verb : {"show", "query", "stats", "tail", "export"}) {
    const auto told = Audit(verb, "early");
    EXPECT_EQ(told.exit_code, 70) << verb;
    EXPECT_THAT(told.errors, HasSubstr("it ends early and has no seal")) << verb;
  }
  const auto report = Audit("report", "early");
  EXPECT_EQ(report.exit_code, 4);
  EXPECT_THAT(report.output, HasSubstr("The log ends early"));
  EXPECT_THAT(report.errors, HasSubstr("ends early"));

  RunNext();
  EXPECT_THAT(Audit({"list"}).output, AllOf(HasSubstr("recovered"), Not(HasSubstr("truncated"))));
  const auto verified = Audit("verify", "early");
  EXPECT_EQ(verified.exit_code, 0);
  EXPECT_THAT(verified.output, HasSubstr("whole"));
  EXPECT_THAT(verified.output, HasSubstr("carrel was killed"));
  EXPECT_THAT(Audit("query", "early").errors, HasSubstr("recovered"));
}

// The command that would seal the log is killed as well.
TEST_F(AuditKilled, TheNextButOneSealsItToo) {
  Process carrel = jail_.Start({"--id", "twice", "--", "/audit_calls", "number", "5000"});
  KillWhen(carrel, "twice", "done\n");
  std::filesystem::rename(PathOf("twice"), jail_.state() + "/aside");
  RunNext();  // sweeps, and does not come to the log
  std::filesystem::rename(jail_.state() + "/aside", PathOf("twice"));
  WriteFile(jail_.state() + "/dead/" + HostId("twice"), "");
  RunNext();
  EXPECT_EQ(Verdict("twice").finding, LogFinding::kWhole) << Verdict("twice").why;
  EXPECT_EQ(Numbers("twice").size(), 5000u);
  EXPECT_TRUE(std::filesystem::is_empty(jail_.state() + "/dead"));
}

// Without the ring there is no telling what else there was, and the seal says so.
TEST_F(AuditKilled, WhatIsGoneIsSaidToBeLost) {
  Process carrel = jail_.Start({"--id", "gone", "--", "/audit_calls", "number", "100"});
  KillWhen(carrel, "gone", "done\n");
  EXPECT_EQ(Audit({"unload"}).exit_code, 0);
  RunNext();
  const LogVerdict verdict = Verdict("gone");
  EXPECT_EQ(verdict.finding, LogFinding::kIncomplete);
  EXPECT_THAT(verdict.why, HasSubstr("carrel was killed"));
  EXPECT_THAT(Audit({"list"}).output, HasSubstr("incomplete"));
}

// Another job must not take the ring before its events are read: it takes one that nobody left.
TEST_F(AuditKilled, JobsThatRunAlreadyDoNotTakeTheRing) {
  Process first = jail_.Start({"--id", "first", "--", "/audit_calls", "number", "100"});
  ASSERT_TRUE(Eventually([&] { return first.Out() == "done\n"; }, 60)) << first.Err();
  Process other = jail_.Start({"--id", "other", "--", "/audit_calls", "number", "200"});
  ASSERT_TRUE(Eventually([&] { return other.Out() == "done\n"; }, 60)) << other.Err();
  Kill(first, "first");
  Kill(other, "other");
  RunNext();
  EXPECT_EQ(Numbers("first").size(), 100u);
  EXPECT_EQ(Numbers("other").size(), 200u);
  EXPECT_EQ(Verdict("first").finding, LogFinding::kWhole);
  EXPECT_EQ(Verdict("other").finding, LogFinding::kWhole);
}

}  // namespace
}  // namespace carrel::testing_support
