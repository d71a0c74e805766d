// The log without a kernel: what is written comes back. (log_changes_test.cc: no change passes.)
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "audit/audit_log.h"
#include "audit/block_encoder.h"
#include "audit/block_filter.h"
#include "audit/log_writer.h"
#include "audit/query.h"
#include "audit/recorder.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "base/fs.h"
#include "support/audit_log_fixture.h"

namespace carrel {
namespace {

using namespace testing_support;  // NOLINT: the builders of raw records

TEST_F(AuditLogTest, WhatWasWrittenComesBack) {
  Write("a");
  auto log = LogReader::Open(PathOf("a"));
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(log->job(), "a");
  std::vector<EventKind> kinds;
  uint64_t getppid = 0, last_arg = 0;
  auto done = ForEachEvent(*log, {}, [&](const AuditEvent& event) {
    if (event.kind == EventKind::kCall && event.nr == kGetppid) {
      EXPECT_EQ(event.time_ns, static_cast<int64_t>(70400 + 1280 * getppid));
      EXPECT_EQ(event.duration_ns, 768u);
      EXPECT_EQ(event.task.tid, 101u);
      EXPECT_EQ(event.args[0], getppid);
      EXPECT_EQ(event.args[1], 7u);
      ++getppid;
      return;
    }
    kinds.push_back(event.kind);
    if (event.kind == EventKind::kExec) {
      EXPECT_EQ(event.task.comm, "tool");
      EXPECT_EQ(event.file.path, "/bin/tool");
      EXPECT_EQ(event.data.at(0).bytes, std::string_view("tool\0--x\0", 9));
    }
    if (event.kind == EventKind::kCall && event.nr == kOpenat) {
      EXPECT_EQ(event.data.at(0).bytes, "data/in.csv");
      EXPECT_EQ(event.file.path, "/workspace/data/in.csv");
      EXPECT_EQ(event.file.inode, 77u);
      EXPECT_EQ(event.result, 3);
      EXPECT_EQ(event.args[0], 0xffffff9cu);
    }
    if (event.kind == EventKind::kCall && event.nr == kChmod) {
      EXPECT_EQ(event.flags, kCallDenied);
      EXPECT_EQ(event.result, -1);
      EXPECT_TRUE(event.data.empty());
      EXPECT_FALSE(event.has_file);
      last_arg = event.args[1];
    }
    if (event.kind == EventKind::kExit) {
      EXPECT_EQ(event.code, 9u);
    }
    if (event.kind == EventKind::kRecord) {
      EXPECT_EQ(event.record, R"({"kind":"decision","level":4})");
    }
  });
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(getppid, 1000u);
  EXPECT_EQ(last_arg, 0777u);
  using enum EventKind;
  EXPECT_EQ(kinds,
            (std::vector<EventKind>{kRecord, kTask, kExec, kCall, kTask, kCall, kExit, kDigest}));
  EXPECT_EQ(log->end(), LogEnd::kSealed);
}

TEST_F(AuditLogTest, AWholeLogVerifies) {
  Write("a");
  auto verdict = Verify("a");
  EXPECT_EQ(verdict.finding, LogFinding::kWhole) << verdict.why;
  EXPECT_EQ(verdict.head, head_);
  EXPECT_EQ(verdict.events, 1002u);
}

TEST_F(AuditLogTest, ABlockSaysWhatItMayHold) {
  Write("a");
  auto log = LogReader::Open(PathOf("a"));
  ASSERT_TRUE(*log->NextBlock());
  const std::string& filter = log->header().filter;
  EXPECT_TRUE(FilterMayHavePath(filter, "/workspace/data/in.csv"));
  EXPECT_TRUE(FilterMayHavePath(filter, "/workspace/da"));
  EXPECT_TRUE(FilterMayHavePath(filter, "data/in"));
  EXPECT_TRUE(FilterMayHavePath(filter, "/bin/tool"));
  EXPECT_TRUE(FilterMayHavePath(filter, "/nowhere"));  // no directory to tell it by
  EXPECT_TRUE(FilterMayHaveTask(filter, 101));
  EXPECT_TRUE(FilterMayHaveTask(filter, 2));
  EXPECT_TRUE(FilterMayHaveComm(filter, "tool"));
  int wrong = FilterMayHaveAddress(filter);
  for (uint32_t i = 0; i < 200; ++i) {
    wrong += FilterMayHavePath(filter, "/elsewhere" + std::to_string(i) + "/x");
    wrong += FilterMayHaveTask(filter, 5000 + i);
  }
  EXPECT_LT(wrong, 40);
  EXPECT_EQ(log->header().failed, 1u);
}

// Threat: the supervisor's memory, and headers that are larger than what they stand for.
TEST_F(AuditLogTest, ABlockOfPathsOfThousandsOfDirectoriesHasNoFilter) {
  auto log = AuditLog::Create(state_, "a");
  for (int i = 0; i < 200; ++i) {
    std::string path = "/" + std::to_string(i);
    while (path.size() < 4000) path += "/a";
    for (const std::string& raw :
         {RawDataOf(100, 1, kDataString, path), RawCallOf(100, kOpenat, 64000, -2, {1, 2, 3})})
      ASSERT_TRUE((*log)->AppendEvents(raw.data(), raw.size()).has_value());
  }
  ASSERT_TRUE((*log)->Finish({200, 0, 0, 0}).has_value());
  EXPECT_LT(std::filesystem::file_size(PathOf("a")), 100'000u);
  auto reader = LogReader::Open(PathOf("a"));
  ASSERT_TRUE(*reader->NextBlock());
  EXPECT_EQ(reader->header().filter, "");
  EventFilter filter;
  filter.path = "/7/a/a";
  size_t found = 0;
  auto all = LogReader::Open(PathOf("a"));
  ASSERT_TRUE(ForEachEvent(*all, filter, [&](const AuditEvent&) { ++found; }).has_value());
  EXPECT_EQ(found, 1u);
}

TEST_F(AuditLogTest, AQueryReadsTheHeadersOfWhatItPassesOver) {
  Write("a");
  std::string bytes = *ReadFile(PathOf("a"));
  auto open = LogReader::Open(PathOf("a"));
  ASSERT_TRUE(*open->NextBlock());
  const size_t in_payload = open->offset() - 10;
  bytes[in_payload] = static_cast<char>(bytes[in_payload] ^ 1);
  Replace("a", bytes);
  auto log = LogReader::Open(PathOf("a"));
  const auto more = log->NextBlockIf([](const BlockHeader& header) { return header.denied == 99; });
  ASSERT_TRUE(more.has_value());
  EXPECT_FALSE(*more);
  EXPECT_EQ(log->end(), LogEnd::kSealed) << log->why();
  EXPECT_EQ(Verify("a").finding, LogFinding::kAltered);
}

TEST_F(AuditLogTest, ALogBeyondItsLimitIsSaidOnceAndStillSealed) {
  auto log = AuditLog::Create(state_, "a");
  (*log)->SetLimit(20000);
  std::mt19937_64 random(1);
  uint64_t calls = 0;
  int said = 0;
  for (int drain = 0; drain < 20; ++drain) {
    for (int i = 0; i < 5000; ++i, ++calls) {
      const std::string call = RawCallOf(1, kGetppid, 64000, 0, {random(), random()});
      ASSERT_TRUE((*log)->AppendEvents(call.data(), call.size()).has_value());
    }
    said += !(*log)->AppendEvents(nullptr, 0).has_value();
  }
  EXPECT_EQ(said, 1);
  ASSERT_TRUE((*log)->Finish({calls, 0, 0, 0}).has_value());
  EXPECT_EQ(Verify("a").finding, LogFinding::kWhole);
}

TEST_F(AuditLogTest, LostEventsAreSaidByTheVerdict) {
  auto log = AuditLog::Create(state_, "a");
  ASSERT_TRUE((*log)->Finish({0, 0, 3, 0}).has_value());
  EXPECT_EQ(Verify("a").finding, LogFinding::kIncomplete);
}

TEST_F(AuditLogTest, AKilledWritersLogIsReadToItsLastBlock) {
  Write("a", false);
  auto verdict = Verify("a");
  EXPECT_EQ(verdict.finding, LogFinding::kTruncated);
  EXPECT_EQ(verdict.events, 1002u);
}

TEST_F(AuditLogTest, WhetherALogIsWrittenIsKnownFromItsLock) {
  const auto standing = [this] {
    auto log = LogReader::Open(PathOf("a"));
    EXPECT_TRUE(log.has_value());
    while (*log->NextBlockIf([](const BlockHeader&) { return false; })) {
    }
    return log->Standing();
  };
  auto log = AuditLog::Create(state_, "a");
  ASSERT_TRUE((*log)->Append("decision", {{"level", 4}}).has_value());
  EXPECT_EQ(standing(), LogStanding::kRunning);
  EXPECT_EQ(Verify("a").finding, LogFinding::kUnsealed);
  auto second = AuditLog::Resume(state_, "a");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::kRefused);
  ASSERT_TRUE((*log)->Pause().has_value());
  log->reset();
  EXPECT_EQ(standing(), LogStanding::kWaiting);
  EXPECT_EQ(Verify("a").finding, LogFinding::kUnsealed);

  auto resumed = AuditLog::Resume(state_, "a");
  ASSERT_TRUE(resumed.has_value()) << resumed.error().ToString();
  EXPECT_EQ(standing(), LogStanding::kRunning);
  ASSERT_TRUE(resumed->log->Append("more", {}).has_value());
  ASSERT_TRUE(resumed->log->Flush().has_value());
  resumed->log.reset();  // killed
  EXPECT_EQ(standing(), LogStanding::kCutOff);
  EXPECT_EQ(Verify("a").finding, LogFinding::kTruncated);

  resumed = AuditLog::Resume(state_, "a");
  ASSERT_TRUE(resumed.has_value()) << resumed.error().ToString();
  ASSERT_TRUE(resumed->log->Finish(resumed->counts).has_value());
  EXPECT_EQ(standing(), LogStanding::kSealed);
  EXPECT_EQ(Verify("a").finding, LogFinding::kWhole);  // nothing of an action had begun
  EXPECT_THAT(Verify("a").why, testing::HasSubstr("carrel was killed"));
}

// Nor is a FIFO waited for.
TEST_F(AuditLogTest, WhatIsNoFileIsNoLog) {
  std::filesystem::create_directories(state_ + "/audit");
  ASSERT_EQ(::mkfifo(PathOf("a").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir(PathOf("b").c_str(), 0700), 0);
  for (const char* id : {"a", "b"}) {
    const auto log = LogReader::Open(PathOf(id));
    ASSERT_FALSE(log.has_value());
    EXPECT_THAT(log.error().ToString(), testing::HasSubstr("no regular file"));
  }
}

// A redactor's secrets are not known to the process that goes on with a log.
TEST_F(AuditLogTest, StringsAreWithheldWhereTheSecretsInThemAreNotKnown) {
  {
    auto made = AuditLog::Create(state_, "a");
    auto* log = dynamic_cast<LogWriter*>(made->get());
    log->WithholdStrings();
    for (const std::string& raw :
         {RawTaskOf(100, 100, 1, "secret"), RawDataOf(100, 1, kDataString, "/data/secret"),
          RawDataOf(100, 2, kDataBytes, std::string(16, '\1')),
          RawDataOf(100, 3, kDataSockaddr, std::string("\2\0\x15\x38\x7f\0\0\1", 8)),
          RawFileOf(100, std::string("secret\0data\0", 12), 77),
          RawCallOf(100, kOpenat, 64000, 3, {1, 2, 3})})
      ASSERT_TRUE(log->AppendEvents(raw.data(), raw.size()).has_value());
    ASSERT_TRUE((*made)->Finish({1, 0, 0, 0}).has_value());
  }
  auto log = LogReader::Open(PathOf("a"));
  int calls = 0;
  ASSERT_TRUE(ForEachEvent(*log, {}, [&](const AuditEvent& event) {
                EXPECT_EQ(event.task.comm, "******");
                if (event.kind != EventKind::kCall) return;
                ++calls;
                EXPECT_EQ(event.data.at(0).bytes, "************");
                EXPECT_EQ(event.data.at(0).flags, 0);
                for (const size_t structure : {1, 2}) {
                  EXPECT_EQ(event.data.at(structure).bytes, "");
                  EXPECT_EQ(event.data.at(structure).flags, kDataFault);
                }
                EXPECT_EQ(event.file.path, "/****/******");
                EXPECT_EQ(event.args[1], 2u);
              }).has_value());
  EXPECT_EQ(calls, 1);
}

// The phases of a job are processes of their own: each goes on where the one before stopped.
TEST_F(AuditLogTest, AnotherProcessGoesOnWithALogAndSealsIt) {
  {
    auto log = AuditLog::Create(state_, "job");
    const std::string call = RawCallOf(100, kGetppid, 64000, 3);
    ASSERT_TRUE((*log)->AppendEvents(call.data(), call.size()).has_value());
    ASSERT_TRUE((*log)->Pause().has_value());
  }
  const auto before = VerifyLog(state_, PathOf("job"), "job");
  ASSERT_TRUE(before.has_value());
  auto resumed = AuditLog::Resume(state_, "job");
  ASSERT_TRUE(resumed.has_value()) << resumed.error().ToString();
  ASSERT_NE(resumed->log, nullptr);
  EXPECT_EQ(resumed->counts.events, before->events);
  ASSERT_TRUE(resumed->log->Append("end", {{"exit_code", 0}}).has_value());
  auto seal = resumed->log->Finish(resumed->counts);
  ASSERT_TRUE(seal.has_value()) << seal.error().ToString();
  auto after = VerifyLog(state_, PathOf("job"), "job");
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->finding, LogFinding::kWhole) << after->why;
  EXPECT_GT(after->blocks, before->blocks);

  auto sealed = AuditLog::Resume(state_, "job");
  ASSERT_TRUE(sealed.has_value()) << sealed.error().ToString();
  EXPECT_EQ(sealed->log, nullptr);
  EXPECT_EQ(sealed->seal->head, seal->head);
}

TEST_F(AuditLogTest, AHalfWrittenBlockIsCutOffAndSaid) {
  {
    auto log = AuditLog::Create(state_, "job");
    ASSERT_TRUE((*log)->Append("start", {{"event_source", "bpf"}}).has_value());
    ASSERT_TRUE((*log)->Flush().has_value());
    const std::string call = RawCallOf(100, kGetppid, 64000, 3);
    ASSERT_TRUE((*log)->AppendEvents(call.data(), call.size()).has_value());
    ASSERT_TRUE((*log)->Flush().has_value());
  }
  const std::string text = ReadFile(PathOf("job")).value();
  ASSERT_EQ(::truncate(PathOf("job").c_str(), static_cast<off_t>(text.size() - 7)), 0);
  auto resumed = AuditLog::Resume(state_, "job");
  ASSERT_TRUE(resumed.has_value()) << resumed.error().ToString();
  EXPECT_GT(resumed->counts.lost, 0u);
  ASSERT_TRUE(resumed->log->Finish(resumed->counts).has_value());
  auto verdict = VerifyLog(state_, PathOf("job"), "job");
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->finding, LogFinding::kIncomplete) << verdict->why;

