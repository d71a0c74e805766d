// The job agent's verbs, driven as the agent drives them: a process for each call.
#include <gmock/gmock.h>

#include "support/agent.h"
#include "support/leftovers.h"
#include "support/schema.h"

namespace carrel::testing_support {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const char* const kQuick = "mkdir -p output; echo a > output/x.csv; echo done";
const char* const kLong = "echo started; sleep 1000";

// What the host has of jobs beside their records.
std::vector<std::string> JobLeftovers(const Study& study) {
  std::vector<std::string> found = SettledLeftovers(study);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(study.state() + "/jobs", ignored))
    found.push_back("job directory: " + entry.path().string());
  for (const auto& entry : std::filesystem::directory_iterator(study.state() + "/staging", ignored))
    found.push_back("staging mark: " + entry.path().string());
  for (const std::string& line : Listing(study.high()))
    if (line.find(".carrel-staging") != std::string::npos) found.push_back(line);
  for (const std::string& line : Listing(study.medium()))
    if (line.find(".carrel-staging") != std::string::npos) found.push_back(line);
  return found;
}

bool Started(const Study& study, const Json& job) {
  const std::string log = study.state() + "/jobs/" + job["id"].get<std::string>() + "/action.log";
  return ReadFile(log).value_or("").find("started") != std::string::npos;
}

void ExpectState(const VerbRun& run, const std::string& state, int exit_code = 0) {
  EXPECT_EQ(run.state(), state) << run.json.dump(2) << run.errors;
  EXPECT_EQ(run.exit_code, exit_code) << run.errors;
  static JsonSchema schema("answer.schema.json", "/runtime/agent/schemas/");
  EXPECT_EQ(schema.Problems(run.json), "") << run.json.dump(2);
}

TEST(Verbs, AJobFromPrepareToCleanup) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kQuick);
  ExpectState(agent.Call("status", job), "unknown");
  agent.Call("prepare", job);
  ExpectState(agent.Settle(job), "prepared");
  agent.Call("execute", job);
  VerbRun executed = agent.Settle(job);
  ExpectState(executed, "executed");
  EXPECT_EQ(executed.results()["exit_code"], 0);
  EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
  agent.Call("finalize", job);
  VerbRun finalized = agent.Settle(job);
  ExpectState(finalized, "finalized");
  EXPECT_EQ(finalized.results()["status_message"], "Completed successfully");
  EXPECT_EQ(ReadFile(study.level3("output/x.csv")).value_or(""), "a\n");
  EXPECT_EQ(study.Manifest()["outputs"].size(), 1u);
  EXPECT_EQ(study.Metadata("job1")["exit_code"], "0");
  EXPECT_EQ(study.Metadata("job1")["outputs"]["output/x.csv"], "highly_sensitive");
  EXPECT_THAT(ReadFile(study.LogDirectory("job1") + "/logs.txt").value_or(""), HasSubstr("done"));
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1"}).exit_code, 0);
  // Nothing that leaves the secure environment names an output.
  EXPECT_THAT(finalized.json.dump(), Not(HasSubstr("x.csv")));

  ExpectState(agent.Call("cleanup", job), "finalized");
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
  // The records stay, and with them the state; nothing begins again.
  for (const char* verb : {"status", "prepare", "execute", "finalize", "terminate", "cleanup"})
    ExpectState(agent.Call(verb, job), "finalized");
}

