// A writable place inside (--writable) whose path passes through a link of the image would put the
// scratch space, or its mount point, on the host (CVE-2021-30465's way in).
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(WritableLink, ThroughALinkToTheHostIsRefused) {
  for (const char* path : {"/data", "/data/sub", "/data/sub/deep"}) {
    Jail jail({"act"});
    std::filesystem::create_directories(jail / "host");
    std::filesystem::create_symlink(jail / "host", jail.rootfs() + "/data");
    const Outcome outcome =
        jail.Run({"--id", "w", "--writable", path, "--", "/act", "write", "/data/x"});
    EXPECT_EQ(outcome.status, 2) << path << ": " << outcome.err;
    EXPECT_TRUE(std::filesystem::is_empty(jail / "host")) << path;
    jail.ExpectNothingLeft("w");
  }
}

TEST(WritableLink, ThroughALinkInsideIsRefused) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail.rootfs() + "/real");
  std::filesystem::create_symlink("real", jail.rootfs() + "/data");
  EXPECT_EQ(jail.Run({"--writable", "/data", "--", "/act", "exit", "0"}).status, 2);
  EXPECT_EQ(jail.Run({"--writable", "/data/sub", "--", "/act", "exit", "0"}).status, 2);
  EXPECT_TRUE(std::filesystem::is_empty(jail.rootfs() + "/real"));
}

TEST(WritableLink, PathsThatAreNotNormalAreRefused) {
  Jail jail({"act"});
  for (const char* path :
       {"/", "..", "../x", "/..", "/a/../../b", "/a/./b", "relative", "//x", "/a//b", "", "/proc",
        "/proc/x", "/proc/sys/kernel", "/dev/x", "/dev/shm", "/sys/x", "/tmp"}) {
    const Outcome outcome = jail.Run({"--writable", path, "--", "/act", "exit", "0"});
    EXPECT_EQ(outcome.status, 2) << "'" << path << "': " << outcome.err;
  }
  EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty());
}

TEST(WritableLink, TwoAtOnePlaceAreRefused) {
  Jail jail({"act"});
  const Outcome outcome =
      jail.Run({"--writable", "/data", "--writable", "/data", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
}

}  // namespace
}  // namespace carrel::testing_support
