// Memory through every door that there is (mission.md, mistake 6): each is charged to the action's
// limit, and a kill for it is told as such.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

class MemoryBomb : public ::testing::TestWithParam<std::string> {};

TEST_P(MemoryBomb, EndsAtTheLimit) {
  Jail jail({"act"});
  const Outcome outcome =
      jail.Run({"--id", "eat", "--memory", "128M", "--", "/act", "eat", GetParam()});
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("the memory limit of 128 MiB was reached"));
  jail.ExpectNothingLeft("eat");
}
INSTANTIATE_TEST_SUITE_P(Doors, MemoryBomb,
                         ::testing::Values("anonymous", "shared", "memfd", "sysv"),
                         [](const auto& tested) { return tested.param; });

// The kernel lets one user have 64 MiB in pipes, give or take: less than most limits.
TEST(PipeBomb, EndsAtTheLimit) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--memory", "32M", "--", "/act", "eat", "pipes"});
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("the memory limit of 32 MiB was reached"));
}

class TmpfsBomb : public ::testing::TestWithParam<std::string> {};

// The sized file systems say no before the memory limit does.
TEST_P(TmpfsBomb, IsFullAtItsSize) {
  Jail jail({"act"});
  const Outcome outcome =
      jail.Run({"--id", "fill", "--memory", "128M", "--", "/act", "eat", GetParam() + "/file"});
  EXPECT_EQ(outcome.status, 3) << outcome.err;
  EXPECT_THAT(outcome.out, ::testing::AnyOf("ENOSPC after 63 MiB\n", "ENOSPC after 64 MiB\n"));
  EXPECT_EQ(outcome.err, "");
}
INSTANTIATE_TEST_SUITE_P(Places, TmpfsBomb, ::testing::Values("/tmp", "/dev/shm"),
                         [](const auto& tested) { return tested.param == "/tmp" ? "tmp" : "shm"; });

// A scratch directory of `carrel exec` is as large as the memory, and charged to it.
TEST(ScratchBomb, EndsAtTheLimit) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--id", "scratch", "--memory", "128M", "--writable", "/work",
                                    "--", "/act", "eat", "/work/file"});
  EXPECT_THAT(outcome.status, ::testing::AnyOf(3, 128 + SIGKILL)) << outcome.err;
  jail.ExpectNothingLeft("scratch");
}

}  // namespace
}  // namespace carrel::testing_support
