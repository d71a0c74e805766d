// CVE-2016-9962: the action traces the init, or takes its descriptors through /proc, in the moment
// before it executes.
#include <sys/stat.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

TEST(Cve20169962, InitCannotBeTracedOrRead) {
  Jail jail({"act"});
  Process carrel = jail.Start({"--id", "trace", "--", "/act", "trace-init"});
  ASSERT_TRUE(Eventually([&] { return carrel.Out().ends_with("ready\n"); })) << carrel.Err();
  EXPECT_EQ(carrel.Out(), "0\nready\n") << "so many ways succeeded";
  int inits = 0;
  for (pid_t task : TasksOf("trace")) {
    const std::string proc = "/proc/" + std::to_string(task);
    const std::string status = ReadText(proc + "/status");
    EXPECT_THAT(status, ::testing::HasSubstr("TracerPid:\t0\n"));
    if (!std::filesystem::read_symlink(proc + "/exe").string().starts_with("/memfd:")) continue;
    // The kernel gives the /proc files of a process that is not dumpable to root.
    struct stat info {};
    ASSERT_EQ(::stat((proc + "/environ").c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 0u);
    ++inits;
  }
  EXPECT_GE(inits, 1);
  ::kill(carrel.pid(), SIGTERM);
  EXPECT_EQ(carrel.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace carrel::testing_support
