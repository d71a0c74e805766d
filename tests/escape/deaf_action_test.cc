// An action that is stopped, or ignores TERM, outlives a polite end: after the grace time it is
// killed.
#include <ctime>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(DeafAction, IsKilledAfterTheGraceTime) {
  Jail jail({"act"});
  Process deaf = jail.Start({"--id", "deaf", "--time", "1", "--", "/act", "ignore-term"});
  Process stopped = jail.Start({"--id", "stopped", "--time", "1", "--", "/act", "stop"});
  const time_t begin = ::time(nullptr);
  EXPECT_EQ(deaf.Wait(40), 128 + SIGKILL);
  EXPECT_GE(::time(nullptr) - begin, 5) << "there was no grace time";
  EXPECT_EQ(stopped.Wait(40), 128 + SIGKILL);
  EXPECT_THAT(deaf.Err(), ::testing::HasSubstr("time limit of 1 s"));
  EXPECT_THAT(stopped.Err(), ::testing::HasSubstr("time limit of 1 s"));
  jail.ExpectNothingLeft("deaf");
  jail.ExpectNothingLeft("stopped");
}

TEST(DeafAction, ThatHearsTermEndsItself) {
  Jail jail({"act"});
  EXPECT_EQ(jail.Run({"--time", "1", "--", "/act", "term-9"}).status, 9);
}

}  // namespace
}  // namespace carrel::testing_support
