// The action writes without end while nobody reads: the action waits, not the supervisor, whose
// memory does not grow, and limits hold.
#include <fcntl.h>
#include <signal.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(ends[0]);
    if (ends[1] >= 0) ::close(ends[1]);
  }
  void CloseWriteEnd() { ::close(std::exchange(ends[1], -1)); }
  int ends[2] = {-1, -1};
};

long PeakKib(pid_t pid) {
  const std::string status = ReadText("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("VmHWM:");
  return at == std::string::npos ? -1 : std::stol(status.substr(at + 6));
}

TEST(LogFlood, TimeLimitHoldsWhenNobodyReads) {
  Jail jail({"act"});
  Pipe unread;
  StartOptions start;
  start.out = unread.ends[1];
  Process carrel =
      jail.Start({"--id", "flood", "--time", "1", "--", "/act", "flood", "100000000000"}, start);
  ASSERT_TRUE(Eventually([] { return !TasksOf("flood").empty(); }));
  EXPECT_TRUE(Eventually([] { return TasksOf("flood").empty(); }, 8)) << "ended by its time limit";
  EXPECT_LT(PeakKib(carrel.pid()), 64 << 10);
  // What is left is output that nobody takes: carrel waits as `cat` would, until it is told to end.
  ::kill(carrel.pid(), SIGTERM);
  EXPECT_EQ(carrel.Wait(10), 128 + SIGTERM);
  EXPECT_THAT(carrel.Err(), ::testing::HasSubstr("time limit of 1 s"));
  jail.ExpectNothingLeft("flood");
}

TEST(LogFlood, SlowReaderGetsEverything) {
  Jail jail({"act"});
  Pipe pipe;
  StartOptions start;
  start.out = pipe.ends[1];
  constexpr size_t kBytes = 3'000'001;
  Process carrel = jail.Start({"--", "/act", "flood", std::to_string(kBytes)}, start);
  pipe.CloseWriteEnd();
  std::string taken;
  for (;;) {
    char block[9973];
    const ssize_t n = ::read(pipe.ends[0], block, sizeof block);
    if (n <= 0) break;
    taken.append(block, static_cast<size_t>(n));
    ::usleep(1000);
  }
  EXPECT_EQ(carrel.Wait(), 0);
  ASSERT_EQ(taken.size(), kBytes);
  for (size_t i = 0; i < kBytes; ++i)
    ASSERT_EQ(taken[i], static_cast<char>('a' + i % 65536 % 26)) << i;
}

// As in a shell: the action gets SIGPIPE, and does not run on for nobody.
TEST(LogFlood, ReaderThatGoesAwayEndsTheAction) {
  Jail jail({"act"});
  Pipe pipe;
  StartOptions start;
  start.out = pipe.ends[1];
  Process carrel = jail.Start({"--", "/act", "flood", "10000000"}, start);
  pipe.CloseWriteEnd();
  ::close(std::exchange(pipe.ends[0], ::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  EXPECT_EQ(carrel.Wait(), 128 + SIGPIPE) << carrel.Err();
}

}  // namespace
}  // namespace carrel::testing_support
