// What runs leave behind whose carrel was killed. As root: cgroups are the point.
#include "job/recover.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "audit/audit_log.h"
#include "audit/log_reader.h"
#include "launch/cgroup.h"
#include "launch/host_facts.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

// Carrel was killed after the last sweep: its action, which takes its time to die, must not be
// recorded by nobody once its log has a seal.
TEST(Recover, WhatIsLeftOfAnActionDiesBeforeItsLogIsSealed) {
  testing_support::TempDir state;
  ASSERT_TRUE(AuditLog::Create(state.path(), "late").has_value());  // and nobody writes it
  std::filesystem::create_directories(state / "run");
  testing_support::WriteFile(state / "run/late.lock", "");
  const HostFacts facts = *GatherHostFacts();
  const std::string parent = "carrel-unit-" + std::to_string(::getpid());
  const std::string top = facts.hierarchies.back().mount + "/" + parent;
  const std::string cgroup = top + "/" + CgroupName(state.path(), "late");
  std::filesystem::create_directories(cgroup);
  const pid_t left = ::fork();
  if (left == 0) {
    ::pause();
    ::_exit(0);
  }
  testing_support::WriteFile(cgroup + "/cgroup.procs", std::to_string(left));
  const auto sealed = SealCutOffLogs(state.path(), facts, parent);
  ASSERT_TRUE(sealed.has_value()) << sealed.error().ToString();
  EXPECT_EQ(::waitpid(left, nullptr, WNOHANG), left) << "it lives";
  ::kill(left, SIGKILL);
  ::rmdir(cgroup.c_str());
  ::rmdir(top.c_str());
  auto log = LogReader::Open(state / "audit/late.carrel-log");
  ASSERT_TRUE(log.has_value());
  while (*log->NextBlock()) {
  }
  EXPECT_EQ(log->Standing(), LogStanding::kSealed);
}

}  // namespace
}  // namespace carrel
