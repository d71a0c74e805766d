// What the caller leaves odd must not change the sandbox: ignored and blocked signals, closed
// standard streams, its environment, umask, limits, priority, personality, working directory.
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CallerState, IgnoredAndBlockedSignalsAreNotInherited) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] {
    for (int number : {SIGPIPE, SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1})
      ::signal(number, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
  };
  const Outcome outcome = jail.Run({"--", "/act", "read", "/proc/self/status"}, start);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("SigIgn:\t0000000000000000\n"));
  EXPECT_THAT(outcome.out, HasSubstr("SigBlk:\t0000000000000000\n"));
  EXPECT_EQ(jail.Run({"--", "/act", "exit", "7"}, start).status, 7);
  EXPECT_EQ(jail.Run({"--time", "1", "--", "/act", "sleep"}, start).status, 128 + SIGTERM);
}

// Else the first file that carrel opens would be the action's stdout.
TEST(CallerState, ClosedStandardStreams) {
  for (int mask = 1; mask < 8; ++mask) {
    Jail jail({"act"});
    StartOptions start;
    start.before = [mask] {
      for (int fd = 0; fd < 3; ++fd)
        if ((mask & 1 << fd) != 0) ::close(fd);
    };
    Process carrel = jail.Start({"--id", "closed", "--", "/act", "tee"}, start);
    EXPECT_EQ(carrel.Wait(), 0) << mask;
    EXPECT_EQ(jail.Run({"--id", "streams", "--", "/act", "flood", "100000"}, start).status, 0);
    EXPECT_EQ(jail.Run({"--", "/act", "exit", "7"}, start).status, 7) << mask;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             jail.state(), std::filesystem::directory_options::skip_permission_denied))
      if (entry.is_regular_file() && entry.path().string().find("/bpf/") == std::string::npos) {
        EXPECT_THAT(ReadText(entry.path()), Not(HasSubstr("abcdefghijklmnopqrstuvwxyzabcdef")))
            << mask << ": the action's output is in " << entry.path();
      }
    jail.ExpectNothingLeft("closed");
  }
}

TEST(CallerState, EnvironmentIsNotInherited) {
  Jail jail({"act"});
  StartOptions start;
  start.environment = {"LD_PRELOAD=/nonexistent/evil.so",
                       "LD_LIBRARY_PATH=/nonexistent",
                       "LD_AUDIT=/nonexistent/evil.so",
                       "GLIBC_TUNABLES=glibc.malloc.check=3",
                       "GCONV_PATH=/nonexistent",
                       "PATH=/nonexistent",
                       "HOME=/root",
                       "TMPDIR=/nonexistent",
                       "CARREL_DEBUG=1",
                       "CARREL_CONFIG=/nonexistent",
                       "CARREL_STATE=/nonexistent",
                       "DATABASE_URL=secret",
                       "BASH_ENV=/nonexistent"};
  const Outcome outcome = jail.Run({"--env", "A=b", "--", "/act", "env"}, start);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "A=b\nHOME=/tmp\nPATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n");
}

TEST(CallerState, UmaskNeitherOpensNorHides) {
  for (mode_t mask : {0000u, 0077u, 0777u}) {
    Jail jail({"act"});
    StartOptions start;
    start.before = [mask] { ::umask(mask); };
    Outcome outcome =
        jail.Run({"--id", "m", "--", "/act", "read", "/proc/sys/kernel/osrelease"}, start);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, Not(HasSubstr("EACCES"))) << mask;
    outcome = jail.Run({"--", "/act", "read", "/proc/self/status"}, start);
    EXPECT_THAT(outcome.out, HasSubstr("Umask:\t0022\n"));
    for (const auto& entry : std::filesystem::recursive_directory_iterator(jail.state())) {
      const auto mode = std::filesystem::symlink_status(entry).permissions();
      if (entry.is_character_file() || entry.is_symlink()) continue;
      EXPECT_EQ(mode & std::filesystem::perms::others_write, std::filesystem::perms::none)
          << entry.path();
    }
  }
}

// A lower limit of the caller is kept (to raise it would take CAP_SYS_RESOURCE); it is no error.
TEST(CallerState, LowerLimitsStay) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] {
    const rlimit files{300, 300}, size{1 << 28, 1 << 28};
    ::setrlimit(RLIMIT_NOFILE, &files);
    ::setrlimit(RLIMIT_FSIZE, &size);
  };
  const Outcome outcome = jail.Run({"--", "/act", "limits"}, start);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "300 268435456 0 \n");
}

// No processor limit of a cgroup holds a real-time task.
TEST(CallerState, AHigherPriorityIsNotInherited) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] {
    ::setpriority(PRIO_PROCESS, 0, -10);
    ::syscall(SYS_ioprio_set, 1, 0, 1 << 13);  // IOPRIO_CLASS_RT
  };
  EXPECT_EQ(jail.Run({"--", "/act", "priority"}, start).out, "0 0 0\n");
  start.before = [] {
    const sched_param param{.sched_priority = 1};
    ::sched_setscheduler(0, SCHED_FIFO, &param);
  };
  const Outcome outcome = jail.Run({"--", "/act", "priority"}, start);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "0 0 0\n");
}

TEST(CallerState, ALowerPriorityStays) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] {
    ::setpriority(PRIO_PROCESS, 0, 5);
    ::syscall(SYS_ioprio_set, 1, 0, 3 << 13);  // IOPRIO_CLASS_IDLE
  };
  EXPECT_EQ(jail.Run({"--", "/act", "priority"}, start).out, "5 0 3\n");
}

TEST(CallerState, ARootWithoutCapabilitiesIsToldSo) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    ::prctl(PR_SET_SECUREBITS, SECBIT_NOROOT);
    ::syscall(SYS_capset, &header, none);
  };
  const Outcome outcome = jail.Run({"--", "/act", "exit", "0"}, start);
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("CAP_SYS_ADMIN"));
}

TEST(CallerState, PersonalityIsReset) {
  Jail jail({"act"});
  StartOptions start;
  start.before = [] { ::personality(static_cast<unsigned long>(PER_LINUX32) | ADDR_NO_RANDOMIZE); };
  EXPECT_EQ(jail.Run({"--", "/act", "read", "/proc/self/personality"}, start).out, "00000000\n");
}

}  // namespace
}  // namespace carrel::testing_support
