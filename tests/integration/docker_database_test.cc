// Containers of an unmodified agent that are given the network of a database.
#include <gmock/gmock.h>

#include "support/client_image.h"
#include "support/docker_front.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DockerDatabase : public DockerFront {
 protected:
  void SetUp() override {
    DockerFront::SetUp();
    AddPrograms(study_.path() + "/rootfs", {std::string(kPostgresBin) + "psql"});
    ImportRoot(study_, "dbprobe:v2");
    AllowVersion(study_, "v2");
    study_.config()["databases"]["default"] = {
        {"kind", "postgresql"},
        {"host", "127.0.0.1"},
        {"port", server_.port()},
        {"database", "records"},
        {"tls", {{"mode", "off"}}},
        {"temporary_database", "scratch"},
        {"max_jobs", 2},
        {"credentials", {{"file", server_.CredentialsFile()}}}};
    study_.config()["docker"]["networks"] = {{"jobrunner-db", "default"}};
    study_.config()["docker"]["user"] = "developer";
    study_.WriteConfig();
  }

  // What the agent adds for a job that may reach a database, and its own access to it.
  const std::vector<std::string> network_ = {"--network", "jobrunner-db",  "--dns",
                                             "192.0.2.0", "--add-host",    "db.example:192.0.2.7",
                                             "--label",   "workspace=demo"};
  const std::map<std::string, std::string> environment_ = {
      {"DATABASE_URL",
       "postgresql://reader:" + std::string(kRealPassword) + "@db.example:5432/records"},
      {"TEMP_DATABASE_NAME", "the_agents"},
      {"OPENSAFELY_BACKEND", "test"}};

  Json PublicRecordOf(const std::string& job) {
    Json found = Json::object();
    const std::string text = ReadFile(study_.state() + "/public/log.jsonl").value_or("");
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      Json record = Json::parse(text.substr(at, end - at));
      if (record.value("job", "") == job) found = std::move(record);
    }
    return found;
  }
  void ExpectPasswordNowhere() {
    for (const std::string& place : {study_.state(), volumes()}) {
      auto found =
          RunTool({"grep", "-r", "-a", "-l", "--exclude-dir=bpf", "--", kRealPassword, place});
      EXPECT_EQ(found.output, "");
      EXPECT_EQ(found.exit_code, 1) << found.errors;
    }
  }

  // What will be possible later leaves nothing: no container that the agent would take for a job
  // that ran, and no record each second.
  void ExpectAskedAgain(const std::string& name) {
    EXPECT_EQ(Docker({"ps", "--all", "--quiet", "--filter", "name=" + name}).output, "");
    EXPECT_EQ(PublicRecordOf(name), Json::object());
    EXPECT_NE(study_.Carrel({"audit", "verify", name}).exit_code, 0);
  }

  // The cases; they share a server and a host, which take their time to make.
  void TheAgentsCallReachesTheDatabaseThroughTheGateway();
  void AKilledContainersStatementIsCancelled();
  void ThePolicyDecides();
  void WhatHasNoPlaceAsksAgain();
  void ATaskCountsAsOfTheConfiguredWorkspace();

  Postgres server_;
};

