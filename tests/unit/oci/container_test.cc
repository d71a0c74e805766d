#include "oci/container.h"

#include <gmock/gmock.h>

#include <filesystem>

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

}  // namespace
}  // namespace carrel
