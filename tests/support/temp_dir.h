// A temporary directory, and files in it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/fs.h"

namespace carrel::testing_support {

/// A directory under /var/tmp (a real file system, not tmpfs) that is removed with all below it.
class TempDir {
 public:
  TempDir() {
    char name[] = "/var/tmp/carrel-test-XXXXXX";
    if (::mkdtemp(name) == nullptr) abort();
    ::chmod(name, 0755);
    path_ = name;
  }
  ~TempDir() {
    auto parent = OpenPath("/var/tmp", O_RDONLY | O_DIRECTORY);
    if (parent) {
      EXPECT_TRUE(RemoveTree(parent->get(), path_.substr(9)).has_value()) << path_;
    }
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, std::string_view text, mode_t mode = 0644) {
  auto fd = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
  ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
}

}  // namespace carrel::testing_support