TEST(Verbs, EachIsIdempotentAndAnswersInTime) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kLong);
  auto twice = [&](const char* verb, std::vector<std::string> states) {
    for (int i = 0; i < 2; ++i) {
      VerbRun run = agent.Call(verb, job);
      EXPECT_THAT(states, ::testing::Contains(run.state())) << verb << run.json.dump(2);
      EXPECT_EQ(run.exit_code, 0) << verb << run.errors;
      // Half a second is a verb's own patience; the rest is this machine's.
      EXPECT_LT(run.milliseconds, 5000) << verb;
    }
  };
  twice("terminate", {"unknown"});
  twice("cleanup", {"unknown"});
  twice("prepare", {"preparing", "prepared"});
  ExpectState(agent.Settle(job), "prepared");
  twice("execute", {"executing"});
  ASSERT_TRUE(WaitFor([&] { return Started(study, job); }));
  twice("status", {"executing"});
  twice("prepare", {"executing"});
  // One action, whatever was called twice.
  EXPECT_EQ(agent.Call("finalize", job).exit_code, 2);
  twice("terminate", {"executing", "executed"});
  VerbRun ended = agent.Settle(job);
  ExpectState(ended, "executed");
  EXPECT_EQ(ended.results()["cancelled"], true);
  twice("execute", {"executed"});
  VerbRun first = agent.Call("finalize", job, {"--cancelled"});
  EXPECT_EQ(first.exit_code, 0) << first.errors;
  ExpectState(agent.Settle(job), "finalized");
  twice("finalize", {"finalized"});
  EXPECT_EQ(study.Metadata("job1")["cancelled"], true);
  EXPECT_THAT(ReadFile(study.LogDirectory("job1") + "/logs.txt").value_or(""),
              HasSubstr("started"));
  twice("cleanup", {"finalized"});
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

TEST(Verbs, CalledTwiceAtOnceTheyDoOneThing) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kQuick);
  for (const auto& [verb, after] : std::vector<std::pair<std::string, std::string>>{
           {"prepare", "prepared"}, {"execute", "executed"}, {"finalize", "finalized"}}) {
    std::vector<std::thread> calls;
    for (int i = 0; i < 4; ++i)
      calls.emplace_back(
          [&agent, &job, name = verb] { EXPECT_EQ(agent.Call(name, job).exit_code, 0) << name; });
    for (std::thread& call : calls) call.join();
    ExpectState(agent.Settle(job), after);
  }
  // One preparation, one run: one log, with one start in it.
  EXPECT_FALSE(std::filesystem::exists(study.state() + "/audit/job1.2.carrel-log"));
  auto shown = study.Carrel({"audit", "show", "job1", "--json"});
  EXPECT_EQ(LinesWith(shown.output, "\"record\":\"start\"").size(), 1u) << shown.output;
  agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

TEST(Verbs, RefusedAndBadJobsAreErrorsWithTheirStatus) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kQuick);
  job["image"] = "perl:v5";
  agent.Call("prepare", job);
  VerbRun refused = agent.Settle(job);
  ExpectState(refused, "error");
  EXPECT_EQ(refused.results()["kind"], "refused");
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1"}).exit_code, 0);
  ExpectState(agent.Call("cleanup", job), "unknown");

  job = study.Job(kQuick);
  job["commit"] = std::string(40, 'f');
  agent.Call("prepare", job);
  VerbRun bad = agent.Settle(job);
  ExpectState(bad, "error");
  EXPECT_EQ(bad.results()["kind"], "bad_input");
  agent.Call("finalize", job);
  ExpectState(agent.Settle(job), "finalized");
  EXPECT_THAT(study.Metadata("job2")["error"].dump(), HasSubstr("commit"));
  ExpectState(agent.Call("cleanup", job), "finalized");

  job = study.Job(kQuick);
  ExpectState(agent.Call("execute", job), "error", 2);
  ExpectState(agent.Call("finalize", job), "error", 2);
  job["colour"] = "blue";
  ExpectState(agent.Call("prepare", job), "error", 2);
  job.erase("colour");
  for (const char* id : {"../x", "a/b", "", ".x"}) {
    Json odd = job;
    odd["id"] = id;
    WriteFile(study.path() + "/odd.json", odd.dump());
    auto answer =
        RunCarrel({"prepare", study.path() + "/odd.json", "--config", study.config_path()});
    EXPECT_EQ(answer.exit_code, 2) << id << answer.output;
  }
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

