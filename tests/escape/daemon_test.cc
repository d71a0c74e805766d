// A daemon (double fork, own session, every signal ignored, no stream open) must not outlive the
// action's main process.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(Daemon, EndsWithTheAction) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "daemon", "--", "/act", "daemon"});
  EXPECT_EQ(carrel.Wait(10), 0);
  EXPECT_EQ(carrel.Out(), "ready\n");
  jail.ExpectNothingLeft("daemon");
}

// One that holds the streams open does not hold carrel up.
TEST(Daemon, ThatIsKilledWithItsAction) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "daemons", "--", "/act", "daemon", "stay"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
  ::kill(carrel.pid(), SIGTERM);
  EXPECT_EQ(carrel.Wait(10), 128 + SIGTERM);
  jail.ExpectNothingLeft("daemons");
}

}  // namespace
}  // namespace carrel::testing_support
