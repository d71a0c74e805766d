// 100 MB through stdin, stdout and stderr come out as they went in.
#include <fcntl.h>

#include "base/digest.h"
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

constexpr size_t kBytes = 100'000'000;

// Bytes without a period that a lost or doubled block could hide in.
std::string Block(uint64_t& state) {
  std::string block(1 << 16, '\0');
  for (char& c : block) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return block;
}

TEST(ExecStreams, HundredMegabytesEachWay) {
  Jail jail({"act"});
  Sha256 sent, inverted;
  {
    auto file = OpenPath(jail / "input", O_CREAT | O_WRONLY, 0600);
    ASSERT_TRUE(file.has_value());
    uint64_t state = 42;
    for (size_t left = kBytes; left > 0;) {
      std::string block = Block(state);
      block.resize(std::min(block.size(), left));
      left -= block.size();
      ASSERT_TRUE(WriteAll(file->get(), block).has_value());
      sent.Update(block);
      for (char& c : block) c = static_cast<char>(~c);
      inverted.Update(block);
    }
  }
  auto in = OpenPath(jail / "input", O_RDONLY);
  auto out = OpenPath(jail / "output", O_CREAT | O_RDWR, 0600);
  auto err = OpenPath(jail / "errors", O_CREAT | O_RDWR, 0600);
  ASSERT_TRUE(in && out && err);
  StartOptions start;
  start.in = in->get();
  start.out = out->get();
  start.err = err->get();
  EXPECT_EQ(jail.Run({"--id", "big", "--", "/act", "tee"}, start).status, 0);
  ASSERT_EQ(::lseek(out->get(), 0, SEEK_SET), 0);
  ASSERT_EQ(::lseek(err->get(), 0, SEEK_SET), 0);
  EXPECT_EQ(Sha256HexOfFd(out->get()).value_or(""), sent.HexFinal());
  EXPECT_EQ(Sha256HexOfFd(err->get()).value_or(""), inverted.HexFinal());
  jail.ExpectNothingLeft("big");
}

// An action that reads nothing does not keep carrel, and one that reads to the end gets the end.
TEST(ExecStreams, InputThatIsNotRead) {
  Jail jail({"act"});
  auto zero = OpenPath("/dev/zero", O_RDONLY);
  ASSERT_TRUE(zero.has_value());
  StartOptions start;
  start.in = zero->get();
  EXPECT_EQ(jail.Run({"--", "/act", "exit", "3"}, start).status, 3);
}

TEST(ExecStreams, EmptyInputEnds) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--", "/act", "cat"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "");
}

}  // namespace
}  // namespace carrel::testing_support
