// What the kernel counts by user, it counts for the owner of a user namespace too. A launcher whose
// namespaces are root's lets an action take what the host's root may have: of pending signals, or
// (where a profile has them) of inotify instances, 128 for all of root's programs and all jobs.
#include <sys/resource.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

// Whether root can queue a signal when it may have no more than `limit` pending.
bool CanQueue(rlim_t limit) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    const rlimit pending{limit, limit};
    if (::setrlimit(RLIMIT_SIGPENDING, &pending) != 0) ::_exit(2);
    ::_exit(::sigqueue(::getpid(), SIGRTMIN, sigval{}) == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status == 0;
}

TEST(OwnerLimits, PendingSignalsOfTheHostAreNotTaken) {
  constexpr rlim_t kFew = 1000;
  ASSERT_TRUE(CanQueue(kFew)) << "the host's root has many pending signals of its own";
  Jail jail({"act"});
  Process action = jail.Start({"--", "/act", "queue"});
  ASSERT_TRUE(Eventually([&] { return action.Out().ends_with("\n"); })) << action.Err();
  EXPECT_GT(std::stoul(action.Out()), kFew);
  EXPECT_TRUE(CanQueue(kFew));
  ::kill(action.pid(), SIGTERM);
  EXPECT_EQ(action.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace carrel::testing_support