TEST(Verbs, FinalizeCancelledFromEveryState) {
  Study study;
  Agent agent(study);
  for (const std::string state : {"unknown", "prepared", "executed"}) {
    SCOPED_TRACE(state);
    Json job = study.Job(kQuick);
    const std::string id = job["id"];
    if (state != "unknown") agent.Call("prepare", job), agent.Settle(job);
    if (state == "executed") agent.Call("execute", job), agent.Settle(job);
    EXPECT_EQ(agent.Call("finalize", job, {"--cancelled"}).exit_code, 0);
    VerbRun run = agent.Settle(job);
    ExpectState(run, "finalized");
    EXPECT_EQ(run.results()["cancelled"], true);
    EXPECT_EQ(study.Metadata(id)["cancelled"], true);
    EXPECT_EQ(study.Metadata(id)["outputs"], Json::object());
    EXPECT_TRUE(std::filesystem::exists(study.LogDirectory(id) + "/logs.txt"));
    EXPECT_EQ(study.Carrel({"audit", "verify", id}).exit_code, 0);
    agent.Call("cleanup", job);
  }
  EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

// The step records as a restart of the host leaves them.
TEST(Verbs, AfterARestartOfTheHostTheAgentCanGoOn) {
  Study study;
  Agent agent(study);
  auto restart = [&](const Json& job, const char* state) {
    study.EditJson("state/jobs/" + job["id"].get<std::string>() + "/step.json", [&](Json& step) {
      step["boot_id"] = "00000000-0000-0000-0000-000000000000";
      if (state != nullptr) step["state"] = state;
    });
  };
  Json prepared = study.Job(kQuick);
  agent.Call("prepare", prepared);
  agent.Settle(prepared);
  restart(prepared, nullptr);
  ExpectState(agent.Call("status", prepared), "unknown");
  ExpectState(agent.Drive(prepared), "finalized");

  Json running = study.Job(kQuick);
  agent.Call("prepare", running);
  agent.Settle(running);
  restart(running, "executing");
  VerbRun lost = agent.Call("status", running);
  ExpectState(lost, "error");
  EXPECT_EQ(lost.results()["lost"], "restart");
  EXPECT_THAT(lost.results()["error"].dump(), HasSubstr("restart of its host"));
  agent.Call("finalize", running);
  VerbRun finalized = agent.Settle(running);
  ExpectState(finalized, "finalized");
  EXPECT_THAT(finalized.results()["status_message"].dump(), HasSubstr("did not fail"));
  EXPECT_EQ(finalized.results()["succeeded"], false);

  Json executed = study.Job(kQuick);
  agent.Call("prepare", executed);
  agent.Settle(executed);
  agent.Call("execute", executed);
  ExpectState(agent.Settle(executed), "executed");
  restart(executed, nullptr);
  ExpectState(agent.Drive(executed), "finalized");
  EXPECT_EQ(study.Metadata("job3")["exit_code"], "0");
  for (const Json& job : {prepared, running, executed}) agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

TEST(Verbs, ASupervisorIsSmallAndItsDeathEndsTheAction) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kLong);
  agent.Call("prepare", job);
  agent.Settle(job);
  agent.Call("execute", job);
  ASSERT_TRUE(WaitFor([&] { return Started(study, job); }));
  const pid_t pid = std::stoi(ReadFile(study.state() + "/jobs/job1/supervisor").value_or("0"));
  ASSERT_GT(pid, 1);
  uint64_t anonymous = 0;
  for (const std::string& line :
       LinesWith(ReadFile("/proc/" + std::to_string(pid) + "/status").value_or(""), "RssAnon:"))
    anonymous = std::stoull(line.substr(8));
  EXPECT_GT(anonymous, 0u);
  EXPECT_LE(anonymous, 8192u) << "KiB";
  RecordProperty("rss_anon_kib", static_cast<int>(anonymous));
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_TRUE(WaitFor([&] { return Processes(study).empty(); }));
  VerbRun lost = agent.Call("status", job);
  ExpectState(lost, "error");
  EXPECT_EQ(lost.results()["lost"], "supervisor");
  agent.Call("finalize", job);
  ExpectState(agent.Settle(job), "finalized");
  agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

// Another task prepares the job at once. A process that is in no hurry to die stands for the
// action.
TEST(Verbs, WhatIsLeftOfALostJobDiesBeforeItsLogIsSealed) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kLong);
  job["task_id"] = "first";
  agent.Call("prepare", job);
  agent.Settle(job);
  agent.Call("execute", job);
  ASSERT_TRUE(WaitFor([&] { return Started(study, job); }));
  const pid_t left = ::fork();
  if (left == 0) {
    ::pause();
    ::_exit(0);
  }
  for (const std::string& parent : study.CgroupParents())
    for (const auto& entry : std::filesystem::directory_iterator(parent))
      if (entry.is_directory()) WriteFile(entry.path() / "cgroup.procs", std::to_string(left));
  const pid_t pid = std::stoi(ReadFile(study.state() + "/jobs/job1/supervisor").value_or("0"));
  ASSERT_GT(pid, 1);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(WaitFor([&] { return agent.Call("status", job).state() == "error"; }));
  job["task_id"] = "second";
  agent.Call("prepare", job);
  ExpectState(agent.Settle(job), "prepared");
  ASSERT_EQ(::waitpid(left, nullptr, 0), left);
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1"}).exit_code, 0);
  const auto ends = study.Carrel(
      {"audit", "query", "job1", "--kind", "exit", "--json", "--pid", std::to_string(left)});
  EXPECT_THAT(ends.output, HasSubstr("\"exit\""));
  agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

