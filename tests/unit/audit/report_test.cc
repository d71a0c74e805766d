// What the audit commands make of a log, without one: text, order, time line, oddities, profiles.
#include "audit/report.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <random>

#include "audit/behaviour.h"
#include "audit/call_class.h"
#include "audit/oddities.h"
#include "audit/ordered_work.h"
#include "audit/render.h"
#include "audit/seccomp_profile.h"
#include "audit/text.h"

namespace carrel {
namespace {

TEST(Text, EscapesCannotBeForged) {
  // A name that spells an escape is not shown as the byte would be.
  EXPECT_EQ(Printable("a\\x1bb"), "a\\x5cx1bb");
  EXPECT_EQ(Printable("a\x1b"
                      "b"),
            "a\\x1bb");
  EXPECT_EQ(Printable("C:\\x"), "C:\\x");
}

TEST(Text, JsonStringsAreAsciiAndReadBack) {
  for (const std::string& text :
       {std::string("plain"), std::string("q\"b\\s/"), std::string("\x00\x1f\x7f", 3),
        std::string("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), std::string("\\x41")}) {
    std::string json;
    AppendJsonString(text, json);
    for (char c : json) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << json;
    EXPECT_EQ(Json::parse(json).get<std::string>(), Utf8(text)) << json;
  }
  std::string json;
  AppendJsonString("\xff\xc0\xaf", json);
  EXPECT_EQ(Json::parse(json), "\\xff\\xc0\\xaf");
}

TEST(Text, FitsColumnsNotBytes) {
  EXPECT_EQ(Fit("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(Fit("abcdefghi", 8), "abcde...");
  EXPECT_EQ(Fit("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 4), "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
  EXPECT_EQ(DisplayWidth("\xe4\xb8\xad\xe6\x96\x87"), 4u);  // two wide characters
  EXPECT_LE(DisplayWidth(Fit("\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87", 6)), 6u);
}

TEST(OrderedWork, TakesInTheOrderOfGiving) {
  OrderedWork work(4);
  std::vector<int> taken;
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const unsigned pause = random() % 300;
    auto pushed = work.Push([pause] { return ::usleep(pause), Result<void>(); },
                            [&taken, i] { return taken.push_back(i), Result<void>(); });
    ASSERT_TRUE(pushed.has_value());
  }
  ASSERT_TRUE(work.Drain().has_value());
  ASSERT_EQ(taken.size(), 200u);
  EXPECT_TRUE(std::is_sorted(taken.begin(), taken.end()));
}

TEST(OrderedWork, AnErrorComesBackAndTheRestIsGivenUp) {
  OrderedWork work(2);
  bool failed = false;
  int taken = 0;
  for (int i = 0; i < 100 && !failed; ++i)
    failed = !work.Push([i] { return i == 5 ? Result<void>(Fault("x", "y")) : Result<void>(); },
                        [&] { return ++taken, Result<void>(); });
  EXPECT_TRUE(failed || !work.Drain());
  EXPECT_EQ(taken, 5);
}

TEST(TimeLine, DoublesItsBinsAndLosesNothing) {
  TimeLine line;
  uint64_t added = 0;
  for (int64_t at = 0; at < 3'600'000'000'000; at += 700'000'000) {
    line.Add(at, static_cast<CallClass>(added % kCallClasses), added % 2 == 0, added % 10 == 0);
    ++added;
  }
  EXPECT_LE(line.bins().size(), TimeLine::kMaxBins);
  EXPECT_GT(line.bins().size(), TimeLine::kMaxBins / 3);
  uint64_t calls = 0, errors = 0, denied = 0;
  for (const TimeLine::Bin& bin : line.bins()) {
    for (uint64_t n : bin.calls) calls += n;
    errors += bin.errors;
    denied += bin.denied;
  }
  EXPECT_EQ(calls, added);
  EXPECT_EQ(errors, (added + 1) / 2);
  EXPECT_EQ(denied, (added + 9) / 10);
}

TEST(SteadyPath, TakesOutWhatDiffersInEveryRun) {
  EXPECT_EQ(SteadyPath("/proc/12/task/13/stat"), "/proc/N/task/N/stat");
  EXPECT_EQ(SteadyPath("/proc/self/maps"), "/proc/self/maps");
  EXPECT_EQ(SteadyPath("/tmp/tmpab12cd_x/data.csv"), "/tmp/tmp*/data.csv");
  EXPECT_EQ(SteadyPath("/tmp/RtmpAbCdEf/file12ab34cd"), "/tmp/Rtmp*/file*");
  EXPECT_EQ(SteadyPath("/tmp/x8_k2jqz"), "/tmp/*");
  EXPECT_EQ(SteadyPath("/usr/lib/a.pyc.140234"), "/usr/lib/a.pyc.N");
  EXPECT_EQ(SteadyPath("/workspace/output/2024.csv"), "/workspace/output/2024.csv");
}

AuditEvent Call(uint32_t nr, std::array<uint64_t, 6> args = {}, uint8_t flags = 0) {
  AuditEvent event;
  event.nr = nr;
  event.args = args;
  event.flags = flags;
  event.task.inner_tgid = 2;
  return event;
}

std::string OddKinds(const AuditEvent& event) {
  std::string kinds;
  for (const Oddity& oddity : OdditiesOf(event)) kinds += std::string(oddity.kind) + ' ';
  return kinds;
}

TEST(Oddities, AreSeenAndOrdinaryCallsAreNone) {
  AuditEvent event = Call(SYS_openat);
  for (const char* name : {"/proc/self/environ", "/etc/shadow", "/proc/12/mem",
                           "/home/u/.ssh/id_rsa", "/proc/sys/kernel/core_pattern"}) {
    event.data = {{1, kDataString, 0, name}};
    EXPECT_EQ(OddKinds(event), "sensitive-place ") << name;
  }
  for (const char* name : {"/proc/self/maps", "/workspace/environ", "memory/mem", "/etc/passwd"}) {
    event.data = {{1, kDataString, 0, name}};
    EXPECT_EQ(OddKinds(event), "") << name;
  }
  EXPECT_EQ(OddKinds(Call(SYS_mmap, {0, 4096, 7})), "writable-code ");
  EXPECT_EQ(OddKinds(Call(SYS_mmap, {0, 4096, 5})), "");
  EXPECT_EQ(OddKinds(Call(5, {}, kCallCompat)), "foreign-abi ");
  EXPECT_EQ(OddKinds(Call(0x40000000u | 39)), "foreign-abi ");
  AuditEvent exec;
  exec.kind = EventKind::kExec;
  exec.has_file = true;
  exec.file.path = "/tmp/x";
  exec.task.inner_tgid = 2;
  EXPECT_EQ(OddKinds(exec), "written-program ");
  exec.file.path = "/usr/bin/x";
  EXPECT_EQ(OddKinds(exec), "");
  exec.file.flags = kDataOutside;
  EXPECT_EQ(OddKinds(exec), "outside ");
}

TEST(FileUse, IsReadFromTheFlagsWhereverTheyAre) {
  EXPECT_EQ(UseOf(Call(SYS_openat, {0, 0, O_WRONLY | O_CREAT})), FileUse::kWrite);
  EXPECT_EQ(UseOf(Call(SYS_openat, {0, 0, O_RDONLY | O_CLOEXEC})), FileUse::kRead);
  EXPECT_EQ(UseOf(Call(SYS_creat)), FileUse::kWrite);
  AuditEvent event = Call(SYS_openat2);
  std::string how(24, '\0');
  how[0] = O_RDWR;
  event.data = {{2, kDataBytes, 0, how}};
  EXPECT_EQ(UseOf(event), FileUse::kWrite);
  EXPECT_NE(CallText(event).find("{flags=O_RDWR, "), std::string::npos) << CallText(event);
}

TEST(EntryOnly, HasNoResult) {
  AuditEvent event = Call(SYS_openat, {}, kCallEntryOnly);
  event.result = -2;
  EXPECT_EQ(ErrorOf(event), "");
  EXPECT_TRUE(CallText(event).ends_with("= ?")) << CallText(event);
}

TEST(ProfileUse, KeepsRulesThatCallsMet) {
  const std::string document = R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
    {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "comment": "AF_UNIX",
     "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "comment": "AF_INET",
     "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
    {"names": ["socket", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]})";
  auto use = ProfileUse::Of({document});
  ASSERT_TRUE(use.has_value()) << use.error().ToString();
  use->Add(Call(SYS_read));
  use->Add(Call(SYS_socket, {1}));
  use->Add(Call(SYS_mount, {}, kCallDenied));
  use->Add(Call(SYS_getpid));
  EXPECT_EQ(use->Excess(), std::vector<std::string>{"write"});
  EXPECT_EQ(use->UnusedConditions(), std::vector<std::string>{"socket: AF_INET"});
  EXPECT_EQ(use->Missing(), std::vector<std::string>{"getpid"});
  const Json small = Json::parse(use->Smallest().dump());
  ASSERT_EQ(small["syscalls"].size(), 4u) << small;
  EXPECT_EQ(small["syscalls"][0]["names"], Json::array({"read"}));
  EXPECT_EQ(small["syscalls"][1]["args"][0]["value"], 1);
  EXPECT_EQ(small["syscalls"][2]["names"], Json::array({"mount", "socket"}));
  EXPECT_EQ(small["syscalls"][3]["names"], Json::array({"getpid"}));
  EXPECT_FALSE(ProfileUse::Of({"{}"}).has_value());
}

TEST(Findings, WhatNoLibraryTriesIsAnAlarmWhateverItsCall) {
  ReportData data;
  data.denied_calls["clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88)"].count = 3;
  data.denied_calls["ioctl(0, 21523, ...)"].count = 1;
  LogVerdict whole;
  whole.finding = LogFinding::kWhole;
  auto found = FindUnusual(data, whole);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].title, "Calls were denied that libraries often try");
  EXPECT_EQ(found[0].count, 4u);
  data.denied_calls["clone3({flags=CLONE_NEWUSER, exit_signal=SIGCHLD}, 88)"].count = 1;
  data.denied_calls["ioctl(0, TIOCSTI, ...)"].count = 1;
  found = FindUnusual(data, whole);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].title, "Calls were denied that an analysis does not need");
  EXPECT_EQ(found[0].count, 2u);
}

TEST(ReportPage, HoldsItsPolicyAndNoOpenDoor) {
  ReportData data;
  data.job = "j";
  data.records.push_back({0, "end", Json{{"x", "</script><!--<script>&"}}});
  LogVerdict verdict;
  verdict.finding = LogFinding::kTruncated;
  auto page = ReportPage(ReportJson(data, verdict, std::nullopt));
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  EXPECT_NE(page->find("default-src 'none'; script-src 'sha256-"), std::string::npos);
  EXPECT_EQ(page->find("unsafe"), std::string::npos);
  EXPECT_NE(page->find("\\u003c/script\\u003e\\u003c!--"), std::string::npos);
  size_t scripts = 0;
  for (size_t at = 0; (at = page->find("</script>", at)) != std::string::npos; ++at) ++scripts;
  EXPECT_EQ(scripts, 2u);
  for (const char* load : {" src=", "@import", "url(http", "fetch(", "XMLHttpRequest", "WebSocket"})
    EXPECT_EQ(page->find(load), std::string::npos) << load;
  EXPECT_NE(page->find("The MIT License"), std::string::npos) << "uPlot's licence stays with it";
}

}  // namespace
}  // namespace carrel
