#include "gateway/credentials.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <fstream>

#include "support/temp_dir.h"

namespace carrel::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::TempDir;
using testing_support::WriteFile;

class CredentialsTest : public ::testing::Test {
 protected:
  std::string File(const std::string& text, mode_t mode = 0400) {
    const std::string path = dir_ / ("file" + std::to_string(++files_));
    WriteFile(path, text, 0600);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string Problem(const std::string& file, const std::string& systemd = "",
                      const std::string& user = "") {
    auto loaded = LoadCredentials(file, systemd, user);
    return loaded ? "(loaded)" : loaded.error().ToString();
  }

  TempDir dir_;
  int files_ = 0;
};

constexpr char kGood[] = "u:hidden\n";

TEST_F(CredentialsTest, ReadsPasswordOrBoth) {
  auto one = LoadCredentials(File("s3:cret\r\n"), "", "reader");
  ASSERT_TRUE(one.has_value()) << one.error().ToString();
  EXPECT_EQ(one->user, "reader");
  EXPECT_EQ(one->password.view(), "s3:cret");
  auto both = LoadCredentials(File("reader:s3:cret"), "", "");
  ASSERT_TRUE(both.has_value()) << both.error().ToString();
  EXPECT_EQ(both->user, "reader");
  EXPECT_EQ(both->password.view(), "s3:cret");
}

TEST_F(CredentialsTest, ChecksTheFile) {
  EXPECT_EQ(Problem(File(kGood, 0600)), "(loaded)");
  EXPECT_THAT(Problem(File(kGood, 0440)), HasSubstr("open to group or others"));
  EXPECT_THAT(Problem(File(kGood, 0604)), HasSubstr("open to group or others"));
  EXPECT_THAT(Problem(dir_.path()), HasSubstr("no regular file"));
  const std::string link = dir_ / "link";
  ASSERT_EQ(::symlink(File(kGood).c_str(), link.c_str()), 0);
  EXPECT_THAT(Problem(link), HasSubstr("ELOOP"));
  EXPECT_THAT(Problem(dir_ / "none"), HasSubstr("ENOENT"));
  EXPECT_THAT(Problem(File(std::string(5000, ' '))), HasSubstr("longer than"));
  if (::geteuid() == 0) {
    const std::string others = File(kGood);
    ASSERT_EQ(::chown(others.c_str(), 12345, 0), 0);
    EXPECT_THAT(Problem(others), HasSubstr("another user"));
  }
}

TEST_F(CredentialsTest, RefusesWhatIsNoneAndShowsNoneOfIt) {
  for (const std::string& text :
       {std::string("hidden"), std::string(":hidden"), std::string("hidden:"), std::string("\n"),
        std::string("u:hid\0den", 9)}) {
    const std::string problem = Problem(File(text));
    EXPECT_THAT(problem, HasSubstr("in it")) << text;
    EXPECT_THAT(problem, Not(HasSubstr("hid"))) << text;
  }
  EXPECT_THAT(Problem(File("\n"), "", "u"), HasSubstr("no password"));
}

TEST_F(CredentialsTest, FromSystemd) {
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_THAT(Problem("", "db"), HasSubstr("CREDENTIALS_DIRECTORY"));
  WriteFile(dir_ / "db", kGood, 0400);
  ::setenv("CREDENTIALS_DIRECTORY", dir_.path().c_str(), 1);
  EXPECT_EQ(Problem("", "db"), "(loaded)");
  EXPECT_THAT(Problem("", "../db"), HasSubstr("not the name"));
  EXPECT_THAT(Problem("", "other"), HasSubstr("ENOENT"));
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(SecretTest, IsLockedAndNotInChildren) {
  auto secret = Secret::Of("the password");
  ASSERT_TRUE(secret.has_value()) << secret.error().ToString();
  // VmFlags of its pages: lo (locked), dd (not dumped), dc (not in a fork).
  std::ifstream maps("/proc/self/smaps");
  const auto address = reinterpret_cast<uintptr_t>(secret->view().data());
  bool inside = false, found = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
      inside = begin <= address && address < end;
    if (!inside || !line.starts_with("VmFlags:")) continue;
    found = true;
    for (const char* flag : {" lo", " dd", " dc"}) EXPECT_THAT(line, HasSubstr(flag));
  }
  EXPECT_TRUE(found);
  const pid_t child = ::fork();
  if (child == 0) {
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) ::_exit(2);
    ::_exit(::write(pipe_ends[1], secret->view().data(), 1) < 0 && errno == EFAULT ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << "the child could read it";
}

TEST(SecretTest, SmallTools) {
  EXPECT_TRUE(SameBytes("abc", "abc"));
  EXPECT_FALSE(SameBytes("abc", "abd"));
  EXPECT_FALSE(SameBytes("abc", "ab"));
  EXPECT_EQ(RandomHex(8).value_or("").size(), 16u);
  EXPECT_NE(RandomHex(8).value_or(""), RandomHex(8).value_or(""));
}

}  // namespace
}  // namespace carrel::gateway
