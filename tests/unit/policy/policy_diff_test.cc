// Every way of widening a policy is told, and so is every way of narrowing it.
#include <gtest/gtest.h>

#include "policy/policy_facts.h"
#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::kNow;
using testing_support::ShippedFiles;

struct Change {
  const char* what;
  const char* file;
  const char* patch;  // RFC 6902; widens
};

const Change kWidenings[] = {
    {"a grant", "permissions/ndoo.json",
     R"([{"op":"add","path":"/grants/-","value":{"project":"internal","reason":"why",
         "approver":"lead","date":"2026-01-01","link":"https://x"}}])"},
    {"an expiry extended", "permissions/databases.json",
     R"([{"op":"replace","path":"/grants/1/expires","value":"2030-01-01"}])"},
    {"an expiry removed", "permissions/type-one-opt-outs.json",
     R"([{"op":"remove","path":"/grants/0/expires"}])"},
    {"a beginning moved", "permissions/databases.json",
     R"([{"op":"replace","path":"/grants/1/date","value":"2025-01-12"}])"},
    {"another database", "permissions/databases.json",
     R"([{"op":"add","path":"/grants/1/databases/-","value":"full"}])"},
    {"another dataset", "permissions/datasets.json",
     R"([{"op":"add","path":"/grants/0/datasets/-","value":"icnarc"}])"},
    {"an unread relay", "permissions/plain-relay.json",
     R"([{"op":"add","path":"/grants/-","value":{"project":"internal","databases":["lake"],
         "reason":"why","approver":"lead","date":"2026-01-01","link":"https://x"}}])"},
    {"a command reaches a database", "tools.json",
     R"([{"op":"add","path":"/tools/ehrql/commands/assure/database","value":true}])"},
    {"a command more", "tools.json",
     R"([{"op":"add","path":"/tools/ehrql/commands/x","value":{"levels":[]}}])"},
    {"any command", "tools.json",
     R"([{"op":"add","path":"/tools/ehrql/any_command","value":{"levels":[]}}])"},
    {"a level more", "tools.json",
     R"([{"op":"add","path":"/tools/ehrql/commands/generate-dataset/levels/-",
         "value":"moderately_sensitive"}])"},
    {"an image more", "tools.json",
     R"([{"op":"add","path":"/tools/r/images/-","value":"other/r"}])"},
    {"a version more", "tools.json", R"([{"op":"add","path":"/tools/r/versions/-","value":"v9"}])"},
    {"no listing", "tools.json",
     R"([{"op":"remove","path":"/tools/cohortextractor/requires_listing"}])"},
    {"not told", "tools.json",
     R"([{"op":"replace","path":"/tools/ehrql/opt_outs","value":"declared"},
         {"op":"add","path":"/tools/ehrql/preflight","value":[{"check":"sql-declaration"}]}])"},
    {"an argument allowed", "tools.json",
     R"([{"op":"remove","path":"/tools/sqlrunner/refused_arguments/0"}])"},
    {"an option of a check", "tools.json",
     R"([{"op":"add","path":"/tools/sqlrunner/preflight/0/options_with_value/-","value":"-x"}])"},
    {"a profile", "tools.json",
     R"([{"op":"add","path":"/tools/ehrql/allow_loopback_sockets","value":true},
         {"op":"add","path":"/tools/ehrql/loopback_reason","value":"why"}])"},
    {"copies", "tools.json",
     R"([{"op":"add","path":"/tools/r/copy_up_always","value":true},
         {"op":"add","path":"/tools/r/copy_up_reason","value":"why"}])"},
    {"a variable", "tools.json",
     R"([{"op":"add","path":"/tools/r/environment","value":{"X":"1"}}])"},
    {"a tool's limits", "tools.json",
     R"([{"op":"add","path":"/tools/r/limits","value":{"memory":"64G"}}])"},
    {"defaults", "limits.json", R"([{"op":"replace","path":"/defaults/cpus","value":3}])"},
    {"maxima", "limits.json",
     R"([{"op":"replace","path":"/maxima/time_seconds","value":9999999}])"},
    {"no maximum", "limits.json", R"([{"op":"remove","path":"/maxima/memory"}])"},
    {"rows", "levels.json",
     R"([{"op":"replace","path":"/moderately_sensitive/max_csv_rows","value":5001}])"},
    {"bytes", "levels.json",
     R"([{"op":"replace","path":"/moderately_sensitive/max_file_bytes","value":99999999}])"},
    {"a type", "levels.json",
     R"([{"op":"add","path":"/moderately_sensitive/file_types/-","value":".zip"}])"},
    {"a mode", "levels.json",
     R"([{"op":"replace","path":"/highly_sensitive/file_mode","value":"0660"}])"},
    {"a directory's mode", "levels.json",
     R"([{"op":"replace","path":"/highly_sensitive/directory_mode","value":"2770"}])"},
    {"a group", "levels.json",
     R"([{"op":"replace","path":"/moderately_sensitive/owner","value":"daemon"}])"},
    {"a role starts", "roles.json",
     R"([{"op":"add","path":"/roles/co_pilot/starts/-","value":"audit"}])"},
    {"a role reads", "roles.json",
     R"([{"op":"add","path":"/roles/researcher/reads/-","value":"highly_sensitive"}])"},
    {"a role reads a log", "roles.json",
     R"([{"op":"add","path":"/roles/researcher/reads_logs/-","value":"audit"}])"},
    {"a role's group", "roles.json",
     R"([{"op":"add","path":"/roles/researcher/groups","value":["staff"]}])"},
    {"a user's role", "roles.json",
     R"([{"op":"add","path":"/users/tester/-","value":"platform_developer"}])"},
    {"a user no longer listed", "roles.json", R"([{"op":"remove","path":"/users/tester"}])"},
    {"unlisted users", "roles.json",
     R"([{"op":"replace","path":"/unlisted_users_are","value":"platform_developer"}])"},
    {"a workspace", "projects.json",
     R"([{"op":"add","path":"/projects/0/workspaces/-","value":"more"}])"},
    {"any workspace", "projects.json",
     R"([{"op":"add","path":"/projects/0/accepts_unlisted_workspaces","value":true},
         {"op":"add","path":"/projects/0/unlisted_workspaces_reason","value":"why"}])"},
    {"a project", "projects.json",
     R"([{"op":"add","path":"/projects/-","value":{"id":"P","name":"new","kind":"audit",
         "workspaces":[]}}])"},
    {"a kind", "projects.json",
     R"([{"op":"replace","path":"/projects/1/kind","value":"internal"}])"},
};

