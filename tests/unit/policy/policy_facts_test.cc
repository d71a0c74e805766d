#include "policy/policy_facts.h"

#include <gtest/gtest.h>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::Join;
using testing_support::kNow;
using testing_support::ShippedFiles;
using testing_support::ShippedPolicy;

std::string Answer(const std::string& question) {
  auto lines = WhoCan(ShippedPolicy(), question, kNow);
  EXPECT_TRUE(lines.has_value()) << question;
  return lines ? Join(*lines) : "";
}

// "+fact" for what widens, "-fact" for what narrows, after one file's change.
std::string DiffAfter(const std::string& file, const char* patch) {
  PolicyFiles files = ShippedFiles();
  files[file] = Json::parse(files[file]).patch(Json::parse(patch)).dump();
  auto after = DecodePolicy(files);
  EXPECT_TRUE(after.has_value()) << after.error().ToString();
  std::string text;
  for (const PolicyChange& change : DiffPolicies(ShippedPolicy(), *after, kNow))
    text += (change.widens ? "+" : "-") + change.sentence + "\n";
  return text;
}

TEST(WhoCan, Answers) {
  EXPECT_NE(Answer("reach database default")
                .find("POS-2025-9001: the database default, with ehrql "
                      "generate-dataset, ehrql generate-measures ("),
            std::string::npos);
  EXPECT_NE(Answer("reach database")
                .find("internal: the database default, with ehrql "
                      "generate-dataset, ehrql generate-measures, sqlrunner"),
            std::string::npos);
  EXPECT_EQ(Answer("reach database other"), "");
  EXPECT_EQ(Answer("include type-one opt-outs").find("POS-2020-9004: "), 0u);
  EXPECT_NE(Answer("include T1OO").find("internal: with sqlrunner, when the query says so"),
            std::string::npos);
  EXPECT_EQ(Answer("use dataset waiting_list").find("POS-2025-9001: "), 0u);
  EXPECT_EQ(Answer("use dataset icnarc"), "");
  EXPECT_EQ(Answer("include ndoo"), "");
  EXPECT_EQ(Answer("use event-level-data"), "");
  EXPECT_EQ(Answer("read level 3"),
            "platform_developer: developer (roles.json#/roles/platform_developer)\n");
  EXPECT_NE(Answer("read level 4").find("output_checker"), std::string::npos);
  EXPECT_EQ(Answer("use sqlrunner").find("internal: "), 0u);
  EXPECT_EQ(Answer("use python").find("all projects"), 0u);
  EXPECT_NE(Answer("start research").find("researcher: all users who are not listed"),
            std::string::npos);
  EXPECT_EQ(Answer("start research").find("platform_tester"), std::string::npos);
  EXPECT_EQ(Answer("read the audit log").find("platform_developer"), 0u);
  for (const char* question : {"fly", "use datasets", "start", ""}) {
    auto other = WhoCan(ShippedPolicy(), question, kNow);
    ASSERT_FALSE(other.has_value()) << question;
    EXPECT_EQ(other.error().kind, ErrorKind::kBadInput);
  }
}

TEST(WhoCan, TakesNamesAsPeopleWriteThem) {
  for (auto [one, other] : {std::pair{"include type-one opt-outs", "Include type-one-opt-outs"},
                            {"use sqlrunner", "use sql-runner"},
                            {"use cohortextractor", "use the Cohort-Extractor"},
                            {"use event-level-data", "use event_level_data"},
                            {"use dataset waiting_list", "use dataset Waiting-List"},
                            {"read level 3", "read highly_sensitive"},
                            {"start short_data_report", "start short-data-report"},
                            {"read the audit log", "read audit  log"},
                            {"reach database default", "reach the database Default"}})
    EXPECT_EQ(Answer(one), Answer(other)) << other;
  EXPECT_NE(Answer("include type-one-opt-outs").find("with sqlrunner"), std::string::npos);
}

