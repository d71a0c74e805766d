#include "policy/level_rules.h"

#include <gtest/gtest.h>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::SampleHost;
using testing_support::ShippedFiles;
using testing_support::ShippedPolicy;

constexpr Level kLevel4 = Level::kModeratelySensitive;

HostConfig HostWith(const std::string& ownership) {
  return *DecodeHostConfig(
      Json::parse("{\"levels\": {\"moderately_sensitive\": " + ownership + "}}"));
}

TEST(LevelRules, WhatTheHostDoesNotSayIsThePolicys) {
  Policy policy = ShippedPolicy();
  policy.levels[kLevel4].owner = "daemon";
  policy.levels[kLevel4].group = "adm";
  policy.levels[kLevel4].file_mode = 0440;
  HostConfig host = SampleHost();
  ASSERT_TRUE(ApplyLevelRules(policy, host).has_value());
  EXPECT_EQ(host.levels[kLevel4].owner, 1u);
  EXPECT_EQ(host.levels[kLevel4].group, 4u);
  EXPECT_EQ(host.levels[kLevel4].file_mode, 0440u);
  EXPECT_EQ(host.levels[kLevel4].directory_mode, 0750u);
  host = HostWith(R"({"owner": 0, "group": 7})");
  ASSERT_TRUE(ApplyLevelRules(policy, host).has_value());
  EXPECT_EQ(host.levels[kLevel4].owner, 0u);
  EXPECT_EQ(host.levels[kLevel4].group, 7u);
}

TEST(LevelRules, TheHostGivesNoMoreThanThePolicy) {
  Policy policy = ShippedPolicy();
  policy.levels[kLevel4].file_mode = 0640;
  HostConfig host = HostWith(R"({"file_mode": "0660"})");
  auto applied = ApplyLevelRules(policy, host);
  ASSERT_FALSE(applied.has_value());
  EXPECT_EQ(applied.error().kind, ErrorKind::kRefused);
  EXPECT_NE(applied.error().ToString().find("0660 gives more than levels.json's 0640"),
            std::string::npos);
  host = HostWith(R"({"file_mode": "0600"})");
  ASSERT_TRUE(ApplyLevelRules(policy, host).has_value());
  EXPECT_EQ(host.levels[kLevel4].file_mode, 0600u);
}

TEST(LevelRules, AGroupThatTheHostDoesNotHave) {
  Policy policy = ShippedPolicy();
  policy.levels[kLevel4].group = "nobody-here";
  HostConfig host = SampleHost();
  auto applied = ApplyLevelRules(policy, host);
  ASSERT_FALSE(applied.has_value());
  EXPECT_NE(applied.error().ToString().find("levels.json#/moderately_sensitive/group"),
            std::string::npos);
  host = HostWith(R"({"group": 0})");
  EXPECT_TRUE(ApplyLevelRules(policy, host).has_value());
}

// Who reads a level by role is who reads it on the host.
TEST(LevelRules, GroupsAndRolesAgree) {
  PolicyFiles files = ShippedFiles();
  Json levels = Json::parse(files["levels.json"]);
  levels["highly_sensitive"]["group"] = "developers";
  files["levels.json"] = levels.dump();
  auto policy = DecodePolicy(files);
  ASSERT_FALSE(policy.has_value());
  EXPECT_NE(policy.error().ToString().find(
                "roles.json#/roles/platform_developer: reads highly_sensitive files, which the "
                "group \"developers\" owns (levels.json); add it to groups"),
            std::string::npos)
      << policy.error().ToString();
  Json roles = Json::parse(files["roles.json"]);
  roles["roles"]["platform_developer"]["groups"] = {"developers"};
  files["roles.json"] = roles.dump();
  EXPECT_TRUE(DecodePolicy(files).has_value());
  roles["roles"]["researcher"]["groups"] = {"developers"};
  files["roles.json"] = roles.dump();
  policy = DecodePolicy(files);
  ASSERT_FALSE(policy.has_value());
  EXPECT_NE(policy.error().ToString().find("roles.json#/roles/researcher: has the group"),
            std::string::npos);
}

}  // namespace
}  // namespace carrel
