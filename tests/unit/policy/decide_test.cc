#include "policy/decide.h"

#include <gtest/gtest.h>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::Join;
using testing_support::kNow;
using testing_support::SampleHost;
using testing_support::SampleRequest;
using testing_support::ShippedPolicy;

class DecideTest : public ::testing::Test {
 protected:
  Decision Run() { return Decide(request, policy, host, now); }
  void ExpectAllowed() {
    Decision decision = Run();
    EXPECT_TRUE(decision.allowed) << Join(decision.reasons);
  }
  void ExpectRefused(const std::string& part) {
    Decision decision = Run();
    EXPECT_FALSE(decision.allowed);
    EXPECT_NE(Join(decision.reasons).find(part), std::string::npos) << Join(decision.reasons);
    EXPECT_FALSE(decision.database.has_value());
    EXPECT_TRUE(decision.levels.empty());
    auto required = RequireAllowed(decision);
    ASSERT_FALSE(required.has_value());
    EXPECT_EQ(required.error().kind, ErrorKind::kRefused);
  }
  JobRequest SqlRunner() {
    JobRequest sql = SampleRequest();
    sql.workspace = "demo";
    sql.user = "demo";
    sql.image = "sqlrunner:v1";
    sql.args = {"analysis/q.sql", "--output", "output/q.csv"};
    return sql;
  }

  Policy policy = ShippedPolicy();
  HostConfig host = SampleHost();
  JobRequest request = SampleRequest();
  int64_t now = kNow;
};

TEST_F(DecideTest, AGrantedDatabaseJobGetsWhatThePolicyNames) {
  request.env = {{"OPENSAFELY_BACKEND", "tpp"}};
  Decision decision = Run();
  ASSERT_TRUE(decision.allowed) << Join(decision.reasons);
  EXPECT_EQ(decision.tool, "ehrql");
  EXPECT_EQ(decision.command, "generate-dataset");
  EXPECT_EQ(decision.project, "POS-2025-9001");
  EXPECT_EQ(decision.project_kind, "research");
  EXPECT_EQ(decision.role, "researcher");
  ASSERT_TRUE(decision.database.has_value());
  EXPECT_EQ(decision.database->path, "/srv/db.sqlite");
  EXPECT_EQ(decision.opt_outs, "excluded");
  EXPECT_FALSE(decision.include_type_one_opt_outs);
  EXPECT_EQ(decision.ehrql_permissions, (std::vector<std::string>{"appointments", "waiting_list"}));
  EXPECT_EQ(decision.environment.at("EHRQL_PERMISSIONS"), R"(["appointments","waiting_list"])");
  EXPECT_EQ(decision.environment.at("EHRQL_ISOLATE_USER_CODE"), "always");
  EXPECT_EQ(decision.environment.at("OPENSAFELY_BACKEND"), "tpp");
  EXPECT_EQ(decision.seccomp_profile, "base");
  EXPECT_EQ(decision.decided_by.at("database"), "permissions/databases.json#/grants/1");
  EXPECT_EQ(decision.policy_digest, policy.digest);
  EXPECT_EQ(ToJson(decision).dump().find("/srv/db.sqlite"), std::string::npos);
}

TEST_F(DecideTest, LessIsHonoured) {
  request.allow_database_access = false;
  EXPECT_FALSE(Run().database.has_value());
  EXPECT_EQ(Run().opt_outs, "no database");
  EXPECT_FALSE(Run().environment.contains("EHRQL_PERMISSIONS"));
  ExpectAllowed();
  request.allow_database_access = true;
  request.env["EHRQL_PERMISSIONS"] = R"(["appointments"])";
  EXPECT_EQ(Run().ehrql_permissions, std::vector<std::string>{"appointments"});
  request.env["EHRQL_PERMISSIONS"] = "[]";
  EXPECT_TRUE(Run().ehrql_permissions.empty());
  EXPECT_EQ(Run().environment.at("EHRQL_PERMISSIONS"), "[]");
}

TEST_F(DecideTest, MoreIsRefused) {
  request.env["EHRQL_PERMISSIONS"] = R"(["include_t1oo"])";
  ExpectRefused("asks for \"include_t1oo\"");
  request.env["EHRQL_PERMISSIONS"] = "include_t1oo";
  ExpectRefused("EHRQL_PERMISSIONS: ");
  request.env.clear();
  request.database_name = "full";
  ExpectRefused("no grant in force names the database \"full\"");
}

