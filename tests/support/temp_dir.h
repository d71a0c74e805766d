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

/// A directory under /var/tmp (a real file system, not tmpfs), or another parent, that is removed
/// with all below it.
class TempDir {
 public:
  explicit TempDir(std::string parent = "/var/tmp") : parent_(std::move(parent)) {
    path_ = parent_ + "/carrel-test-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) abort();
    ::chmod(path_.c_str(), 0755);
    fd_ = *OpenPath(path_, O_RDONLY | O_DIRECTORY);
  }
  ~TempDir() {
    auto parent = OpenPath(parent_, O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(parent && RemoveTree(parent->get(), path_.substr(parent_.size() + 1))) << path_;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  /// Writes a file with its directories.
  void Write(const std::string& name, std::string_view text) const {
    const size_t slash = name.rfind('/');
    if (slash != std::string::npos) {
      ASSERT_TRUE(MakeDirsBeneath(fd(), name.substr(0, slash), 0755).has_value()) << name;
    }
    auto file = OpenPath(path_ + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(file.has_value()) << file.error().ToString();
    ASSERT_TRUE(WriteAll(file->get(), text).has_value());
  }
  /// The file's text; of one that cannot be read, the error in brackets.
  std::string Read(const std::string& name) const {
    auto text = ReadFile(path_ + "/" + name, 256u << 20);
    return text ? *text : "(" + text.error().ToString() + ")";
  }
  bool Exists(const std::string& name) const {
    struct stat info {};
    return ::lstat((path_ + "/" + name).c_str(), &info) == 0;
  }

 private:
  std::string parent_, path_;
  UniqueFd fd_;
};

inline void WriteFile(const std::string& path, std::string_view text, mode_t mode = 0644) {
  auto fd = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
  ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
}

}  // namespace carrel::testing_support
