// tests/support/tds_server.py as a process of the test's.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/fs.h"
#include "base/json.h"
#include "base/unique_fd.h"

namespace carrel::testing_support {

/// It runs as long as the object lives; `log`: what it has seen, a line of JSON each.
class TdsServer {
 public:
  TdsServer(const std::string& user, const std::string& password, const std::string& log,
            const std::vector<std::string>& more = {})
      : log_(log) {
    int input[2];
    EXPECT_EQ(::pipe2(input, O_CLOEXEC), 0);
    std::vector<std::string> args = {
        "/usr/bin/python3", std::string(CARREL_SOURCE_DIR) + "/tests/support/tds_server.py",
        "--user",           user,
        "--password",       password};
    args.insert(args.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    // Emptied before the fork: an earlier server's port must not be read from it.
    const UniqueFd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    EXPECT_TRUE(out);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(input[0], 0);
      ::dup2(out.get(), 1);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(input[0]);
    input_.reset(input[1]);
  }
  ~TdsServer() {
    input_.reset();
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  TdsServer(const TdsServer&) = delete;
  TdsServer& operator=(const TdsServer&) = delete;

  uint16_t Port() {
    for (int i = 0; i < 1500; ++i) {
      const std::string text = Log();
      const size_t end = text.find('\n');
      if (end != text.npos) return Json::parse(text.substr(0, end))["port"];
      ::usleep(20'000);
    }
    return 0;
  }
  std::string Log() const { return ReadFile(log_).value_or(""); }

 private:
  std::string log_;
  UniqueFd input_;
  pid_t pid_ = -1;
};

}  // namespace carrel::testing_support