  Write("altered", /*seal=*/false);
  std::string altered = ReadFile(PathOf("altered")).value();
  // In the first block: nothing vouches for the last one of a log that has no seal.
  altered[100] = static_cast<char>(altered[100] ^ 1);
  auto fd = OpenPath(PathOf("altered"), O_WRONLY | O_TRUNC);
  ASSERT_TRUE(WriteAll(fd->get(), altered).has_value());
  EXPECT_FALSE(AuditLog::Resume(state_, "altered").has_value());
}

TEST_F(AuditLogTest, ALogIsNotWrittenTwice) {
  Write("a");
  auto again = AuditLog::Create(state_, "a");
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().kind, ErrorKind::kBadInput);
  for (const char* bad : {"", "..", "x/y", "a\nb"})
    EXPECT_FALSE(AuditLog::Create(state_, bad).has_value()) << bad;
}

TEST_F(AuditLogTest, AFullDiskIsAnErrorOfTheWriter) {
  auto log = AuditLog::Create(state_, "a");
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{}, small{4096, 4096};
  ::getrlimit(RLIMIT_FSIZE, &old);
  small.rlim_max = old.rlim_max;
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::mt19937_64 random(1);
  bool failed = false;
  for (int i = 0; i < 100000 && !failed; ++i) {
    const std::string call = RawCallOf(1, kGetppid, 1, 0, {random(), random()});
    failed = !(*log)->AppendEvents(call.data(), call.size()).has_value();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_TRUE(failed);
}

TEST_F(AuditLogTest, FiltersPassOverAndPick) {
  Write("a");
  auto count = [&](const EventFilter& filter) {
    auto log = LogReader::Open(PathOf("a"));
    uint64_t n = 0;
    EXPECT_TRUE(ForEachEvent(*log, filter, [&](const AuditEvent&) { ++n; }).has_value());
    return n;
  };
  EventFilter filter;
  filter.syscalls = {*SyscallNumber("getppid")};
  EXPECT_EQ(count(filter), 1000u);
  filter = {};
  filter.denied = true;
  EXPECT_EQ(count(filter), 1u);
  filter = {};
  filter.errors = true;
  EXPECT_EQ(count(filter), 1u);
  filter = {};
  filter.path = "/workspace/data";
  EXPECT_EQ(count(filter), 1u);
  filter = {};
  filter.pid = 2;
  EXPECT_EQ(count(filter), 1002u);
  filter = {};
  filter.syscalls = {*SyscallNumber("mount")};
  EXPECT_EQ(count(filter), 0u);
}

}  // namespace
}  // namespace carrel
