// What integration and escape tests share: a temporary directory and runs of the carrel program.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/fs.h"
#include "base/json.h"
#include "base/subprocess.h"

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

/// Runs the built carrel with `args`; fails the test when it cannot be run at all.
inline SubprocessResult RunCarrel(std::vector<std::string> args, SubprocessOptions options = {}) {
  args.insert(args.begin(), CARREL_BINARY);
  auto result = RunSubprocess(args, options);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().ToString());
  return result ? *result : SubprocessResult{-1, "", ""};
}

/// The path of a program of tests/payloads, built static.
inline std::string Payload(const std::string& name) {
  return std::string(CARREL_PAYLOADS) + "/" + name;
}

inline void WriteFile(const std::string& path, std::string_view text, mode_t mode = 0644) {
  auto fd = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
  ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
}

}  // namespace carrel::testing_support
