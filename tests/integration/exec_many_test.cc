// Many at once: each its own, and nothing left of any.
#include <set>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(ExecMany, TwentyAtOnce) {
  Jail jail({"act"});
  std::vector<Process> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(jail.Start({"--id", "many" + std::to_string(i), "--", "/act", "term-9"}));
  for (Process& one : all)
    ASSERT_TRUE(Eventually([&] { return one.Out() == "ready\n"; }, 30)) << one.Err();
  std::set<std::string> ids;
  for (int i = 0; i < 20; ++i) {
    const auto tasks = TasksOf("many" + std::to_string(i));
    ASSERT_FALSE(tasks.empty());
    const std::string status = ReadText("/proc/" + std::to_string(tasks[0]) + "/status");
    ids.insert(status.substr(status.find("Uid:"), 20));
  }
  EXPECT_EQ(ids.size(), 20u) << "two runs share an id of the host";
  for (Process& one : all) ::kill(one.pid(), SIGTERM);
  for (Process& one : all) EXPECT_EQ(one.Wait(), 9);
  for (int i = 0; i < 20; ++i) jail.ExpectNothingLeft("many" + std::to_string(i));
}

// Starts and ends that overlap: cgroups and templates come and go under each other.
TEST(ExecMany, ShortOnesInTurn) {
  Jail jail({"act"});
  for (int round = 0; round < 5; ++round) {
    std::vector<Process> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(jail.Start({"--", "/act", "exit", std::to_string(i)}));
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(all[static_cast<size_t>(i)].Wait(), i) << all[static_cast<size_t>(i)].Err();
  }
  EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty());
}

// Of two state directories, which know nothing of each other.
TEST(ExecMany, OneIdInTwoStateDirectories) {
  Jail one({"act"}), other({"act"});
  Process first = one.Start({"--id", "twin", "--", "/act", "term-9"});
  ASSERT_TRUE(Eventually([&] { return first.Out() == "ready\n"; })) << first.Err();
  const auto before = CgroupsOf("twin");
  Process second = other.Start({"--id", "twin", "--", "/act", "term-9"});
  ASSERT_TRUE(Eventually([&] { return second.Out() == "ready\n"; })) << second.Err();
  EXPECT_EQ(CgroupsOf("twin").size(), 2 * before.size());
  ::kill(first.pid(), SIGTERM);
  EXPECT_EQ(first.Wait(), 9);
  EXPECT_EQ(CgroupsOf("twin").size(), before.size());
  EXPECT_EQ(one.Run({"--", "/act", "exit", "0"}).status, 0);  // its sweep leaves the other's alone
  ::kill(second.pid(), SIGTERM);
  EXPECT_EQ(second.Wait(), 9);
  other.ExpectNothingLeft("twin");
}

}  // namespace
}  // namespace carrel::testing_support
