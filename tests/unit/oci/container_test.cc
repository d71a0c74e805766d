#include "oci/container.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "oci/container_json.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using ::testing::HasSubstr;
using testing_support::TempDir;

class ContainerTest : public ::testing::Test {
 protected:
  Container Make(const std::string& name) {
    ContainerConfig config;
    config.name = name;
    auto container = store_.Create(std::move(config));
    EXPECT_TRUE(container.has_value()) << container.error().ToString();
    return std::move(*container);
  }

  TempDir dir_;
  ContainerStore store_ = *ContainerStore::Open(dir_.path());
};

// The agent takes a container that does not run for one that has ended, and its status for the
// action's.
TEST_F(ContainerTest, WhatNeverRanDidNotSucceed) {
  const Container container = Make("os-job-1");
  const auto inspected = container.Inspect();
  ASSERT_TRUE(inspected.has_value()) << inspected.error().ToString();
  EXPECT_EQ((*inspected)["State"]["Running"], false);
  EXPECT_EQ((*inspected)["State"]["ExitCode"], 128);
  EXPECT_EQ((*inspected)["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
}

TEST_F(ContainerTest, ARemovedOneIsMissing) {
  const Container container = Make("os-job-2");
  std::filesystem::remove(dir_.path() + "/containers/" + container.config().id + "/state.json");
  const auto inspected = container.Inspect();
  ASSERT_FALSE(inspected.has_value());
  EXPECT_EQ(inspected.error().code, ENOENT);
  EXPECT_THAT(inspected.error().ToString(), HasSubstr("No such container: os-job-2"));
}

// Where it cannot be written down, nothing of it stays.
TEST_F(ContainerTest, AFullDiskHoldsNoHalfOfOne) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{}, none{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  none.rlim_max = before.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  const bool made = store_.Create(ContainerConfig()).has_value();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_FALSE(made);
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path() + "/containers"))
    EXPECT_EQ(entry.path().filename(), "names");
}

// What `docker ps` says of it, in docker's words.
TEST_F(ContainerTest, IsListedAsDockerLists) {
  ContainerConfig config;
  config.entrypoint = {"sh"};
  config.arguments = {"-c", "echo \"ünï çødé\" again"};
  config.labels = {{"action", "a"}, {"job-runner", ""}};
  config.created_ns = 1'785'000'000ll * 1'000'000'000;
  ContainerState state;
  state.status = "running";
  state.started_ns = config.created_ns;
  const auto row = [&](int64_t seconds) {
    return ListRow(config, state, config.created_ns + seconds * 1'000'000'000, true);
  };
  EXPECT_EQ(row(0)["Command"], "\"sh -c 'echo \\\"ünï çø…\"");
  EXPECT_EQ(row(0)["Labels"], "action=a,job-runner=");
  EXPECT_EQ(row(0)["CreatedAt"], "2026-07-25 17:20:00 +0000 UTC");
  EXPECT_EQ(row(59)["Status"], "Up 59 seconds");
  EXPECT_EQ(row(90)["Status"], "Up About a minute");
  EXPECT_EQ(row(3599)["Status"], "Up 59 minutes");
  EXPECT_EQ(row(4000)["Status"], "Up About an hour");
  EXPECT_EQ(row(7200)["Status"], "Up 2 hours");
  EXPECT_EQ(row(48 * 3600)["Status"], "Up 2 days");
  EXPECT_EQ(ListRow(config, state, 0, false)["Command"], "\"sh -c 'echo \\\"ünï çødé\\\" again'\"");
}

}  // namespace
}  // namespace carrel