TEST_F(DecideTest, OptedOutPatientsOnlyForListedProjects) {
  request.workspace = "covid-legacy";
  Decision decision = Run();
  ASSERT_TRUE(decision.allowed) << Join(decision.reasons);
  EXPECT_TRUE(decision.include_type_one_opt_outs);
  EXPECT_EQ(decision.opt_outs, "included");
  EXPECT_EQ(decision.decided_by.at("opt_outs"), "permissions/type-one-opt-outs.json#/grants/0");
  request.env["EHRQL_PERMISSIONS"] = "[]";
  EXPECT_FALSE(Run().include_type_one_opt_outs);
}

TEST_F(DecideTest, ExpiredMeansAbsent) {
  request.workspace = "covid-legacy";
  now = 1'806'537'599ll * 1'000'000'000;  // 2027-03-31T23:59:59Z, the last day
  EXPECT_TRUE(Run().include_type_one_opt_outs);
  now += 1'000'000'000;
  ExpectRefused("no grant in force names the database");
  now = 1'588'291'199ll * 1'000'000'000;  // the second before 2020-05-01
  ExpectRefused("no grant in force names the database");
}

TEST_F(DecideTest, OnlyTheCommandsThatThePolicyNamesReachADatabase) {
  request.args = {"assure", "x.py"};
  ExpectRefused("ehrql assure does not reach one");
  for (const char* first : {"", "--", "--help", "generate-data", "Generate-Dataset", "@file",
                            "generate-dataset ", "--x=generate-dataset"}) {
    request.args = {first, "generate-dataset", "x.py"};
    ExpectRefused("is not a command of ehrql");
  }
  request.args = {};
  ExpectRefused("is not a command of ehrql");
}

TEST_F(DecideTest, ArgumentsThatChangeTheCommandAreRefused) {
  // Backend and query engine exclude the patients who opted out: a job cannot bring its own.
  for (const char* argument : {"--dsn", "--dsn=sqlite:///x", "--ds", "--d", "@args", "--backend",
                               "--query-engine=analysis.engine"}) {
    request.args = {"generate-dataset", "x.py", argument};
    ExpectRefused("is not for a job to give");
  }
}

TEST_F(DecideTest, ReusableActionsNeverReachADatabase) {
  request.repo_url = "https://github.com/opensafely/reusable";
  ExpectRefused("a reusable action");
  request.allow_database_access = false;
  ExpectAllowed();
  request = SampleRequest();
  request.commit = std::string(40, 'b');
  ExpectRefused("a reusable action");
}

TEST_F(DecideTest, AnalysisToolsNeverReachADatabase) {
  for (const char* image : {"python:v2", "r:v1", "stata-mp:latest", "jupyter:latest"}) {
    request.image = image;
    request.allow_database_access = true;
    ExpectRefused("does not reach one");
    request.allow_database_access = false;
    ExpectAllowed();
  }
}

TEST_F(DecideTest, LoopbackSocketsAndCopyUpByToolOnly) {
  request.allow_database_access = false;
  std::map<std::string, std::string> profiles = {{"python:v2", "loopback"},
                                                 {"r:v2", "loopback"},
                                                 {"jupyter:v1", "loopback"},
                                                 {"stata-mp:v1", "base"},
                                                 {"ehrql:v1", "base"}};
  for (const auto& [image, profile] : profiles) {
    request.image = image;
    EXPECT_EQ(Run().seccomp_profile, profile) << image;
    EXPECT_EQ(Run().copy_up_always, image == "stata-mp:v1") << image;
  }
}

TEST_F(DecideTest, SqlRunnerForListedProjectsOnlyAndWithItsPreflight) {
  request = SqlRunner();
  Decision decision = Run();
  ASSERT_TRUE(decision.allowed) << Join(decision.reasons);
  EXPECT_TRUE(decision.database.has_value());
  EXPECT_EQ(decision.opt_outs, "declared by the query");
  EXPECT_FALSE(decision.include_type_one_opt_outs);
  EXPECT_FALSE(decision.environment.contains("EHRQL_PERMISSIONS"));
  ASSERT_EQ(decision.preflight.size(), 1u);
  EXPECT_EQ(decision.preflight[0].check, "sql-declaration");
  EXPECT_EQ(decision.preflight[0].file, "analysis/q.sql");
  EXPECT_EQ(decision.decided_by.at("listing"), "permissions/sql-runner.json#/grants/0");
  request.workspace = "asthma-reviews";
  ExpectRefused("sqlrunner is for projects listed in permissions/sql-runner.json");
}

TEST_F(DecideTest, SqlRunnerFileMustBeUnambiguous) {
  request = SqlRunner();
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{},
                                             {"--output", "x.csv"},
                                             {"a.sql", "b.sql"},
                                             {"--", "a.sql"},
                                             {"--out", "x.csv", "a.sql"},
                                             {"a.sql", "--output"},
                                             {"../a.sql"},
                                             {"/a.sql"},
                                             {"-x", "a.sql"},
                                             {"a.sql", "--verbose"}}) {
    request.args = args;
    ExpectRefused("the file for the check sql-declaration");
  }
  request.args = {"--output=x.csv", "a.sql", "--log-file", "l.txt"};
  ExpectAllowed();
}

