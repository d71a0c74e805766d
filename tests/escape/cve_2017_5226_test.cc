// CVE-2017-5226: TIOCSTI puts characters into the operator's terminal, whose shell runs them.
#include <pty.h>
#include <sys/ioctl.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(Cve20175226, OperatorsTerminalIsOutOfReach) {
  Jail jail({"act"});
  int master = -1, slave = -1;
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  StartOptions start;
  start.in = slave;
  start.before = [] {
    ::setsid();
    if (::ioctl(0, TIOCSCTTY, 0) != 0) ::_exit(124);
  };
  const Outcome outcome = jail.Run({"--id", "tty", "--", "/act", "tiocsti"}, start);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "0 0\n") << "terminals that it has, characters pushed";
  int waiting = -1;
  ASSERT_EQ(::ioctl(slave, FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 0);
  ::close(master);
  ::close(slave);
}

}  // namespace
}  // namespace carrel::testing_support
