#include "base/fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/digest.h"
#include "base/subprocess.h"

namespace carrel {
namespace {

class FsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/carrel-fs-XXXXXX";
    path_ = ::mkdtemp(name);
    dir_ = *OpenPath(path_, O_RDONLY | O_DIRECTORY);
  }
  void TearDown() override {
    auto tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(RemoveTree(tmp->get(), path_.substr(5)).has_value());
    ASSERT_NE(::access(path_.c_str(), F_OK), 0);
  }
  std::string path_;
  UniqueFd dir_;
};

TEST_F(FsTest, OpenBeneathFollowsNoLink) {
  ASSERT_EQ(::symlinkat("/etc", dir_.get(), "out"), 0);
  EXPECT_FALSE(OpenBeneath(dir_.get(), "out/passwd", O_RDONLY).has_value());
  EXPECT_FALSE(OpenBeneath(dir_.get(), "../tmp", O_RDONLY).has_value());
  EXPECT_FALSE(OpenBeneath(dir_.get(), "/etc/passwd", O_RDONLY).has_value());
}

TEST_F(FsTest, OpenInRootStaysInside) {
  ASSERT_EQ(::symlinkat("/etc/passwd", dir_.get(), "link"), 0);
  auto opened = OpenInRoot(dir_.get(), "link", O_RDONLY);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ENOENT);
}

TEST_F(FsTest, AtomicWriteReplacesAndLeavesNoTemporary) {
  ASSERT_TRUE(WriteFileAtomic(dir_.get(), "f", "one", 0640).has_value());
  ASSERT_TRUE(WriteFileAtomic(dir_.get(), "f", "two", 0600).has_value());
  EXPECT_EQ(*ReadFile(path_ + "/f"), "two");
  EXPECT_EQ(ListDir(dir_.get())->size(), 1u);
}

TEST_F(FsTest, RemoveTreeDoesNotFollowLinks) {
  ASSERT_TRUE(MakeDirsBeneath(dir_.get(), "a/b/c", 0755).has_value());
  ASSERT_TRUE(WriteFileAtomic(dir_.get(), "keep", "x", 0644).has_value());
  ASSERT_EQ(::symlinkat(path_.c_str(), MakeDirsBeneath(dir_.get(), "a/b", 0755)->get(), "up"), 0);
  ASSERT_TRUE(RemoveTree(dir_.get(), "a").has_value());
  EXPECT_EQ(*ReadFile(path_ + "/keep"), "x");
}

TEST_F(FsTest, RemoveTreeOfAnyDepthAndWidth) {
  // Deeper than there may be descriptors, with the names that the removal itself uses.
  UniqueFd current = *MakeDirsBeneath(dir_.get(), "a/.removed-1/x", 0755);
  ASSERT_TRUE(WriteFileAtomic(dir_.get(), "a.txt", "x", 0644).has_value());
  ASSERT_TRUE(MakeDirsBeneath(dir_.get(), "a/.removed-2/full", 0755).has_value());
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(OpenBeneath(current.get(), "file", O_WRONLY | O_CREAT, 0644).has_value());
    current = *MakeDirsBeneath(current.get(), "deep", 0700);
  }
  current.reset();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few = {64, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  auto removed = RemoveTree(dir_.get(), "a");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(removed.has_value()) << removed.error().ToString();
  EXPECT_EQ(ListDir(dir_.get())->size(), 1u);
}

TEST(Names, SafeComponents) {
  EXPECT_TRUE(IsSafeComponent("caf\xc3\xa9.csv"));
  for (const char* bad : {"", ".", "..", "a/b", "a\nb", "a\x7f"})
    EXPECT_FALSE(IsSafeComponent(bad));
  EXPECT_TRUE(IsNormalRelativePath("a/b.c"));
  for (const char* bad : {"", "/a", "a/", "a//b", "a/../b", "./a"})
    EXPECT_FALSE(IsNormalRelativePath(bad)) << bad;
}

TEST(Sha256, KnownAnswer) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Subprocess, PassesInputOutputAndStatus) {
  SubprocessOptions options;
  options.input = "hello";
  auto result = RunSubprocess({"sh", "-c", "cat; echo oops >&2; exit 3"}, options);
  ASSERT_TRUE(result.has_value()) << result.error().ToString();
  EXPECT_EQ(result->output, "hello");
  EXPECT_EQ(result->errors, "oops\n");
  EXPECT_EQ(result->exit_code, 3);
}

TEST(Subprocess, KillsWhatTakesTooLong) {
  SubprocessOptions options;
  options.timeout = std::chrono::seconds(1);
  auto result = RunSubprocess({"sleep", "30"}, options);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().what.find("did not end"), std::string::npos);
}

TEST(Subprocess, InheritsNoEnvironment) {
  ::setenv("CARREL_SECRET", "x", 1);
  EXPECT_EQ(RunSubprocess({"sh", "-c", "echo $CARREL_SECRET"})->output, "\n");
}

}  // namespace
}  // namespace carrel