void DockerDatabase::TheAgentsCallReachesTheDatabaseThroughTheGateway() {
  const auto started =
      RunJob("os-job-d1",
             "psql -XAt \"$DATABASE_URL\" -c \"select current_user, 'seen'\"; "
             "echo $DATABASE_URL $TEMP_DATABASE_NAME $OPENSAFELY_BACKEND $HOME; env",
             environment_, network_, "dbprobe:v2");
  ASSERT_EQ(started.exit_code, 0) << started.errors;
  ASSERT_TRUE(Ended("os-job-d1"));
  const std::string logs = Docker({"logs", "os-job-d1"}).output;
  EXPECT_THAT(logs, AllOf(HasSubstr("reader|seen\npostgresql://job_"),
                          HasSubstr("@127.0.0.1:5432/records scratch test /tmp\n"),
                          Not(HasSubstr(kRealPassword)), Not(HasSubstr("the_agents"))));
  EXPECT_EQ(Inspect("os-job-d1", "State.ExitCode"), 0);
  const std::string shown = Docker({"inspect", "os-job-d1"}).output;
  EXPECT_THAT(shown, AllOf(HasSubstr("jobrunner-db"), Not(HasSubstr("job_"))));
  const std::string audit =
      study_.Carrel({"audit", "query", "os-job-d1", "--json", "--kind", "all"}).output;
  EXPECT_THAT(audit, AllOf(HasSubstr("select current_user, 'seen'"), HasSubstr("gateway-end"),
                           HasSubstr("does not know its commit")));
  EXPECT_EQ(study_.Carrel({"audit", "verify", "os-job-d1"}).exit_code, 0);
  const Json record = PublicRecordOf("os-job-d1");
  EXPECT_EQ(record.value("database", ""), "default");
  EXPECT_EQ(record.value("statements", 0), 1);
  EXPECT_EQ(record.value("tool", ""), "dbprobe");
  EXPECT_EQ(record.value("project", ""), "internal");
  EXPECT_EQ(record.value("outcome", ""), "succeeded");
  EXPECT_EQ(record.value("includes_opted_out", true), false);
  EXPECT_EQ(record.value("seal", "").size(), 64u);
  EXPECT_FALSE(record.contains("commit"));
  ExpectPasswordNowhere();
}

void DockerDatabase::AKilledContainersStatementIsCancelled() {
  ASSERT_EQ(RunJob("os-job-d2", "psql -X \"$DATABASE_URL\" -c 'select pg_sleep(600)'", environment_,
                   network_, "dbprobe:v2")
                .exit_code,
            0);
  EXPECT_TRUE(server_.Comes(1, "active"));
  EXPECT_EQ(Docker({"container", "kill", "os-job-d2"}).exit_code, 0);
  EXPECT_TRUE(server_.Comes(0, "%"));
  EXPECT_EQ(PublicRecordOf("os-job-d2").value("outcome", ""), "killed");
  // One without a network, in the public record all the same.
  ASSERT_EQ(RunJob("os-job-d3", "psql 'postgresql://a:b@127.0.0.1:5432/records'; exit 3", {},
                   {"--network", "none"}, "dbprobe:v2")
                .exit_code,
            0);
  ASSERT_TRUE(Ended("os-job-d3"));
  const Json record = PublicRecordOf("os-job-d3");
  EXPECT_EQ(record.value("outcome", ""), "failed");
  EXPECT_FALSE(record.contains("database"));
  EXPECT_EQ(record.value("policy", "").size(), 64u);
  // One that cannot be published has not succeeded, and is not left "running".
  const std::string log = study_.state() + "/public/log.jsonl";
  std::filesystem::rename(log, log + ".away");
  ASSERT_EQ(RunJob("os-job-d4", "true").exit_code, 0);
  ASSERT_TRUE(Ended("os-job-d4"));
  EXPECT_EQ(Inspect("os-job-d4", "State.ExitCode"), 70);
  EXPECT_THAT(Inspect("os-job-d4", "State.Error").dump(), HasSubstr("the public record"));
  std::filesystem::rename(log + ".away", log);
}

