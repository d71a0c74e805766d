// CVE-2019-19921, CVE-2021-30465, CVE-2023-27561, CVE-2023-28642: a root filesystem in which a
// mount point is a link makes the launcher mount, or make files, where the link leads.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename());
  return names;
}

class RootfsLinks : public ::testing::TestWithParam<std::string> {};

TEST_P(RootfsLinks, ToAHostDirectoryIsRefused) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail / "host");
  std::filesystem::create_symlink(jail / "host", jail.rootfs() + "/" + GetParam());
  const Outcome outcome = jail.Run({"--id", "link", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("/" + GetParam()));
  EXPECT_THAT(NamesIn(jail / "host"), ::testing::IsEmpty());
  jail.ExpectNothingLeft("link");
}

TEST_P(RootfsLinks, ToAnotherPlaceInsideIsRefused) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail.rootfs() + "/elsewhere");
  std::filesystem::create_symlink("elsewhere", jail.rootfs() + "/" + GetParam());
  const Outcome outcome = jail.Run({"--id", "link", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_THAT(NamesIn(jail.rootfs() + "/elsewhere"), ::testing::IsEmpty());
}

TEST_P(RootfsLinks, ToNowhereIsRefused) {
  Jail jail({"act"});
  std::filesystem::create_symlink(jail / "missing", jail.rootfs() + "/" + GetParam());
  const Outcome outcome = jail.Run({"--id", "link", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(jail / "missing"));
}

TEST_P(RootfsLinks, AFileInsteadIsRefused) {
  Jail jail({"act"});
  WriteFile(jail.rootfs() + "/" + GetParam(), "a file");
  const Outcome outcome = jail.Run({"--id", "file", "--", "/act", "exit", "0"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("/" + GetParam()));
  jail.ExpectNothingLeft("file");
}

INSTANTIATE_TEST_SUITE_P(MountPoints, RootfsLinks, ::testing::Values("dev", "proc", "sys", "tmp"),
                         [](const auto& tested) { return tested.param; });

// The root filesystem's own directory may not be a link either.
TEST(RootfsItself, ALinkIsRefused) {
  Jail jail({"act"});
  std::filesystem::rename(jail.rootfs(), jail / "real");
  std::filesystem::create_symlink(jail / "real", jail.rootfs());
  const Outcome outcome = jail.Run({"--id", "root", "--", "/act", "exit", "0"});
  EXPECT_NE(outcome.status, 0);
}

}  // namespace
}  // namespace carrel::testing_support
