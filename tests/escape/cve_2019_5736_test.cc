// CVE-2019-5736: the action overwrites the program that started it, through /proc/self/exe or
// /proc/1/exe, and the next start runs the attacker's code as root on the host.
#include <fcntl.h>

#include "base/digest.h"
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

std::string DigestOf(const std::string& path) {
  auto fd = OpenPath(path, O_RDONLY);
  return fd ? Sha256HexOfFd(fd->get()).value_or("unreadable") : "missing";
}

TEST(Cve20195736, ProgramsCannotBeOverwrittenFromInside) {
  Jail jail({"act"});
  const std::string carrel = DigestOf(CARREL_BINARY);
  const std::string action = DigestOf(jail.rootfs() + "/act");
  const Outcome outcome = jail.Run({"--id", "exe", "--", "/act", "overwrite-exe"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "0\n") << "opened for writing, so many times";
  EXPECT_EQ(DigestOf(CARREL_BINARY), carrel);
  EXPECT_EQ(DigestOf(jail.rootfs() + "/act"), action);
}

// Were /proc/1/exe reachable, it is a sealed memory file that nothing else runs from.
TEST(Cve20195736, InitRunsFromASealedMemoryFile) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "sealed", "--", "/act", "sleep"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
  int found = 0;
  for (pid_t task : TasksOf("sealed")) {
    const std::string exe = "/proc/" + std::to_string(task) + "/exe";
    if (!std::filesystem::read_symlink(exe).string().starts_with("/memfd:carrel-init")) continue;
    ++found;
    auto fd = OpenPath(exe, O_RDONLY);
    ASSERT_TRUE(fd.has_value());
    const int seals = ::fcntl(fd->get(), F_GET_SEALS);
    const int wanted = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    EXPECT_EQ(seals & wanted, wanted);
  }
  EXPECT_GE(found, 1);
  ::kill(carrel.pid(), SIGTERM);
  EXPECT_EQ(carrel.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace carrel::testing_support
