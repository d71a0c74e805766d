// CVE-2022-0492: a cgroup v1 hierarchy's release_agent is run by the kernel as root on the host.
// Inside there is no cgroup file system, none can be mounted, and no namespace made to do it in.
#include <map>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

std::map<std::string, std::string> Agents() {
  std::map<std::string, std::string> agents;
  for (const std::string& mount : CgroupMounts()) {
    agents[mount] = ReadText(mount + "/release_agent");
    agents[mount + "/carrel"] = ReadText(mount + "/carrel/notify_on_release");
  }
  return agents;
}

TEST(Cve20220492, ReleaseAgentCannotBeSet) {
  Jail jail({"act"});
  const auto before = Agents();
  ASSERT_FALSE(before.empty());
  const Outcome outcome = jail.Run({"--id", "agent", "--", "/act", "release-agent"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "0\n") << "so many steps succeeded";
  for (const auto& [mount, agent] : Agents())
    EXPECT_THAT(agent, ::testing::Not(::testing::HasSubstr("owned"))) << mount;
  for (const std::string& mount : CgroupMounts())
    EXPECT_EQ(ReadText(mount + "/release_agent"), before.at(mount)) << mount;
}

}  // namespace
}  // namespace carrel::testing_support
