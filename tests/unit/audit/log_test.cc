// The log without a kernel: what is written comes back, and no change of it passes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "audit/audit_log.h"
#include "audit/block_encoder.h"
#include "audit/block_filter.h"
#include "audit/query.h"
#include "audit/recorder.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "base/fs.h"
#include "support/raw_events.h"

namespace carrel {
namespace {

using namespace testing_support;  // NOLINT: the builders of raw records

constexpr uint32_t kOpenat = 257, kGetppid = 110, kChmod = 90;

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/carrel-log-XXXXXX";
    state_ = ::mkdtemp(name);
  }
  void TearDown() override {
    auto tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(RemoveTree(tmp->get(), state_.substr(5)).has_value());
  }
  std::string PathOf(const std::string& job) { return state_ + "/audit/" + job + ".carrel-log"; }

  // A small job: two tasks, a named file, a denied call, a thousand calls of one kind.
  void Write(const std::string& job, bool seal = true) {
    auto log = AuditLog::Create(state_, job);
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    auto add = [&](const std::string& bytes) {
      ASSERT_TRUE((*log)->AppendEvents(bytes.data(), bytes.size()).has_value());
    };
    ASSERT_TRUE((*log)->Append("decision", Json{{"level", 4}}).has_value());
    add(RawTaskOf(100, 100, 1, "init"));
    add(RawDataOf(100, 1, kDataArgv, std::string("tool\0--x\0", 9), kDataExec));
    add(RawFileOf(100, std::string("tool\0bin\0", 9), 55, kDataExec));
    add(RawExecOf(100, 100, 1, "tool"));
    add(RawDataOf(100, 1, kDataString, "data/in.csv"));
    add(RawFileOf(100, std::string("in.csv\0data\0workspace\0", 22), 77));
    add(RawCallOf(100, kOpenat, 64000, 3, {0xffffff9c, 0x7fff1000, 0}));
    add(RawTaskOf(101, 101, 2, "tool"));
    for (uint64_t i = 0; i < 1000; ++i) add(RawCallOf(101, kGetppid, 70400 + 1280 * i, 1, {i, 7}));
    add(RawCallOf(100, kChmod, 1920000, -1, {0x1000, 0777}, kCallDenied));
    add(RawExitOf(101, 9));
    if (seal) {
      auto sealed = (*log)->Finish({1002, 1, 0, 0});
      ASSERT_TRUE(sealed.has_value()) << sealed.error().ToString();
      head_ = sealed->head;
    } else {
      ASSERT_TRUE((*log)->AppendEvents(nullptr, 0).has_value());
      ::usleep(1100000);
      ASSERT_TRUE((*log)->AppendEvents(nullptr, 0).has_value());
    }
  }
  LogVerdict Verify(const std::string& job) {
    auto verdict = VerifyLog(state_, PathOf(job), job);
    EXPECT_TRUE(verdict.has_value()) << verdict.error().ToString();
    return verdict ? *verdict : LogVerdict{};
  }
  void Replace(const std::string& job, const std::string& bytes) {
    auto fd = OpenPath(PathOf(job), O_WRONLY | O_TRUNC);
    ASSERT_TRUE(WriteAll(fd->get(), bytes).has_value());
  }

  std::string state_;
  std::string head_;
};

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

TEST_F(AuditLogTest, EveryChangedByteIsFound) {
  Write("a");
  const std::string good = *ReadFile(PathOf("a"));
  std::mt19937 random(1);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (random() % 8)));
    Replace("a", bad);
    auto verdict = Verify("a");
    EXPECT_NE(verdict.finding, LogFinding::kWhole) << "byte " << i;
    EXPECT_NE(verdict.finding, LogFinding::kUnsealed) << "byte " << i;
  }
}

TEST_F(AuditLogTest, EveryCutIsFoundAndWhatIsBeforeItIsRead) {
  Write("a");
  const std::string good = *ReadFile(PathOf("a"));
  for (size_t size = 0; size < good.size(); size += 7) {
    Replace("a", good.substr(0, size));
    EXPECT_NE(Verify("a").finding, LogFinding::kWhole) << size;
  }
  // Cut inside the seal: all events are still there.
  Replace("a", good.substr(0, good.size() - 3));
  auto log = LogReader::Open(PathOf("a"));
  uint64_t calls = 0;
  ASSERT_TRUE(ForEachEvent(*log, {}, [&](const AuditEvent& event) {
                calls += event.kind == EventKind::kCall;
              }).has_value());
  EXPECT_EQ(calls, 1002u);
  EXPECT_EQ(log->end(), LogEnd::kTruncated);
  EXPECT_EQ(Verify("a").finding, LogFinding::kTruncated);
}

