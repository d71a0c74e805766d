// CVE-2025-31133, CVE-2025-52565: a device file that is a link into procfs is bound, or masked
// with, as if it were the device. Devices come from a directory of carrel's own, and are checked
// for what they are.
#include <sys/sysmacros.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(DeviceLink, TheImagesOwnDeviceFilesAreNotUsed) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail.rootfs() + "/dev");
  std::filesystem::create_symlink("/proc/sys/kernel/core_pattern", jail.rootfs() + "/dev/null");
  WriteFile(jail.rootfs() + "/dev/zero", "not zero");
  ASSERT_EQ(::mknod((jail.rootfs() + "/dev/disk").c_str(), S_IFBLK | 0666, makedev(7, 0)), 0);
  EXPECT_EQ(jail.Run({"--", "/act", "stat", "/dev/null"}).out, "20666 65534 65534 103\n");
  EXPECT_EQ(jail.Run({"--", "/act", "stat", "/dev/zero"}).out, "20666 65534 65534 105\n");
  EXPECT_EQ(jail.Run({"--", "/act", "stat", "/dev/disk"}).out, "ENOENT\n");
}

// Whoever gets at the state directory's template is found out: type and number are looked at.
TEST(DeviceLink, ATemplateThatIsNotTheDeviceIsRefused) {
  Jail jail({"act"});
  ASSERT_EQ(jail.Run({"--", "/act", "exit", "0"}).status, 0);
  const std::string null = jail.state() + "/host/dev/null";
  std::filesystem::remove(null);
  std::filesystem::create_symlink("/proc/sys/kernel/core_pattern", null);
  Outcome outcome = jail.Run({"--id", "d", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 70);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("dev/null"));
  std::filesystem::remove(null);
  ASSERT_EQ(::mknod(null.c_str(), S_IFCHR | 0666, makedev(1, 1)), 0);  // /dev/mem
  outcome = jail.Run({"--id", "e", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 70);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("dev/null"));
  jail.ExpectNothingLeft("d");
}

}  // namespace
}  // namespace carrel::testing_support
