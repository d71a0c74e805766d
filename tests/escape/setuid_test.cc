// A setuid root program in the image: executing it gains nothing (nosuid, no_new_privs, no root in
// the namespace).
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(Setuid, GainsNothing) {
  Jail jail({"probe", "act"});
  ASSERT_EQ(::chmod((jail.rootfs() + "/probe").c_str(), 06755), 0);
  ASSERT_EQ(::chmod((jail.rootfs() + "/act").c_str(), 06755), 0);
  EXPECT_EQ(jail.Run({"--", "/probe", "--am-i-root"}).status, 1);
  const Outcome outcome = jail.Run({"--", "/act", "read", "/proc/self/status"});
  EXPECT_THAT(outcome.out, ::testing::HasSubstr("Uid:\t1000\t1000\t1000\t1000\n"));
  EXPECT_THAT(outcome.out, ::testing::HasSubstr("Gid:\t1000\t1000\t1000\t1000\n"));
}

}  // namespace
}  // namespace carrel::testing_support
