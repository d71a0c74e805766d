// The whole policy, as a table: role x kind of project x tool x database x opt-outs, against the
// shipped files. What is expected is written out here from the two policy documents, not computed
// with the code under test: `Refusals` names each rule of the documents once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::Join;
using testing_support::kNow;
using testing_support::SampleHost;
using testing_support::SampleRequest;
using testing_support::ShippedPolicy;

struct RoleRow {
  const char* role;
  const char* user;
  std::set<std::string> starts;  // Data Access Policy, "Who"
};

const std::set<std::string> kApproved = {"research", "service_evaluation", "audit",
                                         "short_data_report"};
const std::set<std::string> kAllKinds = {"research", "service_evaluation", "audit",
                                         "short_data_report", "internal"};

const RoleRow kRoles[] = {
    {"researcher", "anybody", kApproved},
    {"co_pilot", "a-co-pilot", {}},
    {"output_checker", "a-checker", {}},
    {"collaborator", "a-collaborator", {}},
    // Technical support runs approved projects' pipelines without being named on them.
    {"platform_developer", "developer", kAllKinds},
    {"platform_tester", "tester", {"internal"}},
    {"dataset_developer", "dataset-developer", {"internal"}},
};

struct ProjectRow {
  const char* kind;
  const char* workspace;
  bool granted_database;
  bool listed_opt_outs;  // includes opted-out patients
  bool listed_cohort_extractor;
  bool listed_sql_runner;
};

const ProjectRow kProjects[] = {
    {"internal", "demo", true, false, false, true},
    {"research", "asthma-reviews", true, false, false, false},
    {"audit", "repeat-prescribing", true, false, false, false},
    {"short_data_report", "sdr-blood-pressure", true, false, false, false},
    {"service_evaluation", "referral-service", false, false, false, false},
    {"research", "covid-legacy", true, true, true, false},  // from before June 2023
};

struct ToolRow {
  const char* image;
  const char* command;
  enum Database { kNever, kTold, kDeclares } database;
  enum Listing { kAll, kCohortExtractor, kSqlRunner } listing;
};

const ToolRow kTools[] = {
    {"ehrql:v1", "generate-dataset", ToolRow::kTold, ToolRow::kAll},
    {"ehrql:v1", "generate-measures", ToolRow::kTold, ToolRow::kAll},
    {"ehrql:v1", "assure", ToolRow::kNever, ToolRow::kAll},
    {"cohortextractor:v1", "generate_cohort", ToolRow::kTold, ToolRow::kCohortExtractor},
    {"cohortextractor:v1", "generate_measures", ToolRow::kNever, ToolRow::kCohortExtractor},
    {"sqlrunner:v1", "analysis/q.sql", ToolRow::kDeclares, ToolRow::kSqlRunner},
    {"python:v2", "python", ToolRow::kNever, ToolRow::kAll},
    {"r:v2", "analysis.R", ToolRow::kNever, ToolRow::kAll},
    {"stata-mp:v1", "analysis.do", ToolRow::kNever, ToolRow::kAll},
    {"jupyter:v1", "jupyter", ToolRow::kNever, ToolRow::kAll},
};

enum class OptOuts { kNotSaid, kExcluded, kIncluded };  // the job's EHRQL_PERMISSIONS

struct Case {
  const RoleRow& role;
  const ProjectRow& project;
  const ToolRow& tool;
  bool asks_for_database;
  OptOuts asks;
};

// The part of each reason that must be there; none: the job may run.
std::vector<std::string> Refusals(const Case& c) {
  std::vector<std::string> reasons;
  if (!c.role.starts.contains(c.project.kind))
    reasons.push_back("may not start jobs of " + std::string(c.project.kind) + " projects");
  if ((c.tool.listing == ToolRow::kCohortExtractor && !c.project.listed_cohort_extractor))
    reasons.push_back("is for projects listed in permissions/cohort-extractor.json");
  if (c.tool.listing == ToolRow::kSqlRunner && !c.project.listed_sql_runner)
    reasons.push_back("is for projects listed in permissions/sql-runner.json");
  if (c.asks_for_database && c.tool.database == ToolRow::kNever)
    reasons.push_back("does not reach one");
  else if (c.asks_for_database && !c.project.granted_database)
    reasons.push_back("no grant in force names the database \"default\"");
  if (c.asks == OptOuts::kIncluded && !c.project.listed_opt_outs)
    reasons.push_back("EHRQL_PERMISSIONS asks for \"include_t1oo\"");
  return reasons;
}

std::string ExpectedOptOuts(const Case& c) {
  if (!c.asks_for_database) return "no database";
  if (c.tool.database == ToolRow::kDeclares) return "declared by the query";
  const bool included = c.project.listed_opt_outs && c.asks != OptOuts::kExcluded;
  return included ? "included" : "excluded";
}

