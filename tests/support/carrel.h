// What integration and escape tests share: runs of the carrel program.
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
#include "support/temp_dir.h"

namespace carrel::testing_support {

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

}  // namespace carrel::testing_support
