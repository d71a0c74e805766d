// The action opens all the files that it can: the limit is its own, and the supervisor's
// descriptors are not among them.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(FdExhaustion, IsTheActionsOwn) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--id", "files", "--", "/act", "open-files"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "4093 EMFILE\n");  // 4096 without 0, 1, 2
}

}  // namespace
}  // namespace carrel::testing_support