JobRequest RequestFor(const Case& c) {
  JobRequest request = SampleRequest();
  request.user = c.role.user;
  request.workspace = c.project.workspace;
  request.image = c.tool.image;
  request.args = {c.tool.command};
  request.levels = {};
  request.allow_database_access = c.asks_for_database;
  if (c.asks == OptOuts::kExcluded) request.env["EHRQL_PERMISSIONS"] = "[]";
  if (c.asks == OptOuts::kIncluded) request.env["EHRQL_PERMISSIONS"] = R"(["include_t1oo"])";
  return request;
}

void Check(const Case& c, const Policy& policy, const HostConfig& host) {
  SCOPED_TRACE(std::string(c.role.role) + ", " + c.project.workspace + ", " + c.tool.image + " " +
               c.tool.command + (c.asks_for_database ? ", database" : "") + ", opt-outs " +
               std::to_string(static_cast<int>(c.asks)));
  const Decision decision = Decide(RequestFor(c), policy, host, kNow);
  const auto refusals = Refusals(c);
  EXPECT_EQ(decision.allowed, refusals.empty()) << Join(decision.reasons);
  if (!refusals.empty()) {
    EXPECT_EQ(decision.reasons.size(), refusals.size()) << Join(decision.reasons);
    for (const std::string& reason : refusals)
      EXPECT_THAT(decision.reasons, testing::Contains(testing::HasSubstr(reason)));
    EXPECT_FALSE(decision.database.has_value());
    EXPECT_FALSE(decision.include_type_one_opt_outs);
    return;
  }
  EXPECT_EQ(decision.role, c.role.role);
  EXPECT_EQ(decision.project_kind, c.project.kind);
  EXPECT_EQ(decision.database.has_value(), c.asks_for_database);
  EXPECT_EQ(decision.opt_outs, ExpectedOptOuts(c));
  EXPECT_EQ(decision.include_type_one_opt_outs, ExpectedOptOuts(c) == "included");
  EXPECT_EQ(decision.preflight.size(), c.tool.database == ToolRow::kDeclares ? 1u : 0u);
  const bool told = c.asks_for_database && c.tool.database == ToolRow::kTold;
  ASSERT_EQ(decision.environment.contains("EHRQL_PERMISSIONS"), told);
  if (!told) return;
  EXPECT_EQ(decision.environment.at("EHRQL_ISOLATE_USER_CODE"), "always");
  EXPECT_EQ(decision.environment.at("EHRQL_PERMISSIONS").find("include_t1oo") != std::string::npos,
            decision.include_type_one_opt_outs);
}

TEST(PolicyTable, EveryRoleProjectToolDatabaseAndOptOut) {
  Policy policy = ShippedPolicy();
  for (const char* role : {"co_pilot", "output_checker", "collaborator"})
    for (const RoleRow& row : kRoles)
      if (row.role == std::string(role)) policy.users[row.user] = {role};
  const HostConfig host = SampleHost();
  int cases = 0;
  for (const RoleRow& role : kRoles)
    for (const ProjectRow& project : kProjects)
      for (const ToolRow& tool : kTools)
        for (bool database : {false, true})
          for (OptOuts asks : {OptOuts::kNotSaid, OptOuts::kExcluded, OptOuts::kIncluded}) {
            Check({role, project, tool, database, asks}, policy, host);
            ++cases;
          }
  EXPECT_EQ(cases, 7 * 6 * 10 * 2 * 3);
}

// Who reads what: levels and logs by role.
TEST(PolicyTable, WhoReadsWhat) {
  const Policy policy = ShippedPolicy();
  const std::set<Level> level4 = {Level::kModeratelySensitive};
  const std::set<Level> both = {Level::kHighlySensitive, Level::kModeratelySensitive};
  const std::map<std::string, std::pair<std::set<Level>, std::set<std::string>>> expected = {
      {"researcher", {level4, {"action"}}},
      {"co_pilot", {level4, {"action"}}},
      {"output_checker", {level4, {"action"}}},
      {"collaborator", {{}, {}}},  // released results only
      {"platform_developer", {both, {"action", "audit"}}},
      {"platform_tester", {level4, {"action"}}},
      {"dataset_developer", {level4, {"action"}}}};
  ASSERT_EQ(policy.roles.size(), expected.size());
  for (const auto& [role, reads] : expected) {
    EXPECT_EQ(policy.roles.at(role).reads, reads.first) << role;
    EXPECT_EQ(policy.roles.at(role).reads_logs, reads.second) << role;
  }
}

}  // namespace
}  // namespace carrel