// mission.md, mistake 12.
TEST(Verbs, FinalizeOfTwoJobsOfOneWorkspaceLosesNoEntry) {
  Study study;
  Agent agent(study);
  std::vector<Json> jobs;
  for (int i = 0; i < 6; ++i) {
    const std::string name = "output/" + std::to_string(i) + ".csv";
    Json job = study.Job("mkdir -p output; echo a > " + name, {{name, "highly_sensitive"}});
    job["action"] = "act" + std::to_string(i);
    agent.Call("prepare", job);
    jobs.push_back(job);
  }
  for (const Json& job : jobs) agent.Settle(job), agent.Call("execute", job);
  for (const Json& job : jobs) ExpectState(agent.Settle(job), "executed");
  std::vector<std::thread> calls;
  for (const Json& job : jobs) calls.emplace_back([&] { agent.Call("finalize", job); });
  for (std::thread& call : calls) call.join();
  for (const Json& job : jobs) ExpectState(agent.Settle(job), "finalized");
  EXPECT_EQ(study.Manifest()["outputs"].size(), 6u) << study.Manifest().dump(2);
}

Json Asked(Study& study, std::vector<std::string> args, const char* schema) {
  args.insert(args.end(), {"--config", study.config_path()});
  auto run = RunCarrel(args);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  const Json json = Json::parse(run.output, nullptr, false);
  EXPECT_EQ(JsonSchema(schema, "/runtime/agent/schemas/").Problems(json), "") << run.output;
  return json;
}