TEST_F(DecideTest, CohortExtractorForListedProjectsOnly) {
  request.image = "cohortextractor:latest";
  request.args = {"generate_cohort"};
  ExpectRefused("permissions/cohort-extractor.json");
  request.workspace = "covid-legacy";
  Decision decision = Run();
  ASSERT_TRUE(decision.allowed) << Join(decision.reasons);
  EXPECT_TRUE(decision.include_type_one_opt_outs);
}

TEST_F(DecideTest, ProjectsAndWorkspaces) {
  request.project = "9001";
  ExpectAllowed();
  request.project = "POS-2025-9001";
  ExpectAllowed();
  request.project = "pos-2025-9001";
  ExpectRefused("is not in projects.json");
  request.project = "POS-2025-9002";
  ExpectRefused("belongs to the project POS-2025-9001, not to POS-2025-9002");
  request.project = "";
  request.workspace = "nobody-knows";
  ExpectRefused("belongs to no project");
  request.project = "POS-2025-9001";
  ExpectRefused("is not one of the project POS-2025-9001");
  policy.projects["POS-2025-9001"].accepts_unlisted_workspaces = true;
  ExpectAllowed();
}

TEST_F(DecideTest, ImagesAndVersions) {
  for (const char* image :
       {"evil.example/ehrql:v1", "ehrql2:v1", "eh-rql:v1", "ehrql", "Ehrql:v1"}) {
    request.image = image;
    ExpectRefused("image");
  }
  request.image = "ehrql:v99";
  ExpectRefused("version v99 of ehrql is not listed");
  request.image = "registry.example/opensafely-core/ehrql:v1";
  ExpectAllowed();
}

TEST_F(DecideTest, APinnedDigestIsTheOnlyImage) {
  const std::string pinned = "sha256:" + std::string(64, '1');
  policy.tools["ehrql"].digests["v1"] = pinned;
  EXPECT_EQ(Run().image_digest, pinned);
  request.image_sha = "sha256:" + std::string(64, '2');
  ExpectRefused("the policy pins " + pinned);
}

TEST_F(DecideTest, LevelsByToolAndCommand) {
  request.levels = {Level::kModeratelySensitive};
  ExpectRefused("outputs of ehrql generate-dataset may not be moderately_sensitive");
  request.args[0] = "generate-measures";
  ExpectAllowed();
}

TEST_F(DecideTest, Level4RulesUpToThePolicy) {
  request.level4_max_csv_rows = 100;
  request.level4_file_types = {".csv"};
  EXPECT_EQ(Run().level4.max_csv_rows, 100);
  EXPECT_EQ(Run().level4.file_types, std::vector<std::string>{".csv"});
  request.level4_max_csv_rows = 5001;
  ExpectRefused("larger level 4 files");
  request.level4_max_csv_rows = 0;
  request.level4_max_filesize = 16777217;
  ExpectRefused("larger level 4 files");
  request.level4_max_filesize = 0;
  request.level4_file_types = {".zip"};
  ExpectRefused("level 4 files of type .zip");
}

TEST_F(DecideTest, LimitsUpToTheSmallerMaximum) {
  request.memory_bytes = 8ull << 30;
  request.cpu_milli = 500;
  EXPECT_EQ(Run().limits.memory_bytes, 8ull << 30);
  EXPECT_EQ(Run().limits.cpu_milli, 500u);
  EXPECT_GT(Run().limits.pids, 0u);
  EXPECT_GT(Run().limits.scratch_inodes, 0u);
  request.memory_bytes = 129ull << 30;
  ExpectRefused("asks for 129 GiB of memory; the most is 128 GiB");
  request.memory_bytes = 8ull << 30;
  host.maximum_limits["memory"] = 4ull << 30;
  ExpectRefused("of memory; the most is 4.0 GiB");
  request.memory_bytes = 0;
  host.maximum_limits["memory"] = 1ull << 30;
  EXPECT_EQ(Run().limits.memory_bytes, 1ull << 30);
}

TEST_F(DecideTest, VariablesThatAreNotTheJobs) {
  for (const char* name : {"DATABASE_URL", "LD_PRELOAD", "TEMP_DATABASE_NAME",
                           "EHRQL_ISOLATE_USER_CODE", "HOME", "CARREL_X", "A=B"}) {
    request.env = {{name, "x"}};
    ExpectRefused(std::string("the variable ") + name);
  }
  request.env = {{"OPENSAFELY_BACKEND", "emis"}};
  host.backend = "tpp";
  ExpectRefused("the job is for the backend \"emis\"");
}

