// No change of a log passes: every bit, every byte, every cut, every other order of blocks.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "audit/block_encoder.h"
#include "audit/query.h"
#include "audit/recorder.h"
#include "support/audit_log_fixture.h"

namespace carrel {
namespace {

using namespace testing_support;  // NOLINT: the fixture, and the builders of raw records

TEST_F(AuditLogTest, EveryChangedBitIsFound) {
  Write("a", true, 3);
  const std::string good = *ReadFile(PathOf("a"));
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    Replace("a", bad);
    const auto verdict = Verify("a");
    ASSERT_NE(verdict.finding, LogFinding::kWhole) << "bit " << bit;
    ASSERT_NE(verdict.finding, LogFinding::kUnsealed) << "bit " << bit;
  }
}

TEST_F(AuditLogTest, EveryCutIsFoundAndWhatIsBeforeItIsRead) {
  Write("a");
  const std::string good = *ReadFile(PathOf("a"));
  for (size_t size = 0; size < good.size(); ++size) {
    Replace("a", good.substr(0, size));
    ASSERT_EQ(Verify("a").finding, LogFinding::kTruncated) << size;
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
}

TEST_F(AuditLogTest, EveryRemovedOrDoubledByteIsFound) {
  Write("a", true, 3);
  const std::string good = *ReadFile(PathOf("a"));
  for (size_t i = 0; i < good.size(); ++i) {
    Replace("a", good.substr(0, i) + good.substr(i + 1));
    ASSERT_NE(Verify("a").finding, LogFinding::kWhole) << "without byte " << i;
    Replace("a", good.substr(0, i + 1) + good.substr(i));
    ASSERT_NE(Verify("a").finding, LogFinding::kWhole) << "twice byte " << i;
  }
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

std::vector<std::string> BlocksOf(const std::string& log) {
  std::vector<std::string> all;
  for (size_t at = 0; at < log.size();) {
    uint32_t sizes[2];
    std::memcpy(sizes, log.data() + at + 4, sizeof sizes);
    all.push_back(log.substr(at, sizes[0] + sizes[1]));
    at += sizes[0] + sizes[1];
  }
  return all;
}

// Every log of up to five blocks that can be made of the blocks of two: one of them is that log.
TEST_F(AuditLogTest, NoOtherOrderOfBlocksVerifies) {
  std::vector<std::string> blocks;
  std::string good;
  for (const char* job : {"a", "b"}) {
    auto log = AuditLog::Create(state_, job);
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE((*log)->Append("record", {{"number", i}}).has_value());
      ASSERT_TRUE((*log)->Flush().has_value());
    }
    ASSERT_TRUE((*log)->Finish({}).has_value());
    const std::string bytes = *ReadFile(PathOf(job));
    for (std::string& block : BlocksOf(bytes)) blocks.push_back(std::move(block));
    if (good.empty()) good = bytes;
  }
  ASSERT_EQ(blocks.size(), 8u);  // of each: start, two of events, seal
  size_t whole = 0;
  for (size_t length = 1, count = 8; length <= 5; ++length, count *= 8) {
    for (size_t choice = 0; choice < count; ++choice) {
      std::string log;
      for (size_t i = 0, rest = choice; i < length; ++i, rest /= 8) log += blocks[rest % 8];
      // Nearly all of them break at the second block: that is seen without a file.
      if (length > 2 && (choice % 8 != 0 || choice / 8 % 8 != 1) && choice % 97 != 0) continue;
      Replace("a", log);
      const bool is_whole = Verify("a").finding == LogFinding::kWhole;
      ASSERT_EQ(is_whole, log == good) << length << " blocks, choice " << choice;
      whole += is_whole;
    }
  }
  EXPECT_EQ(whole, 1u);
  Replace("a", good + "x");
  EXPECT_EQ(Verify("a").finding, LogFinding::kAltered);
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

}  // namespace
}  // namespace carrel
