// A state directory for logs that no kernel had a part in, and a small log.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "audit/audit_log.h"
#include "audit/verify.h"
#include "base/fs.h"
#include "support/raw_events.h"

namespace carrel::testing_support {

inline constexpr uint32_t kOpenat = 257, kGetppid = 110, kChmod = 90;

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/carrel-log-XXXXXX";
    state_ = ::mkdtemp(name);
  }
  void TearDown() override {
    auto tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(RemoveTree(tmp->get(), state_.substr(5)).has_value());
  }
  std::string PathOf(const std::string& job) { return state_ + "/audit/" + job + ".carrel-log"; }

  // A small job: two tasks, a named file, a denied call, a thousand calls of one kind.
  void Write(const std::string& job, bool seal = true, uint64_t calls = 1000) {
    auto log = AuditLog::Create(state_, job);
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    auto add = [&](const std::string& bytes) {
      ASSERT_TRUE((*log)->AppendEvents(bytes.data(), bytes.size()).has_value());
    };
    ASSERT_TRUE((*log)->Append("decision", Json{{"level", 4}}).has_value());
    add(RawTaskOf(100, 100, 1, "init"));
    add(RawDataOf(100, 1, kDataArgv, std::string("tool\0--x\0", 9), kDataExec));
    add(RawFileOf(100, std::string("tool\0bin\0", 9), 55, kDataExec));
    add(RawExecOf(100, 100, 1, "tool"));
    add(RawDataOf(100, 1, kDataString, "data/in.csv"));
    add(RawFileOf(100, std::string("in.csv\0data\0workspace\0", 22), 77));
    add(RawCallOf(100, kOpenat, 64000, 3, {0xffffff9c, 0x7fff1000, 0}));
    add(RawTaskOf(101, 101, 2, "tool"));
    for (uint64_t i = 0; i < calls; ++i) add(RawCallOf(101, kGetppid, 70400 + 1280 * i, 1, {i, 7}));
    add(RawCallOf(100, kChmod, 1920000, -1, {0x1000, 0777}, kCallDenied));
    add(RawExitOf(101, 9));
    if (seal) {
      auto sealed = (*log)->Finish({calls + 2, 1, 0, 0});
      ASSERT_TRUE(sealed.has_value()) << sealed.error().ToString();
      head_ = sealed->head;
    } else {
      ASSERT_TRUE((*log)->AppendEvents(nullptr, 0).has_value());
      ::usleep(1100000);
      ASSERT_TRUE((*log)->AppendEvents(nullptr, 0).has_value());
    }
  }
  LogVerdict Verify(const std::string& job) {
    auto verdict = VerifyLog(state_, PathOf(job), job);
    EXPECT_TRUE(verdict.has_value()) << verdict.error().ToString();
    return verdict ? *verdict : LogVerdict{};
  }
  // A new file: file systems write out at once what replaces the content of an old one.
  void Replace(const std::string& job, const std::string& bytes) {
    (void)::unlink(PathOf(job).c_str());
    auto fd = OpenPath(PathOf(job), O_WRONLY | O_CREAT, 0600);
    ASSERT_TRUE(WriteAll(fd->get(), bytes).has_value());
  }

  std::string state_;
  std::string head_;
};

}  // namespace carrel::testing_support