class PolicyWidening : public ::testing::TestWithParam<Change> {};

TEST_P(PolicyWidening, IsToldAndItsOppositeNarrows) {
  const Change& change = GetParam();
  PolicyFiles files = ShippedFiles();
  auto before = DecodePolicy(files);
  files[change.file] = Json::parse(files.at(change.file)).patch(Json::parse(change.patch)).dump();
  auto after = DecodePolicy(files);
  ASSERT_TRUE(before.has_value());
  ASSERT_TRUE(after.has_value()) << after.error().ToString();
  const auto wider = DiffPolicies(*before, *after, kNow);
  ASSERT_FALSE(wider.empty());
  EXPECT_TRUE(wider.front().widens) << wider.front().sentence;
  const auto back = DiffPolicies(*after, *before, kNow);
  ASSERT_FALSE(back.empty());
  bool narrows = false;
  for (const PolicyChange& one : back) narrows = narrows || !one.widens;
  EXPECT_TRUE(narrows);
}

INSTANTIATE_TEST_SUITE_P(Changes, PolicyWidening, ::testing::ValuesIn(kWidenings));

// What an expired or future grant gives is nothing; that it may begin is told.
TEST(PolicyDiff, ExpiredMeansAbsent) {
  PolicyFiles files = ShippedFiles();
  auto with = [&](const char* dates) {
    PolicyFiles changed = files;
    Json document = Json::parse(files.at("permissions/ndoo.json"));
    Json grant = {
        {"project", "internal"}, {"reason", "why"}, {"approver", "lead"}, {"link", "https://x"}};
    grant.update(Json::parse(dates));
    document["grants"].push_back(grant);
    changed["permissions/ndoo.json"] = document.dump();
    return *DecodePolicy(changed);
  };
  const Policy before = *DecodePolicy(files);
  EXPECT_TRUE(
      DiffPolicies(before, with(R"({"date":"2020-01-01","expires":"2021-01-01"})"), kNow).empty());
  const auto coming = DiffPolicies(before, with(R"({"date":"2030-01-01"})"), kNow);
  ASSERT_EQ(coming.size(), 1u);
  EXPECT_TRUE(coming[0].widens);
}

// Two grants with a time between them: their first and last day say nothing of it.
TEST(PolicyDiff, AGapThatIsFilledIsAGain) {
  PolicyFiles files = ShippedFiles();
  auto with = [&](const char* first_until) {
    PolicyFiles changed = files;
    Json document = Json::parse(files.at("permissions/databases.json"));
    Json& grants = document["grants"];
    grants[1]["expires"] = first_until;
    Json second = grants[1];
    second.update({{"date", "2028-01-01"}, {"expires", "2028-12-31"}});
    grants.push_back(second);
    changed["permissions/databases.json"] = document.dump();
    return *DecodePolicy(changed);
  };
  const Policy gap = with("2026-12-31"), filled = with("2027-12-31");
  const auto wider = DiffPolicies(gap, filled, kNow);
  ASSERT_EQ(wider.size(), 1u);
  EXPECT_TRUE(wider[0].widens);
  EXPECT_EQ(wider[0].sentence,
            "POS-2025-9001 may reach the database default: from 2027-01-01 to 2027-12-31");
  const auto narrower = DiffPolicies(filled, gap, kNow);
  ASSERT_EQ(narrower.size(), 1u);
  EXPECT_FALSE(narrower[0].widens);
  EXPECT_TRUE(DiffPolicies(gap, gap, kNow).empty());
}

}  // namespace
}  // namespace carrel