TEST(Verbs, ListLogsStatsAndKill) {
  Study study;
  Agent agent(study);
  Json job = study.Job("echo started; while true; do cat code.txt > /dev/null; done");
  agent.Call("prepare", job);
  agent.Settle(job);
  EXPECT_EQ(Asked(study, {"stats"}, "stats.schema.json")["jobs"], Json::array());
  agent.Call("execute", job);
  ASSERT_TRUE(WaitFor([&] { return Started(study, job); }));
  const Json list = Asked(study, {"list"}, "list.schema.json")["jobs"];
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["id"], "job1");
  EXPECT_EQ(list[0]["state"], "executing");
  EXPECT_EQ(list[0]["action"], "act");
  Json stats;
  EXPECT_TRUE(WaitFor([&] {
    stats = Asked(study, {"stats"}, "stats.schema.json")["jobs"];
    return stats.size() == 1 && stats[0]["syscalls_per_second"].get<int64_t>() > 0;
  })) << stats.dump(2);
  EXPECT_GT(stats[0]["memory_bytes"].get<int64_t>(), 0);
  EXPECT_GT(stats[0]["tasks"].get<int64_t>(), 0);

  // Follows until the action's end, which is a kill here.
  SubprocessResult followed;
  std::thread follower([&] {
    followed = RunCarrel({"logs", "--follow", "job1", "--config", study.config_path()});
  });
  auto mistyped = RunCarrel({"kill", "jobl", "--config", study.config_path()});
  EXPECT_EQ(mistyped.exit_code, 2) << mistyped.output;
  EXPECT_THAT(mistyped.errors, HasSubstr("jobl: the agent has no such job"));
  EXPECT_EQ(Asked(study, {"kill", "job1"}, "answer.schema.json")["state"], "executed");
  follower.join();
  EXPECT_EQ(followed.exit_code, 0) << followed.errors;
  EXPECT_THAT(followed.output, HasSubstr("started"));
  VerbRun killed = agent.Call("status", job);
  EXPECT_EQ(killed.results()["exit_code"], 137);
  EXPECT_EQ(killed.results()["cancelled"], false);
  agent.Call("finalize", job);
  VerbRun finalized = agent.Settle(job);
  EXPECT_THAT(finalized.results()["status_message"].dump(), HasSubstr("administrator"));
  agent.Call("cleanup", job);

  Json lines = study.Job("for i in 1 2 3; do echo line $i; done", Json::object());
  agent.Drive(lines);
  agent.Call("cleanup", lines);
  auto log = RunCarrel({"logs", "job2", "--config", study.config_path()});
  EXPECT_EQ(log.exit_code, 0) << log.errors;
  const size_t count = LinesWith(log.output, "").size();
  auto tail = RunCarrel({"logs", "--tail", "2", "job2", "--config", study.config_path()});
  EXPECT_EQ(LinesWith(tail.output, "").size(), 2u) << tail.output;
  EXPECT_TRUE(log.output.ends_with(tail.output));
  auto most = RunCarrel(
      {"logs", "--tail", std::to_string(count + 5), "job2", "--config", study.config_path()});
  EXPECT_EQ(most.output, log.output);
  EXPECT_EQ(RunCarrel({"logs", "job9", "--config", study.config_path()}).exit_code, 2);
  EXPECT_EQ(RunCarrel({"logs", "../job2", "--config", study.config_path()}).exit_code, 2);
  EXPECT_EQ(Asked(study, {"list"}, "list.schema.json")["jobs"], Json::array());
}

// One job whose step cannot be read hides no other, and can be cleaned up, as its error says.
TEST(Verbs, AStepThatIsNotWholeIsCleanedUp) {
  Study study;
  Agent agent(study);
  const Json broken = study.Job(kQuick), good = study.Job(kQuick);
  for (const Json& job : {broken, good}) {
    agent.Call("prepare", job);
    agent.Settle(job);
  }
  WriteFile(study.state() + "/jobs/" + broken["id"].get<std::string>() + "/step.json", "{");
  const VerbRun status = agent.Call("status", broken);
  ExpectState(status, "error", 70);
  EXPECT_THAT(status.errors, HasSubstr("Clean the job up"));
  const Json list = Asked(study, {"list"}, "list.schema.json")["jobs"];
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["state"], "error");
  EXPECT_EQ(list[1]["state"], "prepared");
  Asked(study, {"stats"}, "stats.schema.json");
  ExpectState(agent.Call("cleanup", broken), "unknown");
  ExpectState(agent.Drive(broken), "finalized");
  for (const Json& job : {broken, good}) agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

