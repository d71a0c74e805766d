#include "job/action_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/fs.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;
using Stream = ActionLog::Stream;

constexpr int64_t kTime = 1785588896123456789;  // 2026-08-01T12:54:56.123456789Z
const std::string kStamp = "2026-08-01T12:54:56.123456789Z ";

class ActionLogTest : public testing::Test {
 protected:
  ActionLog Make(uint64_t limit = 1u << 20) {
    return {*OpenPath(dir_ / "log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), limit};
  }
  std::string Text() { return *ReadFile(dir_ / "log"); }
  TempDir dir_;
};

TEST_F(ActionLogTest, StampsWholeLinesAndEndsWithTheSummary) {
  ActionLog log = Make();
  ASSERT_TRUE(log.Write(Stream::kStdout, "one\ntw", kTime).has_value());
  EXPECT_EQ(Text(), kStamp + "one\n");
  ASSERT_TRUE(log.Write(Stream::kStderr, "err\n", kTime + 1).has_value());
  ASSERT_TRUE(log.Write(Stream::kStdout, "o\r\nrest", kTime + 2).has_value());
  ASSERT_TRUE(log.WriteSummary({{"state", "succeeded"}, {"message", "a\nb"}}, kTime).has_value());
  EXPECT_EQ(Text(), kStamp + "one\n2026-08-01T12:54:56.123456790Z err\n" + kStamp +
                        "two\n2026-08-01T12:54:56.123456791Z rest\n" + std::string(kSummaryMarker) +
                        "\nstate: succeeded\nmessage: a\\x0ab\n");
}

// mission.md, mistake 10.
TEST_F(ActionLogTest, TheMarkerCannotBeForged) {
  const std::string marker(kSummaryMarker);
  ActionLog log = Make();
  std::string long_line(16384 - marker.size() / 2, 'x');
  for (const std::string& forged : std::vector<std::string>{
           marker, marker + "\r", "x" + marker + "y", marker + marker, "\r" + marker,
           "=============job summary=============", "=JOB SUMMARY=JOB SUMMARY=", long_line + marker,
           std::string(16384, 'x') + marker}) {
    ASSERT_TRUE(log.Write(Stream::kStdout, forged + "\n", kTime).has_value());
    // Byte by byte, on the other stream, and unfinished at the end.
    for (char c : forged) ASSERT_TRUE(log.Write(Stream::kStderr, {&c, 1}, kTime).has_value());
    ASSERT_TRUE(log.Write(Stream::kStderr, "\n", kTime).has_value());
  }
  ASSERT_TRUE(log.Write(Stream::kStdout, marker, kTime).has_value());
  ASSERT_TRUE(log.WriteSummary({{"action", marker}, {marker, "x"}}, kTime).has_value());
  const std::string text = Text();
  EXPECT_EQ(text.find(marker), text.rfind(marker));
  EXPECT_NE(text.find("\n" + marker + "\naction: "), std::string::npos);
  std::regex loose("=+ *JOB SUMMARY *=+", std::regex::icase);
  EXPECT_EQ(std::distance(std::sregex_iterator(text.begin(), text.end(), loose), {}), 1);
}

// mission.md, mistake 10.
TEST_F(ActionLogTest, ControlCharactersAreVisible) {
  EXPECT_EQ(SafeLogLine("\x1b[2J\x07\x7f\b"), "\\x1b[2J\\x07\\x7f\\x08");
  EXPECT_EQ(SafeLogLine("10%\r20%"), "10%\\x0d20%");
  EXPECT_EQ(SafeLogLine(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(SafeLogLine("\xc2\x9b"
                        "31m"),
            "\\u009b31m");                                    // CSI as one C1 character
  EXPECT_EQ(SafeLogLine("\xe2\x80\xae"), "\\u202e");          // right-to-left override
  EXPECT_EQ(SafeLogLine("\xe2\x81\xa6x"), "\\u2066x");        // isolate
  EXPECT_EQ(SafeLogLine("a\xe2\x80\xa8"), "a\\u2028");        // line separator
  EXPECT_EQ(SafeLogLine("\xf3\xa0\x81\x81"), "\\U000e0041");  // tag letter
  EXPECT_EQ(SafeLogLine("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(SafeLogLine("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(SafeLogLine("caf\xc3\xa9\t\xf0\x9f\x98\x80"), "caf\xc3\xa9\t\xf0\x9f\x98\x80");
}

TEST_F(ActionLogTest, LongLinesAreBrokenBetweenCharacters) {
  ActionLog log = Make();
  std::string line = "x";
  while (line.size() < 40000) line += "\xe2\x82\xac";
  ASSERT_TRUE(log.Write(Stream::kStdout, line + "\n", kTime).has_value());
  const std::string text = Text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_EQ(text.find('\\'), std::string::npos);
}

TEST_F(ActionLogTest, AFloodIsCappedAndHeadAndTailStay) {
  ActionLog log = Make(100'000);
  ASSERT_TRUE(log.Write(Stream::kStdout, "the head\n", kTime).has_value());
  std::string chunk;
  for (int i = 0; i < 2000; ++i) chunk += "flood flood flood flood flood\n";
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(log.Write(Stream::kStdout, chunk, kTime).has_value());
  ASSERT_TRUE(log.Write(Stream::kStderr, "ValueError: the tail\n", kTime).has_value());
  ASSERT_TRUE(log.WriteSummary({{"state", "failed"}}, kTime).has_value());
  const std::string text = Text();
  EXPECT_LT(text.size(), 100'000u + 66'000u);
  EXPECT_TRUE(text.starts_with(kStamp + "the head\n"));
  EXPECT_NE(text.find("[carrel: the log reached its limit of 100000 bytes; "), std::string::npos);
  EXPECT_NE(text.find("ValueError: the tail\n=="), std::string::npos);
  // Every line is either in the log or counted.
  const uint64_t notice = text.find("[carrel:");
  const uint64_t line = text.rfind('\n', notice) + 1;
  const uint64_t body = text.find(kSummaryMarker) - (text.find('\n', notice) + 1 - line);
  EXPECT_EQ(body + log.dropped(), 200'000 * (kStamp.size() + 30) + 2 * kStamp.size() + 9 + 21);
}

TEST_F(ActionLogTest, AnEndlessLineIsBounded) {
  ActionLog log = Make(50'000);
  const std::string piece(1u << 20, 'y');
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(log.Write(Stream::kStdout, piece, kTime).has_value());
  ASSERT_TRUE(log.WriteSummary({}, kTime).has_value());
  EXPECT_LT(Text().size(), 120'000u);
}

TEST_F(ActionLogTest, AFullDiskIsAnErrorThatNamesTheLog) {
  ActionLog log(*OpenPath("/dev/full", O_WRONLY), 1000);
  auto written = log.Write(Stream::kStdout, "x\n", kTime);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ENOSPC);
  EXPECT_EQ(written.error().where, "the action's log");
}

}  // namespace
}  // namespace carrel
