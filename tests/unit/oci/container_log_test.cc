#include "oci/container_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "job/line_splitter.h"

namespace carrel {
namespace {

TEST(ContainerLog, LongLinesBreakBetweenCharacters) {
  UniqueFd file(::memfd_create("log", MFD_CLOEXEC));
  ContainerLog log(UniqueFd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)), 1u << 20);
  std::string text = "x";  // so that a two-byte character lies across the limit
  while (text.size() <= LineSplitter::kMaxLine) text += "\xc3\xa9";
  ASSERT_TRUE(log.Write(1, text + "\r\n").has_value());
  ASSERT_TRUE(log.Write(2, "end").has_value());
  ASSERT_TRUE(log.Finish().has_value());
  ASSERT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  std::vector<LogLine> lines;
  ASSERT_TRUE(
      ReadContainerLog(file.get(), -1, [&](const LogLine& line) { lines.push_back(line); }));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text.size(), LineSplitter::kMaxLine - 1);
  EXPECT_EQ(lines[0].text + lines[1].text, text);
  EXPECT_EQ(lines[2].stream, 2);
  EXPECT_EQ(lines[2].text, "end");
}

}  // namespace
}  // namespace carrel