// Each of the calls of a finished block is read, wherever the writer was cut off.
TEST_F(AuditLogTest, ACutAtAnyByteKeepsTheBlocksBefore) {
  constexpr uint64_t kBlocks = 2, kCalls = 10;
  Write("a");  // for its first block
  auto first = LogReader::Open(PathOf("a"));
  std::string good = ReadFile(PathOf("a"))->substr(0, first->offset());
  std::vector<size_t> ends = {good.size()};
  BlockWriter writer;
  BlockEncoder encoder;
  Recorder recorder(encoder);
  Hash last = HashBytes(good);
  for (uint64_t block = 0; block < kBlocks; ++block) {
    for (uint64_t i = 0; i < kCalls; ++i) {
      const std::string call = RawCallOf(1, kGetppid, 64000 + 2560 * i, 1, {i * i * block});
      ASSERT_TRUE(recorder.Add(call.data(), call.size()).has_value());
    }
    BlockHeader header = encoder.Header();
    header.index = block + 1;
    header.previous = last;
    good += *writer.Write(header, encoder.Columns(), &last);
    ends.push_back(good.size());
    encoder.Reset();
  }
  for (size_t cut = 0; cut <= good.size(); ++cut) {
    Replace("a", good.substr(0, cut));
    const auto whole = std::upper_bound(ends.begin(), ends.end(), cut) - ends.begin() - 1;
    auto reader = LogReader::Open(PathOf("a"));
    ASSERT_TRUE(reader.has_value());
    uint64_t calls = 0;
    ASSERT_TRUE(ForEachEvent(*reader, {}, [&](const AuditEvent& event) {
                  calls += event.kind == EventKind::kCall;
                }).has_value());
    ASSERT_EQ(calls, whole > 0 ? static_cast<uint64_t>(whole) * kCalls : 0) << "cut at " << cut;
    const bool at_end = std::find(ends.begin(), ends.end(), cut) != ends.end() || cut == 0;
    ASSERT_EQ(reader->end(), at_end ? LogEnd::kUnsealed : LogEnd::kTruncated) << "cut at " << cut;
  }
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

TEST_F(AuditLogTest, MissingSwappedAndForeignBlocksAreFound) {
  Write("a");
  Write("b");
  const std::string a = *ReadFile(PathOf("a")), b = *ReadFile(PathOf("b"));
  auto blocks = [](const std::string& log) {
    std::vector<std::string> all;
    for (size_t at = 0; at < log.size();) {
      uint32_t sizes[2];
      std::memcpy(sizes, log.data() + at + 4, sizeof sizes);
      all.push_back(log.substr(at, sizes[0] + sizes[1]));
      at += sizes[0] + sizes[1];
    }
    return all;
  };
  auto of_a = blocks(a), of_b = blocks(b);
  ASSERT_EQ(of_a.size(), 3u);
  for (const std::string& bad :
       {of_a[0] + of_a[2], of_a[0] + of_a[2] + of_a[1], of_a[0] + of_b[1] + of_a[2],
        of_b[0] + of_a[1] + of_a[2], of_a[0] + of_a[1] + of_b[2], a + of_a[2], a + "x", b}) {
    Replace("a", bad);
    EXPECT_EQ(Verify("a").finding, LogFinding::kAltered);
  }
}

TEST_F(AuditLogTest, AnotherHostsKeyIsUnknown) {
  Write("a");
  auto keys = OpenPath(state_ + "/keys", O_RDONLY | O_DIRECTORY);
  const auto names = *ListDir(keys->get());
  EXPECT_EQ(names.size(), 2u);
  for (const std::string& name : names) {
    struct stat info {};
    ASSERT_EQ(::fstatat(keys->get(), name.c_str(), &info, 0), 0);
    EXPECT_EQ(info.st_mode & 0777, name == "audit.key" ? 0600u : 0644u);
    ASSERT_EQ(::unlinkat(keys->get(), name.c_str(), 0), 0);
  }
  EXPECT_EQ(Verify("a").finding, LogFinding::kUnknownKey);
  Write("b");  // makes a new key
  EXPECT_EQ(Verify("a").finding, LogFinding::kUnknownKey);
  EXPECT_EQ(Verify("b").finding, LogFinding::kWhole);
}

TEST_F(AuditLogTest, LostEventsAreSaidByTheVerdict) {
  auto log = AuditLog::Create(state_, "a");
  ASSERT_TRUE((*log)->Finish({0, 0, 3, 0}).has_value());
  EXPECT_EQ(Verify("a").finding, LogFinding::kIncomplete);
}

TEST_F(AuditLogTest, AKilledWritersLogIsReadToItsLastBlock) {
  Write("a", false);
  auto verdict = Verify("a");
  EXPECT_EQ(verdict.finding, LogFinding::kUnsealed);
  EXPECT_EQ(verdict.events, 1002u);
}

// The phases of a job are processes of their own: each goes on where the one before stopped.
TEST_F(AuditLogTest, AnotherProcessGoesOnWithALogAndSealsIt) {
  Write("job", /*seal=*/false);
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
  Write("job", /*seal=*/false);
  const std::string text = ReadFile(PathOf("job")).value();
  ASSERT_EQ(::truncate(PathOf("job").c_str(), static_cast<off_t>(text.size() - 7)), 0);
  auto resumed = AuditLog::Resume(state_, "job");
  ASSERT_TRUE(resumed.has_value()) << resumed.error().ToString();
  ASSERT_TRUE(resumed->log->Finish(resumed->counts).has_value());
  auto verdict = VerifyLog(state_, PathOf("job"), "job");
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->finding, LogFinding::kWhole) << verdict->why;

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
