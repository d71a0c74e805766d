// CVE-2024-21626: a descriptor to a host directory that is open in the launcher, or a working
// directory that leads through one, is a way out of the root filesystem.
#include <fcntl.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

// carrel is started in a host directory, with descriptors to it that are not close-on-exec.
StartOptions WithOpenDirectory(const std::string& directory) {
  StartOptions start;
  start.before = [directory] {
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY);
    for (int copy : {7, 9, 23, 100}) ::dup2(fd, copy);
    if (::chdir(directory.c_str()) != 0) ::_exit(124);
  };
  return start;
}

TEST(Cve202421626, NoDescriptorIsHandedDown) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail / "host");
  const Outcome outcome =
      jail.Run({"--id", "fds", "--", "/act", "fds"}, WithOpenDirectory(jail / "host"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "0 pipe\n1 pipe\n2 pipe\n");
}

TEST(Cve202421626, WorkingDirectoryOfTheCallerIsNotKept) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail / "host");
  const Outcome outcome =
      jail.Run({"--id", "cwd", "--", "/act", "cwd"}, WithOpenDirectory(jail / "host"));
  EXPECT_EQ(outcome.out, "/\n") << outcome.err;
}

TEST(Cve202421626, WorkingDirectoryThroughADescriptorIsRefused) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail / "host");
  WriteFile(jail / "host/secret", "secret");
  std::vector<std::string> directories = {"/proc/self/cwd/..", "/proc/self/fd/../cwd"};
  for (int fd : {3, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 100})
    directories.push_back("/proc/self/fd/" + std::to_string(fd));
  for (const std::string& directory : directories) {
    const Outcome outcome =
        jail.Run({"--workdir", directory, "--", "/act", "cwd"}, WithOpenDirectory(jail / "host"));
    if (outcome.status == 0) {  // one of carrel's own mounts, which are inside anyway
      EXPECT_THAT(outcome.out, ::testing::AnyOf("/\n", "/tmp\n", "/dev\n", "/dev/shm\n", "/sys\n",
                                                ::testing::StartsWith("/proc/")))
          << directory;
    } else {
      EXPECT_EQ(outcome.status, 2) << directory << ": " << outcome.err;
      EXPECT_THAT(outcome.err, ::testing::HasSubstr("working"));
    }
    if (directory.ends_with("/9") || directory.ends_with("/23")) {
      EXPECT_EQ(outcome.status, 2) << directory << ": " << outcome.out;
    }
    if (directory.ends_with("/9") || directory.ends_with("/23"))
      EXPECT_EQ(outcome.status, 2) << directory << ": " << outcome.out;
    EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty());
  }
}

}  // namespace
}  // namespace carrel::testing_support