// Nobody waits for its end: the log is whole all the same, and published.
TEST(Verbs, WhatIsCleanedUpBeforeItsEndIsPublished) {
  Study study;
  Agent agent(study);
  Json job = study.Job(kLong);
  job["task_id"] = "first";
  agent.Call("finalize", job, {"--cancelled"});
  agent.Settle(job);
  agent.Call("cleanup", job);
  job["task_id"] = "second";  // published under the same id: log job1.2
  ExpectState(agent.Call("prepare", job), "prepared");
  ExpectState(agent.Call("cleanup", job), "unknown");
  job["task_id"] = "third";
  agent.Call("prepare", job);
  agent.Call("execute", job);
  ASSERT_TRUE(WaitFor([&] { return Started(study, job); }));
  ExpectState(agent.Call("cleanup", job), "unknown");
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1.2"}).exit_code, 0);
  const auto killed = study.Carrel({"audit", "verify", "job1.3"});
  EXPECT_EQ(killed.exit_code, 0) << killed.output;  // what its supervisor had not written was read
  EXPECT_THAT(killed.output, HasSubstr("carrel was killed"));
  const std::string log = ReadFile(study.state() + "/public/log.jsonl").value_or("");
  const auto outcome = [&](const std::string& id) {
    const auto lines = LinesWith(log, "\"job\":\"" + id + "\"");
    return lines.size() == 1 ? Json::parse(lines[0]).value("outcome", "") : "";
  };
  EXPECT_EQ(outcome("job1.2"), "killed") << log;
  EXPECT_EQ(outcome("job1.3"), "killed") << log;
}

// The database goes into maintenance after the preparation: the agent asks again, and again.
TEST(Verbs, AJobThatCannotHaveItsDatabaseNowIsNoError) {
  Study study;
  Agent agent(study);
  const std::string database = study.path() + "/records.sqlite";
  WriteFile(database, "rows");
  std::filesystem::permissions(database, std::filesystem::perms(0644));
  Json& config = study.config()["databases"]["default"];
  config = {{"kind", "sqlite"}, {"path", database}};
  study.WriteConfig();
  Json job = study.Job(kQuick);
  job["image"] = "dbprobe:v1";
  job["allow_database_access"] = true;
  ExpectState(agent.Call("prepare", job), "prepared");
  config["maintenance"] = "refuse";
  study.WriteConfig();
  for (const char* verb : {"execute", "prepare"}) {
    const VerbRun refused = agent.Call(verb, job);
    ExpectState(refused, "unknown", 3);
    EXPECT_EQ(refused.results()["retry"], true);
    ExpectState(agent.Call("status", job), "unknown");
  }
  config.erase("maintenance");
  study.WriteConfig();
  const VerbRun end = agent.Drive(job);
  ExpectState(end, "finalized");
  EXPECT_EQ(end.results()["succeeded"], true);
  agent.Call("cleanup", job);
  EXPECT_THAT(JobLeftovers(study), IsEmpty());
}

TEST(Verbs, ADatabaseTaskSaysOneWord) {
  Study study;
  const std::string database = study.path() + "/records.sqlite";
  WriteFile(database, "rows");
  std::filesystem::permissions(database, std::filesystem::perms(0644));
  study.config()["databases"] = {{"default", {{"kind", "sqlite"}, {"path", database}}}};
  study.WriteConfig();
  auto task = [&](const std::string& script, bool access = true) {
    Json job = study.Job(script, Json::object());
    job["image"] = "dbprobe:v1";
    job["allow_database_access"] = access;
    const std::string path = study.path() + "/task.json";
    WriteFile(path, job.dump());
    return RunCarrel({"dbtask", path, "--config", study.config_path()});
  };
  auto said = task("cat /database/default.sqlite >&2; echo; echo db-maintenance");
  EXPECT_EQ(said.exit_code, 0) << said.errors;
  Json answer = Json::parse(said.output, nullptr, false);
  EXPECT_EQ(answer["results"]["output"], "db-maintenance") << said.output;
  EXPECT_THAT(said.output, Not(HasSubstr("rows")));
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1"}).exit_code, 0);
  for (const char* script :
       {"echo a b", "head -c 100 /dev/zero | tr '\\0' x", "printf 'a\\033[1m'"}) {
    SCOPED_TRACE(script);
    auto withheld = task(script);
    EXPECT_EQ(withheld.exit_code, 0) << withheld.errors;
    EXPECT_TRUE(Json::parse(withheld.output)["results"]["output"].is_null()) << withheld.output;
  }
  EXPECT_EQ(task("exit 4").exit_code, 1);
  EXPECT_EQ(task("true", false).exit_code, 2);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

}  // namespace
}  // namespace carrel::testing_support
