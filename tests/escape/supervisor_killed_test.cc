// The supervisor is killed with SIGKILL: under crun, runc and plain bubblewrap the action lives on
// unwatched (mission.md, mistake 11). Here it dies at once, and the next command cleans up.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(SupervisorKilled, ActionDiesAtOnce) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "orphan", "--", "/act", "sleep"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
  ASSERT_FALSE(TasksOf("orphan").empty());
  ::kill(carrel.pid(), SIGKILL);
  EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
  EXPECT_TRUE(Eventually([] { return TasksOf("orphan").empty(); }, 5));
  EXPECT_FALSE(CgroupsOf("orphan").empty());  // nobody has cleaned up yet
  EXPECT_EQ(jail.Run({"--id", "next", "--", "/act", "exit", "0"}).status, 0);
  jail.ExpectNothingLeft("orphan");
}

TEST(SupervisorKilled, ItsDaemonsDieToo) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "orphans", "--", "/act", "daemon", "stay"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
  ASSERT_GE(TasksOf("orphans").size(), 3u);
  ::kill(carrel.pid(), SIGKILL);
  EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
  EXPECT_TRUE(Eventually([] { return TasksOf("orphans").empty(); }, 5));
  EXPECT_EQ(jail.Run({"--", "/act", "exit", "0"}).status, 0);
  jail.ExpectNothingLeft("orphans");
}

// At whatever moment of the start: nothing runs on, and nothing stays after the next command.
TEST(SupervisorKilled, AtAnyMoment) {
  Jail jail({"act"});
  EXPECT_EQ(jail.Run({"--", "/act", "exit", "0"}).status, 0);
  for (int moment = 0; moment < 40; ++moment) {
    const std::string id = "moment" + std::to_string(moment);
    Process carrel = jail.Start({"--id", id, "--", "/act", "sleep"});
    ::usleep(static_cast<useconds_t>(moment) * 500);
    ::kill(carrel.pid(), SIGKILL);
    EXPECT_EQ(carrel.Wait(), 128 + SIGKILL);
    ASSERT_TRUE(Eventually([&] { return TasksOf(id).empty(); }, 5)) << moment;
  }
  EXPECT_EQ(jail.Run({"--id", "after", "--", "/act", "exit", "0"}).status, 0);
  for (int moment = 0; moment < 40; ++moment)
    jail.ExpectNothingLeft("moment" + std::to_string(moment));
}

}  // namespace
}  // namespace carrel::testing_support
