// A job of `carrel run` that is granted a Microsoft SQL Server: FreeTDS inside, and the test
// server.
#include <gmock/gmock.h>

#include "support/agent.h"
#include "support/client_image.h"
#include "support/tds_server.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(GatewayMssql, AJobsStatementsAndNothingOfTheRealPassword) {
  Study study;
  const std::string root = study.path() + "/rootfs";
  AddPrograms(root, {"/usr/bin/tsql"});
  auto converters =
      RunTool({"sh", "-c",
               "cd /usr/lib/*/gconv; cp -r --parents -t \"$0\" \"$PWD\"/gconv-modules* "
               "\"$PWD\"/ISO8859-1.so \"$PWD\"/UTF-16.so",
               root});
  ASSERT_EQ(converters.exit_code, 0) << converters.errors;
  WriteFile(root + "/etc/freetds.conf", "[global]\n tds version = 7.4\n client charset = UTF-8\n");
  ImportRoot(study, "dbprobe:v2");
  AllowVersion(study, "v2");
  TdsServer server("real_user", kRealPassword, study.path() + "/server.log");
  WriteFile(study.path() + "/credentials", "real_user:" + std::string(kRealPassword), 0400);
  study.config()["databases"]["default"] = {
      {"kind", "mssql"},
      {"host", "127.0.0.1"},
      {"port", server.Port()},
      {"database", "records"},
      {"tls", {{"mode", "off"}}},
      {"temporary_database", "scratch"},
      {"credentials", {{"file", study.path() + "/credentials"}}}};
  study.WriteConfig();
  // The policy is a checkout that was changed since.
  const std::string policies = study.path() + "/policies";
  study.Git({"init", "--quiet", "."}, policies);
  study.Git({"add", "--all"}, policies);
  study.Git({"commit", "--quiet", "-m", "policy"}, policies);
  const std::string policy_commit = study.Git({"rev-parse", "HEAD"}, policies).substr(0, 40);
  WriteFile(policies + "/NOTES.md", "changed");
  Json job = study.Job(
      "mkdir -p output; url=${DATABASE_URL#mssql://}; login=${url%@*}; "
      "ask() { printf \"$1\\ngo\\nexit\\n\" | FREETDSCONF=/etc/freetds.conf tsql -H 127.0.0.1 "
      "-p 1433 -U ${login%:*} -P \"$2\" -D records; }; "
      "{ echo $DATABASE_URL $TEMP_DATABASE_NAME; ask 'rows 3' ${login#*:}; "
      "ask 'error 4711' ${login#*:}; ask 'rows 4' wrong; ask sleep ${login#*:} & sleep 2; } "
      "> output/out.csv 2>&1; true");
  job["image"] = "dbprobe:v2";
  job["allow_database_access"] = true;
  // Whole, by the agent's verbs, each a process of its own.
  const VerbRun run = Agent(study).Drive(job);
  ASSERT_EQ(run.state(), "finalized") << run.errors << run.json.dump(2);
  const std::string output = ReadFile(study.level3("output/out.csv")).value_or("");
  EXPECT_THAT(output, AllOf(HasSubstr("@127.0.0.1:1433/records scratch\n"), HasSubstr("row 2"),
                            HasSubstr("an error of the test"), HasSubstr("Login failed"),
                            Not(HasSubstr(kRealPassword))));
  const std::string audit =
      study.Carrel({"audit", "query", job["id"], "--json", "--kind", "record"}).output;
  EXPECT_THAT(audit, AllOf(HasSubstr("\"text\":\"rows 3"), HasSubstr("\"rows\":3"),
                           HasSubstr("\"error\":\"4711\""), HasSubstr("wrong credentials"),
                           HasSubstr("gateway-cancel")));
  EXPECT_THAT(server.Log(), AllOf(HasSubstr("\"user\": \"real_user\""),
                                  HasSubstr("\"attention\": true"), Not(HasSubstr("rows 4"))));
  const std::string published = ReadFile(study.state() + "/public/log.jsonl").value_or("");
  EXPECT_THAT(published, HasSubstr("\"statements\":3"));
  EXPECT_THAT(published,
              HasSubstr("\"policy_commit\":\"" + policy_commit + "\",\"policy_changed\""));
  auto found = RunTool({"grep", "-r", "-a", "-l", "--exclude-dir=bpf", "--", kRealPassword,
                        study.state(), study.high(), study.medium()});
  EXPECT_EQ(found.exit_code, 1) << found.output << found.errors;
}

}  // namespace
}  // namespace carrel::testing_support
