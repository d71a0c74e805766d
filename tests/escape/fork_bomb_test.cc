// A fork bomb (mission.md, mistake 6): held by the pids controller, ended by the time limit, and
// gone altogether afterwards.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(ForkBomb, IsHeldAndEnded) {
  Jail jail({"act"});
  Process carrel =
      jail.Start({"--id", "bomb", "--pids", "64", "--time", "2", "--", "/act", "fork-bomb"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out().starts_with("ready\n"); })) << carrel.Err();
  size_t most = 0;
  for (int i = 0; i < 50; ++i) {
    most = std::max(most, TasksOf("bomb").size() / std::max<size_t>(CgroupsOf("bomb").size(), 1));
    ::usleep(10000);
  }
  EXPECT_GT(most, 32u);
  EXPECT_LE(most, 64u);
  EXPECT_EQ(carrel.Wait(), 128 + SIGTERM);
  EXPECT_THAT(carrel.Err(), ::testing::HasSubstr("time limit of 2 s"));
  jail.ExpectNothingLeft("bomb");
}

}  // namespace
}  // namespace carrel::testing_support