TEST_F(DecideTest, DatabasesOfTheHost) {
  policy.permissions["databases"][1].items = {"full"};
  request.database_name = "full";
  // A kind that no gateway knows, whatever else is built in.
  host.databases["full"].kind = "oracle";
  ExpectRefused("is of kind oracle, which the gateway of this carrel does not serve");
  policy.permissions["databases"][1].items = {"elsewhere"};
  request.database_name = "elsewhere";
  ExpectRefused("this host has no database \"elsewhere\"");
}

TEST_F(DecideTest, ARelayNeedsAGrantOfItsOwn) {
  host.databases["default"].kind = "relay";
  ExpectRefused("relayed unread, which no grant in force names for POS-2025-9001");
  Grant grant = policy.permissions["databases"][1];
  grant.entry = "permissions/plain-relay.json#/grants/0";
  policy.permissions["plain-relay"] = {grant};
  EXPECT_EQ(Join(Run().reasons).find("relayed unread, which no grant"), std::string::npos);
  policy.permissions["plain-relay"][0].items = {"other"};
  ExpectRefused("relayed unread, which no grant in force names for POS-2025-9001");
}

TEST_F(DecideTest, AGrantedDatabaseBringsItsVariables) {
  host.databases["default"].temporary_database = "temp_tables";
  host.databases["default"].environment = {{"EMIS_ORGANISATION_HASH", "abc"}};
  EXPECT_EQ(Run().environment.at("TEMP_DATABASE_NAME"), "temp_tables");
  EXPECT_EQ(Run().environment.at("EMIS_ORGANISATION_HASH"), "abc");
  EXPECT_EQ(Run().database->name, "default");
  request.allow_database_access = false;
  EXPECT_FALSE(Run().environment.contains("TEMP_DATABASE_NAME"));
  EXPECT_FALSE(Run().environment.contains("EMIS_ORGANISATION_HASH"));
}

TEST_F(DecideTest, InMaintenanceJobsWaitOrAreRefusedForNow) {
  EXPECT_FALSE(Run().database->wait);
  host.databases["default"].maintenance = Maintenance::kWait;
  EXPECT_TRUE(Run().database->wait);
  EXPECT_NE(Join(Run().reasons).find("the job waits for its end"), std::string::npos);
  host.databases["default"].maintenance = Maintenance::kRefuse;
  ExpectRefused("the database \"default\" is in maintenance");
  EXPECT_TRUE(Run().try_again);
  EXPECT_EQ(RequireAllowed(Run()).error().code, EAGAIN);
  request.image = "ehrql:v99";  // refused whatever the database does
  EXPECT_FALSE(Run().try_again);
  request = SampleRequest();
  request.allow_database_access = false;
  ExpectAllowed();
}

TEST_F(DecideTest, RepositoriesOfTheHost) {
  request.repo_url = request.study_repo_url = "https://github.com/opensafely-evil/x";
  ExpectRefused("is not one that this host allows");
}

TEST_F(DecideTest, AllReasonsAtOnce) {
  request.image = "python:v2";
  request.levels = {};
  request.env = {{"LD_PRELOAD", "x"}, {"EHRQL_PERMISSIONS", "[\"icnarc\"]"}};
  request.memory_bytes = 1ull << 50;
  EXPECT_EQ(Run().reasons.size(), 4u) << Join(Run().reasons);
}

// role x project kind: who may start what (the seeds' "Who").
TEST_F(DecideTest, RolesAndKindsOfProject) {
  const std::map<std::string, std::string> workspace_of = {
      {"internal", "demo"},
      {"research", "asthma-reviews"},
      {"audit", "repeat-prescribing"},
      {"short_data_report", "sdr-blood-pressure"},
      {"service_evaluation", "referral-service"}};
  const std::map<std::string, std::string> user_of = {{"platform_tester", "tester"},
                                                      {"dataset_developer", "dataset-developer"},
                                                      {"platform_developer", "developer"},
                                                      {"researcher", "anybody"},
                                                      {"", ""}};
  request.allow_database_access = false;
  for (const auto& [kind, workspace] : workspace_of) {
    for (const auto& [role, user] : user_of) {
      request.workspace = workspace;
      request.user = user;
      const bool internal = kind == "internal";
      const bool expected = role == "platform_developer" ||
                            (role == "researcher" || role.empty() ? !internal : internal);
      EXPECT_EQ(Run().allowed, expected) << role << " on " << kind << ": " << Join(Run().reasons);
    }
  }
  policy.unlisted_users_are = "";
  request.user = "anybody";
  request.workspace = "asthma-reviews";
  ExpectRefused("the user \"anybody\" (no role) may not start jobs");
}

}  // namespace
}  // namespace carrel
