// `carrel run` from a definition to results: files by level, records, the result and the audit log.
#include <gmock/gmock.h>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct stat Stat(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}

void ExpectOwnership(const std::string& path, uid_t owner, gid_t group, mode_t mode) {
  const struct stat info = Stat(path);
  EXPECT_EQ(info.st_uid, owner) << path;
  EXPECT_EQ(info.st_gid, group) << path;
  EXPECT_EQ(info.st_mode & 07777, mode) << path;
}

bool Exists(const std::string& path) {
  return std::filesystem::exists(std::filesystem::symlink_status(path));
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The action's own status, or that its outputs are missing, is what counts.
TEST(RunResults, ADirectoryWhereAFileIsExpected) {
  Study study;
  const Json spec = {{"output/table.csv", "moderately_sensitive"}};
  for (const auto& [end, status] : {std::pair{"exit 5", "5"}, {"exit 0", "0"}}) {
    const JobRun run = study.Run(study.Job(
        std::string("mkdir -p output/table.csv/inner; echo x > output/table.csv/x; ") + end, spec));
    EXPECT_EQ(run.exit_code, 1) << run.errors;
    EXPECT_EQ(run.results()["exit_code"].dump(), status) << run.output;
    EXPECT_EQ(run.results()["unmatched_patterns"], Json::array({"output/table.csv"}));
    EXPECT_FALSE(Exists(study.level4("output"))) << end;
    EXPECT_FALSE(Exists(study.level3("output"))) << end;
  }
  // One of the workspace's, where a failed action's file would go.
  std::filesystem::create_directories(study.level4("z.csv"));
  const JobRun run = study.Run(
      study.Job("mkdir -p new; echo a,b > new/a.csv; echo a,b > z.csv; exit 5",
                {{"**/*.csv", "moderately_sensitive"}, {"z.csv", "moderately_sensitive"}}));
  EXPECT_EQ(run.exit_code, 1) << run.errors << run.output;
  EXPECT_EQ(run.results()["exit_code"], 5);
  EXPECT_THAT(run.results()["skipped"].dump(), HasSubstr("z.csv: the workspace has a directory"));
  EXPECT_FALSE(Exists(study.level4("new")));
  EXPECT_FALSE(Exists(study.level3("new")));
  const JobRun succeeded =
      study.Run(study.Job("echo a,b > z.csv", {{"z.csv", "moderately_sensitive"}}));
  EXPECT_EQ(succeeded.exit_code, 3) << succeeded.output;
  EXPECT_THAT(succeeded.errors, HasSubstr("z.csv: the workspace has a directory"));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunResults, OutputsByLevelWhateverTheActionChose) {
  Study study;
  study.config()["levels"] = {
      {"highly_sensitive",
       {{"owner", 50000}, {"group", 50001}, {"directory_mode", "0750"}, {"file_mode", "0640"}}},
      {"moderately_sensitive",
       {{"owner", 50002}, {"group", 50003}, {"directory_mode", "2770"}, {"file_mode", "0660"}}}};
  study.WriteConfig();
  study.before_exec = [] { ::umask(077); };  // nor what carrel's caller chose
  Json job = study.Job(
      "umask 077; mkdir -p output; printf 'patient_id,x\\n1,2\\n' > output/rows.csv;"
      "printf 'k,n\\na,10\\n' > output/table.csv; chmod 777 output/table.csv;"
      "echo 1 > output/none.csv; chmod 000 output/none.csv; printf 'patient_id,n\\n1,2\\n' "
      "> output/bad.csv; chmod 700 output; echo to-stdout; echo to-stderr >&2",
      {{"output/rows.csv", "highly_sensitive"},
       {"output/none.csv", "highly_sensitive"},
       {"output/t*.csv", "moderately_sensitive"},
       {"output/bad.csv", "moderately_sensitive"}});
  JobRun run = study.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;

  for (const char* name : {"rows.csv", "table.csv", "none.csv", "bad.csv"})
    ExpectOwnership(study.level3(std::string("output/") + name), 50000, 50001, 0640);
  ExpectOwnership(study.level3("output"), 50000, 50001, 0750);
  ExpectOwnership(study.level4("output/table.csv"), 50002, 50003, 0660);
  ExpectOwnership(study.level4("output"), 50002, 50003, 02770);
  EXPECT_EQ(ReadFile(study.level3("output/rows.csv")).value_or(""), "patient_id,x\n1,2\n");
  EXPECT_EQ(ReadFile(study.level4("output/table.csv")).value_or(""), "k,n\na,10\n");
  for (const char* name : {"rows.csv", "none.csv", "bad.csv"})
    EXPECT_FALSE(Exists(study.level4(std::string("output/") + name))) << name;
  EXPECT_THAT(ReadFile(study.level4("output/bad.csv.txt")).value_or(""), HasSubstr("patient"));
  ExpectOwnership(study.level4("output/bad.csv.txt"), 50002, 50003, 0660);
  ExpectOwnership(study.level4("metadata/manifest.json"), 50002, 50003, 0660);
  ExpectOwnership(study.level4("metadata/act.log"), 50002, 50003, 0660);
  ExpectOwnership(study.level3("metadata/act.log"), 50000, 50001, 0640);
  const std::string logs = study.LogDirectory(job["id"]);
  ExpectOwnership(logs + "/logs.txt", 50000, 50001, 0640);
  ExpectOwnership(logs + "/metadata.json", 50000, 50001, 0640);
}

TEST(RunResults, RecordsAreCompleteAndTheAuditLogIsSealed) {
  Study study;
  Json job = study.Job(
      "mkdir -p output; printf 'k,n\\na,10\\n' > output/t.csv; echo to-stdout;"
      "(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done);"
      "echo to-stderr >&2; printf 'patient_id\\n1\\n' > output/u.csv",
      {{"output/*.csv", "moderately_sensitive"}});
  const std::string id = job["id"];
  JobRun run = study.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;

  // stdout is one JSON document and nothing else; progress is on stderr.
  ASSERT_TRUE(run.json.is_object()) << run.output;
  EXPECT_EQ(run.json["id"], id);
  EXPECT_EQ(run.json["state"], "finalized");
  EXPECT_GT(run.json["timestamp_ns"].get<int64_t>(), 1'700'000'000'000'000'000);
  EXPECT_EQ(run.results()["exit_code"], 0);
  EXPECT_EQ(run.results()["outputs"]["output/t.csv"], "moderately_sensitive");
  EXPECT_TRUE(run.results()["level4_excluded_files"].contains("output/u.csv"));
  EXPECT_THAT(run.errors, AllOf(HasSubstr("[1/12]"), HasSubstr("[12/12]")));
  EXPECT_THAT(run.output, Not(HasSubstr("to-stdout")));

  const Json metadata = study.Metadata(id);
  for (const char* member : {"outputs",
                             "unmatched_patterns",
                             "unmatched_outputs",
                             "status_message",
                             "hint",
                             "timestamp_ns",
                             "job_definition_id",
                             "job_definition_rap_id",
                             "task_id",
                             "created_at",
                             "user",
                             "completed_at",
                             "docker_image_id",
                             "expected_image_id",
                             "exit_code",
                             "oom_killed",
                             "container_metadata",
                             "commit",
                             "database_name",
                             "action_version",
                             "action_revision",
                             "action_created",
                             "base_revision",
                             "base_created",
                             "level4_excluded_files",
                             "cancelled",
                             "error",
                             "job_metrics",
                             "carrel"})
    EXPECT_TRUE(metadata.contains(member)) << member;
  EXPECT_EQ(metadata["exit_code"], "0");
  EXPECT_EQ(metadata["commit"], study.commit());
  EXPECT_EQ(metadata["carrel"]["audit"]["seal"], run.results()["audit"]["seal"]);

  const Json entry = study.Manifest()["outputs"]["output/t.csv"];
  EXPECT_EQ(entry["level"], "moderately_sensitive");
  EXPECT_EQ(entry["job_id"], id);
  EXPECT_EQ(entry["commit"], study.commit());
  EXPECT_EQ(entry["content_hash"], Sha256Hex("k,n\na,10\n"));
  EXPECT_EQ(study.Manifest()["outputs"]["output/u.csv"]["excluded"], true);

  const std::string log = ReadFile(study.LogDirectory(id) + "/logs.txt").value_or("");
  EXPECT_THAT(log, AllOf(HasSubstr("to-stdout"), HasSubstr("to-stderr"),
                         HasSubstr("=============JOB SUMMARY=============")));
  EXPECT_EQ(ReadFile(study.level4("metadata/act.log")).value_or(""), log);

  auto verified = study.Carrel({"audit", "verify", id});
  EXPECT_EQ(verified.exit_code, 0) << verified.output << verified.errors;
  auto shown = study.Carrel({"audit", "show", id, "--json"});
  for (const char* kind : {"decision", "image", "code", "inputs", "start", "outputs", "end"})
    EXPECT_THAT(shown.output, HasSubstr("\"" + std::string(kind) + "\""));
  EXPECT_GT(run.results()["audit"]["events"].get<int>(), 10);
  // The time of tasks that have ended is counted too, where the cgroup does not have it.
  EXPECT_GT(run.results()["metrics"]["cpu_usec"].get<int>(), 1000);
  EXPECT_EQ(run.results()["audit"]["lost"], 0);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

// mission.md, mistakes 1, 7 and 10.
TEST(RunResults, OnlyRegularFilesOfTheActionAreTaken) {
  Study study;
  JobRun run = study.Run(study.Job(
      "mkdir -p output; cd output; ln -s /proc/self/environ env.csv; ln -s /etc/passwd p.csv;"
      "ln -s ../code.txt code.csv; ln -s / dir; mkfifo f.csv; echo a > ok.csv;"
      "touch -d @0 ok.csv",
      {{"output/*.csv", "highly_sensitive"}, {"output/dir/etc/*.csv", "highly_sensitive"}}));
  EXPECT_EQ(run.exit_code, 1) << run.errors << run.output;  // output/dir/etc/* has none
  EXPECT_EQ(run.results()["outputs"], Json({{"output/ok.csv", "highly_sensitive"}}));
  EXPECT_EQ(run.results()["skipped"].size(), 5u) << run.output;
  for (const char* name : {"env.csv", "p.csv", "code.csv", "f.csv", "dir"})
    EXPECT_FALSE(Exists(study.level3(std::string("output/") + name))) << name;
  EXPECT_EQ(ReadFile(study.level3("output/ok.csv")).value_or(""), "a\n");
}

TEST(RunResults, TheLogCannotBeForgedAndHoldsNoControlCharacters) {
  Study study;
  Json job = study.Job(
      "mkdir -p output; echo a > output/x.csv; echo =============JOB SUMMARY=============;"
      "echo 'status: forged'; printf '\\033]0;title\\007\\033[31mred\\302\\233\\r\\n' >&2;"
      "touch \"output/$(printf 'n\\033m').txt\" \"output/$(printf '\\377').txt\"");
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output;
  const std::string log = ReadFile(study.LogDirectory(job["id"]) + "/logs.txt").value_or("");
  EXPECT_EQ(Count(log, "=============JOB SUMMARY============="), 1u) << log;
  EXPECT_LT(log.find("forged"), log.find("=============JOB SUMMARY============="));
  for (const std::string& text : {log, run.output, run.errors}) {
    EXPECT_EQ(text.find('\033'), std::string::npos);
    EXPECT_EQ(text.find('\007'), std::string::npos);
    EXPECT_EQ(text.find('\r'), std::string::npos);
    EXPECT_EQ(text.find("\xc2\x9b"), std::string::npos);
  }
  EXPECT_THAT(log, HasSubstr("red"));
}

TEST(RunResults, FailedActionsTellWhy) {
  Study study;
  JobRun failed = study.Run(study.Job("mkdir -p output; echo a > output/x.csv; exit 7"));
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_EQ(failed.results()["exit_code"], 7);

  JobRun missing = study.Run(study.Job("mkdir -p output; echo a > output/typo.cvs"));
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.results()["unmatched_patterns"], Json({"output/*.csv"}));
  EXPECT_EQ(missing.results()["unmatched_outputs"], Json({"output/typo.cvs"}));
  EXPECT_THAT(missing.results()["hint"].get<std::string>(),
              AllOf(HasSubstr("output/*.csv"), HasSubstr("output/typo.cvs")));
  EXPECT_THAT(missing.status(), Not(HasSubstr("output/")));  // leaves the secure environment

  Json job = study.Job("");
  job["args"] = {"no-such-program"};
  JobRun absent = study.Run(job);
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_EQ(absent.results()["exit_code"], 127);
  EXPECT_THAT(absent.status(), HasSubstr("could not be started"));
  EXPECT_THAT(absent.results()["hint"].get<std::string>(), HasSubstr("ENOENT"));

  job = study.Job("kill -SEGV $$");
  EXPECT_EQ(study.Run(job).results()["exit_code"], 128 + SIGSEGV);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunResults, RefusedJobsAreRecordedAndRunNothing) {
  Study study;
  auto expect_refused = [&](const char* what, const std::function<void(Json&)>& edit) {
    SCOPED_TRACE(what);
    Json job = study.Job("mkdir -p output; echo a > output/x.csv");
    edit(job);
    JobRun run = study.Run(job);
    EXPECT_EQ(run.exit_code, 3) << run.errors;
    EXPECT_EQ(run.json["state"], "refused");
    EXPECT_NE(run.error(), "");
    auto shown = study.Carrel({"audit", "show", job["id"], "--json"});
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_THAT(shown.output, HasSubstr("\"refused\":true"));
    EXPECT_EQ(study.Carrel({"audit", "verify", job["id"]}).exit_code, 0);
    EXPECT_FALSE(Exists(study.high()));
    EXPECT_FALSE(Exists(study.medium()));
    EXPECT_THAT(SettledLeftovers(study), IsEmpty());
  };
  expect_refused("unknown tool", [](Json& job) { job["image"] = "perl:v5"; });
  expect_refused("unlisted version", [](Json& job) { job["image"] = "python:v99"; });
  expect_refused("database for a tool without",
                 [](Json& job) { job["allow_database_access"] = true; });
  expect_refused("workspace of no project", [](Json& job) { job["workspace"] = "unknown"; });
  expect_refused("user without the role", [](Json& job) { job["user"] = "somebody"; });
  expect_refused("too much memory", [](Json& job) { job["memory_limit"] = "999G"; });
  expect_refused("repository", [](Json& job) { job["repo_url"] = "https://example.org/x/y"; });
  expect_refused("reserved variable", [](Json& job) { job["env"] = {{"LD_PRELOAD", "/x"}}; });
  expect_refused("permission", [](Json& job) {
    job["env"] = {{"EHRQL_PERMISSIONS", "[\"include_t1oo\"]"}};
  });
}

TEST(RunResults, OnlyGrantedJobsSeeTheDatabase) {
  Study study;
  const std::string file = study.path() + "/records.db";
  WriteFile(file, "the records\n");
  study.config()["databases"] = {{"default", {{"kind", "sqlite"}, {"path", file}}}};
  study.WriteConfig();
  study.SetEnvironment({"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DATABASE_URL=postgres://u:hunter2@h",
                        "AGENT_TOKEN=hunter2"});
  const std::string script =
      "mkdir -p output; env > output/env.csv; ls -R /database > output/ls.csv 2>&1;"
      "cat /database/default.sqlite > output/db.csv; { echo x > /database/default.sqlite; } 2>&1;"
      "{ echo x > /database/new; } 2>&1; rm -f /database/default.sqlite 2>&1; true";
  Json job = study.Job(script);
  job["image"] = "dbprobe:v1";
  job["allow_database_access"] = true;
  JobRun run = study.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_EQ(ReadFile(study.level3("output/db.csv")).value_or(""), "the records\n");
  EXPECT_EQ(ReadFile(file).value_or(""), "the records\n");
  std::string environment = ReadFile(study.level3("output/env.csv")).value_or("");
  EXPECT_THAT(environment, HasSubstr("DATABASE_URL=sqlite:///database/default.sqlite\n"));
  EXPECT_THAT(environment, AllOf(HasSubstr("HOME=/tmp\n"), HasSubstr("FROM_IMAGE=yes\n")));
  EXPECT_THAT(environment, Not(HasSubstr("hunter2")));

  job = study.Job(script);
  job["image"] = "dbprobe:v1";  // may have it, and asks for less
  run = study.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_EQ(ReadFile(study.level3("output/db.csv")).value_or("?"), "");
  EXPECT_THAT(ReadFile(study.level3("output/ls.csv")).value_or(""), HasSubstr("No such file"));
  environment = ReadFile(study.level3("output/env.csv")).value_or("");
  EXPECT_THAT(environment, AllOf(Not(HasSubstr("DATABASE_URL")), Not(HasSubstr("hunter2"))));

  // A file that the action could not read, or that is not one, is said before anything runs.
  ::chmod(file.c_str(), 0600);
  job = study.Job(script);
  job["image"] = "dbprobe:v1";
  job["allow_database_access"] = true;
  run = study.Run(job);
  EXPECT_EQ(run.exit_code, 70);
  EXPECT_THAT(run.error(), HasSubstr("/databases/default/path"));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

// The newest transactions are in a log beside the file, which is not there inside.
TEST(RunResults, ADatabaseWithALogIsReadWhole) {
  Study study;
  const std::string file = study.path() + "/records.sqlite";
  const auto made = RunChecked(
      {"sqlite3", "-cmd", ".dbconfig no_ckpt_on_close on", file,
       "PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)"});
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  ASSERT_GT(ReadFile(file + "-wal").value_or("").size(), 0u);
  const std::string before = ReadFile(file).value_or("");
  study.config()["databases"] = {{"default", {{"kind", "sqlite"}, {"path", file}}}};
  study.WriteConfig();
  Json job = study.Job("mkdir -p output; cat /database/default.sqlite > output/copy.csv");
  job["image"] = "dbprobe:v1";
  job["allow_database_access"] = true;
  const JobRun run = study.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_EQ(RunChecked({"sqlite3", "-readonly", study.level3("output/copy.csv"),
                        "SELECT sum(x) FROM t; PRAGMA journal_mode"})
                .value_or(""),
            "6\ndelete\n");
  EXPECT_EQ(ReadFile(file).value_or(""), before);
  EXPECT_TRUE(std::filesystem::is_empty(study.state() + "/database-copies"));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

}  // namespace
}  // namespace carrel::testing_support