void DockerDatabase::ThePolicyDecides() {
  struct Case {
    std::string why;
    std::vector<std::string> options;
    std::string image = "dbprobe:v2";
    std::map<std::string, std::string> environment;
  };
  const std::string mount = "type=bind,source=" + volumes() + ",target=/";
  const std::vector<Case> cases = {
      {"belongs to no project", {"--network", "jobrunner-db"}},
      {"no grant in force", {"--network", "jobrunner-db", "--label", "workspace=referral-service"}},
      {"does not reach one", network_, "python:v2"},
      {"network other not found", {"--network", "other", "--label", "workspace=demo"}},
      {"network host not found", {"--network", "host", "--label", "workspace=demo"}},
      {"runs its image's own entry point",
       {"--network", "jobrunner-db", "--label", "workspace=demo", "--entrypoint", "sh"}},
      {"one mount, at /workspace",
       {"--network", "jobrunner-db", "--label", "workspace=demo", "--mount", mount + "usr/lib"}},
      {"names another database",
       network_,
       "dbprobe:v2",
       {{"DATABASE_URL", "postgresql://a:b@db.example/full"}}},
      {"LD_PRELOAD is not for a job to set", network_, "dbprobe:v2", {{"LD_PRELOAD", "/x"}}}};
  int number = 0;
  for (const Case& each : cases) {
    const std::string name = "os-job-r" + std::to_string(++number);
    const auto result = RunJob(name, "true", each.environment, each.options, each.image);
    EXPECT_EQ(result.exit_code, 125) << each.why;
    EXPECT_THAT(result.errors, HasSubstr(each.why));
    EXPECT_EQ(PublicRecordOf(name).value("outcome", ""), "refused") << each.why;
    EXPECT_EQ(study_.Carrel({"audit", "verify", name}).exit_code, 0) << each.why;
    // The agent finds a job that has ended, and the reason in its log.
    EXPECT_EQ(Inspect(name, "State.Running"), false);
    EXPECT_EQ(Inspect(name, "State.ExitCode"), 128);
    EXPECT_THAT(Inspect(name, "State.FinishedAt").get<std::string>(), Not(HasSubstr("0001-")));
    EXPECT_THAT(Docker({"logs", "--timestamps", name}).errors, HasSubstr(each.why));
  }
  EXPECT_EQ(Docker({"network", "ls"}).exit_code, 1);
  study_.config()["databases"]["default"]["maintenance"] = "refuse";
  study_.WriteConfig();
  EXPECT_THAT(RunJob("os-job-m", "true", environment_, network_, "dbprobe:v2").errors,
              HasSubstr("in maintenance"));
  ExpectAskedAgain("os-job-m");
  study_.config()["databases"]["default"].erase("maintenance");
  study_.WriteConfig();
}

// With `max_jobs` of 2.
void DockerDatabase::WhatHasNoPlaceAsksAgain() {
  const std::string script = "psql -X \"$DATABASE_URL\" -c 'select pg_sleep(600)'";
  for (const char* name : {"os-job-p1", "os-job-p2"})
    ASSERT_EQ(RunJob(name, script, environment_, network_, "dbprobe:v2").exit_code, 0);
  const auto third = RunJob("os-job-p3", "true", environment_, network_, "dbprobe:v2");
  EXPECT_EQ(third.exit_code, 125);
  EXPECT_THAT(third.errors, HasSubstr("places of the database default are taken"));
  ExpectAskedAgain("os-job-p3");
  EXPECT_EQ(Docker({"container", "kill", "os-job-p1"}).exit_code, 0);
  EXPECT_EQ(RunJob("os-job-p3", "true", environment_, network_, "dbprobe:v2").exit_code, 0);
  EXPECT_EQ(Docker({"container", "kill", "os-job-p2"}).exit_code, 0);
  EXPECT_TRUE(Ended("os-job-p3"));
  EXPECT_EQ(Inspect("os-job-p3", "State.ExitCode"), 0);
}

// The agent's question to a database, outside of any job.
void DockerDatabase::ATaskCountsAsOfTheConfiguredWorkspace() {
  const std::vector<std::string> call = {
      "run",        "--rm",         "-e",    "DATABASE_URL",
      "--network",  "jobrunner-db", "--dns", "192.0.2.0",
      "dbprobe:v2", "sh",           "-c",    "psql -XAt \"$DATABASE_URL\" -c 'select 42'"};
  EXPECT_THAT(Docker(call, environment_).errors, HasSubstr("belongs to no project"));
  study_.config()["docker"]["task_workspace"] = "demo";
  study_.WriteConfig();
  const auto result = Docker(call, environment_);
  EXPECT_EQ(result.output, "42\n") << result.errors;
  EXPECT_EQ(result.exit_code, 0);
  ExpectPasswordNowhere();
}

TEST_F(DockerDatabase, ANetworkIsTheGatewayToItsDatabase) {
  TheAgentsCallReachesTheDatabaseThroughTheGateway();
  AKilledContainersStatementIsCancelled();
  ThePolicyDecides();
  WhatHasNoPlaceAsksAgain();
  ATaskCountsAsOfTheConfiguredWorkspace();
}

}  // namespace
}  // namespace carrel::testing_support