// Two spellings of a dataset are two permissions: none of those who have either is left out.
TEST(WhoCan, TellsOfEverySpellingOfADataset) {
  PolicyFiles files = ShippedFiles();
  const std::string file = "permissions/datasets.json";
  Json grants = Json::parse(files.at(file));
  Json grant = grants["grants"][0];
  for (auto [project, name] :
       {std::pair{"POS-2025-9001", "rare_set"}, {"POS-2025-9002", "Rare-Set"}}) {
    grant["project"] = project;
    grant["datasets"] = {name};
    grant["date"] = "2026-01-01";
    grant.erase("expires");
    grants["grants"].push_back(grant);
  }
  files[file] = grants.dump();
  auto policy = DecodePolicy(files);
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  auto lines = WhoCan(*policy, "use dataset rare_set", kNow);
  ASSERT_TRUE(lines.has_value());
  EXPECT_EQ(lines->size(), 2u) << testing_support::Join(*lines);
}

TEST(PolicyDiff, TheSamePolicyChangesNothing) {
  EXPECT_TRUE(DiffPolicies(ShippedPolicy(), ShippedPolicy(), kNow).empty());
  EXPECT_EQ(DiffAfter("tools.json", R"([{"op":"replace","path":"/tools/r/description",
                                         "value":"other words"}])"),
            "");
}

// Of two grants of the same, by id and by number, one goes: nobody loses anything, and who-can and
// the decision name the other.
TEST(PolicyDiff, OneOfTwoGrantsOfTheSame) {
  const std::string file = "permissions/ndoo.json";
  PolicyFiles files = ShippedFiles();
  Json list = Json::parse(files.at(file));
  Json grant = {{"project", "POS-2025-9001"},
                {"reason", "why"},
                {"approver", "lead"},
                {"date", "2026-01-01"},
                {"link", "https://x"}};
  list["grants"] = {grant, grant};
  list["grants"][1]["project"] = 9001;
  files[file] = list.dump();
  const Policy both = *DecodePolicy(files);
  list["grants"].erase(0);
  list["grants"][0]["reason"] = "the other";
  files[file] = list.dump();
  const Policy one = *DecodePolicy(files);
  EXPECT_TRUE(DiffPolicies(both, one, kNow).empty());
  EXPECT_EQ(Join(*WhoCan(one, "include ndoo", kNow)),
            "POS-2025-9001: the other (permissions/ndoo.json#/grants/0)\n");
  EXPECT_EQ(one.EhrqlPermissions("POS-2025-9001", kNow).count("include_ndoo"), 1u);
}

TEST(PolicyDiff, Grants) {
  EXPECT_EQ(
      DiffAfter("permissions/type-one-opt-outs.json", R"([{"op":"remove","path":"/grants/0"}])"),
      "-no longer: POS-2020-9004 has the permission include_t1oo\n");
  EXPECT_EQ(DiffAfter("permissions/type-one-opt-outs.json",
                      R"([{"op":"replace","path":"/grants/0/project","value":"internal"}])"),
            "+internal has the permission include_t1oo\n"
            "-no longer: POS-2020-9004 has the permission include_t1oo\n");
  EXPECT_EQ(DiffAfter("permissions/databases.json",
                      R"([{"op":"replace","path":"/grants/1/expires","value":"2029-01-31"}])"),
            "+POS-2025-9001 may reach the database default: until: 2029-01-31 instead of "
            "2028-01-31\n");
  EXPECT_EQ(
      DiffAfter("permissions/databases.json", R"([{"op":"remove","path":"/grants/1/expires"}])"),
      "+POS-2025-9001 may reach the database default: until: no end instead of 2028-01-31\n");
}

TEST(PolicyDiff, ARestrictionThatGoesIsAGain) {
  EXPECT_EQ(
      DiffAfter("tools.json", R"([{"op":"remove","path":"/tools/sqlrunner/requires_listing"}])"),
      "+no longer: sqlrunner is only for projects in permissions/sql-runner.json\n");
  EXPECT_EQ(
      DiffAfter("tools.json", R"([{"op":"remove","path":"/tools/ehrql/refused_arguments/0"}])"),
      "+no longer: jobs of ehrql may not give the argument --dsn\n");
  EXPECT_EQ(
      DiffAfter("limits.json", R"([{"op":"replace","path":"/maxima/memory","value":"256G"}])"),
      "+a job gets at most: memory: 274877906944 instead of 137438953472\n");
  EXPECT_EQ(DiffAfter("roles.json", R"([{"op":"remove","path":"/users/tester"}])"),
            "+no longer: the user tester has no other role than those listed\n"
            "-no longer: the user tester has the role platform_tester\n");
}

}  // namespace
}  // namespace carrel
