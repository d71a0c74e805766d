// Digests of executed files: of the file of the exec or of none.
#include "audit/exec_digests.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/raw_event.h"
#include "base/digest.h"
#include "base/fs.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

class ExecDigestsTest : public testing::Test {
 protected:
  // A file, and what the kernel would have said of it when it was executed.
  ExecutedFile File(const std::string& name, const std::string& content) {
    const std::string path = dir_ / name;
    auto fd = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    EXPECT_TRUE(WriteAll(fd->get(), content).has_value());
    struct stat info {};
    EXPECT_EQ(::fstat(fd->get(), &info), 0);
    ExecutedFile file;
    file.tid = static_cast<uint32_t>(::getpid());  // its program is another one: by path, then
    file.path = path;
    file.inode = info.st_ino;
    file.ctime_s = info.st_ctim.tv_sec;
    file.ctime_ns = static_cast<uint32_t>(info.st_ctim.tv_nsec);
    file.size = content.size();
    return file;
  }
  ExecDigest Only(ExecutedFile file) {
    ExecDigests digests;
    digests.Add(std::move(file));
    auto done = digests.Take(true);
    EXPECT_EQ(done.size(), 1u);
    return done.empty() ? ExecDigest{} : done[0];
  }
  static std::string Hex(const std::string& bytes) {
    std::string hex;
    for (unsigned char byte : bytes) {
      char text[3];
      snprintf(text, sizeof text, "%02x", byte);
      hex += text;
    }
    return hex;
  }
  ExecDigest WithCache(const ExecutedFile& file) {
    ExecDigests digests(dir_ / "cache");
    digests.SetRoot(std::move(*OpenPath("/", O_PATH | O_DIRECTORY)));
    digests.Add(file);
    auto done = digests.Take(true);
    EXPECT_EQ(done.size(), 1u);
    return done.empty() ? ExecDigest{} : done[0];
  }
  testing_support::TempDir dir_;
};

TEST_F(ExecDigestsTest, OfTheContent) {
  const ExecDigest digest = Only(File("tool", "#!/bin/true\n"));
  EXPECT_EQ(Hex(digest.digest), Sha256Hex("#!/bin/true\n"));
  EXPECT_EQ(digest.flags, 0);
}

TEST_F(ExecDigestsTest, EachFileOnce) {
  ExecDigests digests;
  const ExecutedFile one = File("one", "1"), two = File("two", "2");
  for (const ExecutedFile& file : {one, two, one, one}) digests.Add(file);
  EXPECT_EQ(digests.Take(true).size(), 2u);
  EXPECT_TRUE(digests.Take(true).empty());
}

TEST_F(ExecDigestsTest, AFileThatWasWrittenToSinceHasNone) {
  ExecutedFile file = File("tool", "good");
  --file.ctime_s;
  const ExecDigest digest = Only(file);
  EXPECT_EQ(digest.digest, "");
  EXPECT_EQ(digest.flags, kDataFault);
}

TEST_F(ExecDigestsTest, WhatHasTakenItsPlaceIsNotOpenedForLong) {
  ExecutedFile file = File("tool", "good");
  ASSERT_EQ(::unlink(file.path.c_str()), 0);
  ASSERT_EQ(::mkfifo(file.path.c_str(), 0600), 0);
  EXPECT_EQ(Only(file).digest, "");
  ASSERT_EQ(::unlink(file.path.c_str()), 0);
  ASSERT_EQ(::symlink("/etc/passwd", file.path.c_str()), 0);
  EXPECT_EQ(Only(file).digest, "");
}

TEST_F(ExecDigestsTest, LargeFilesToo) {
  const std::string content(1u << 20, 'x');
  EXPECT_EQ(Hex(Only(File("tool", content)).digest), Sha256Hex(content));
}

// An old file of the root's file system: the second run doesn't read it. To see that, the first
// run's slot is given another digest: by the cache's own function, for a file of this key.
TEST_F(ExecDigestsTest, KeptForTheNextRun) {
  const std::string path = "/bin/true";
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  ExecutedFile file;
  file.tid = static_cast<uint32_t>(::getpid());
  file.path = path;
  file.inode = info.st_ino;
  file.ctime_s = info.st_ctim.tv_sec;
  file.ctime_ns = static_cast<uint32_t>(info.st_ctim.tv_nsec);
  file.size = static_cast<uint64_t>(info.st_size);
  const std::string first = WithCache(file).digest;
  EXPECT_EQ(Hex(first), Sha256Hex(*ReadFile(path)));
  EXPECT_EQ(WithCache(file).digest, first);

  const DigestCache cache(dir_ / "cache");
  const DigestCache::Key key{info.st_dev, info.st_ino, file.size, file.ctime_s, file.ctime_ns};
  cache.Keep(key, std::string(32, 'k'));
  EXPECT_EQ(WithCache(file).digest, std::string(32, 'k'));

  // A slot with a wrong byte is none.
  std::string table = *ReadFile(dir_ / "cache");
  table[table.find('k')] = 'j';
  auto fd = OpenPath(dir_ / "cache", O_WRONLY);
  ASSERT_TRUE(WriteAll(fd->get(), table).has_value());
  EXPECT_EQ(WithCache(file).digest, first);
}

TEST_F(ExecDigestsTest, WhatHasJustChangedIsNotKept) {
  const DigestCache cache(dir_ / "cache");
  DigestCache::Key key{1, 2, 3, ::time(nullptr), 5};
  cache.Keep(key, std::string(32, 'k'));
  EXPECT_EQ(cache.Find(key), "");
  key.ctime_s -= 10;
  cache.Keep(key, std::string(32, 'k'));
  EXPECT_EQ(cache.Find(key), std::string(32, 'k'));
  ++key.ctime_ns;
  EXPECT_EQ(cache.Find(key), "");
}

TEST_F(ExecDigestsTest, TooLargeAFileHasNone) {
  ExecutedFile file = File("tool", "good");
  file.size = 1ull << 40;
  EXPECT_EQ(Only(file).flags, kDataTruncated);
}

}  // namespace
}  // namespace carrel
