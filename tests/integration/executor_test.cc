// The Python executor, driven as the job agent's loop drives it.
#include <gmock/gmock.h>

#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kModule = CARREL_SOURCE_DIR "/runtime/agent";

class ExecutorTest : public ::testing::Test {
 protected:
  SubprocessResult Python(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"python3", "-B"});
    SubprocessOptions options;
    options.environment = {{"CARREL", CARREL_BINARY},
                           {"CARREL_CONFIG", study_.config_path()},
                           {"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}};
    auto result = RunSubprocess(arguments, options);
    EXPECT_TRUE(result.has_value()) << result.error().ToString();
    return result.value_or(SubprocessResult{-1, "", ""});
  }

  Json Loop(const Json& job, const std::vector<std::string>& options = {}) {
    const std::string file = study_.path() + "/loop.json";
    WriteFile(file, job.dump());
    std::vector<std::string> arguments = {CARREL_SOURCE_DIR "/tests/support/agent_loop.py", kModule,
                                          file};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto result = Python(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.errors << result.output;
    return Json::parse(result.output, nullptr, false);
  }

  // As the agent of today has it: the code is named by `study` alone.
  Json AgentJob(const std::string& script) {
    Json job = study_.Job(script);
    job["study"] = {
        {"git_repo_url", job["repo_url"]}, {"commit", job["commit"]}, {"branch", "main"}};
    job.erase("repo_url");
    job.erase("commit");
    job["inputs"] = Json::array();
    job["input_job_ids"] = Json::array();
    job["env"] = {{"OPENSAFELY_BACKEND", "expectations"}};
    job["cpu_count"] = "2";
    job["level4_max_csv_rows"] = 5000;
    job["level4_max_filesize"] = 16777216;
    job["level4_file_types"] = {".csv", ".txt"};
    return job;
  }

  Study study_;
};

TEST_F(ExecutorTest, TheLoopComesToResults) {
  const Json job = AgentJob("env; mkdir -p output; echo a,b > output/x.csv");
  const Json done = Loop(job);
  for (const char* state : {"unknown", "prepared", "executed", "finalized"})
    EXPECT_THAT(done["states"].get<std::vector<std::string>>(), Contains(state));
  const Json& results = done["results"];
  EXPECT_EQ(results.value("exit_code", ""), "0") << done;
  for (const char* name :
       {"docker_image_id", "status_message", "hint", "action_version", "action_revision",
        "action_created", "base_revision", "base_created", "cancelled", "timestamp_ns"})
    EXPECT_TRUE(results.contains(name)) << name;
  EXPECT_TRUE(results["unmatched_patterns"].empty());
  EXPECT_EQ(ReadFile(study_.level3("output/x.csv")).value_or(""), "a,b\n");
  // The agent's credentials reached neither the action nor a file of carrel's.
  EXPECT_THAT(ReadFile(study_.level3("metadata/act.log")).value_or(""), Not(HasSubstr("hunter2")));
  // Finished jobs stay finished: the agent asks again after a restart.
  EXPECT_EQ(Loop(job)["states"], Json({"finalized", "finalized"}));
}

TEST_F(ExecutorTest, FailuresAreToldWithoutNamesOfOutputs) {
  const Json done = Loop(AgentJob("mkdir -p output; echo x > output/other.txt; exit 3"));
  EXPECT_EQ(done["results"].value("exit_code", ""), "3") << done;
  EXPECT_THAT(done["results"].dump(), Not(HasSubstr("other")));
  const Json unmatched = Loop(AgentJob("true"));
  EXPECT_FALSE(unmatched["results"]["unmatched_patterns"].empty());
  EXPECT_THAT(unmatched["results"].dump(), Not(HasSubstr("output/")));
}

TEST_F(ExecutorTest, CancelledWhileItRunsAndBefore) {
  const Json running = Loop(AgentJob("sleep 60"), {"--cancel-when", "executing"});
  EXPECT_EQ(running["states"].back(), "finalized") << running;
  EXPECT_EQ(running["results"].value("cancelled", false), true);
  const Json waiting = Loop(AgentJob("true"), {"--cancel-when", "prepared"});
  EXPECT_EQ(waiting["states"].back(), "finalized") << waiting;
}

// A job that is run again, as another task, after it was cancelled.
TEST_F(ExecutorTest, AnotherTaskOfAFinishedJobIsNew) {
  Json job = AgentJob("mkdir -p output; echo a > output/x.csv");
  job["task_id"] = "task-1";
  EXPECT_EQ(Loop(job, {"--cancel-when", "prepared"})["states"].back(), "finalized");
  job["task_id"] = "task-2";
  const Json again = Loop(job);
  EXPECT_EQ(again["states"].front(), "unknown") << again;
  EXPECT_EQ(again["results"].value("exit_code", ""), "0") << again;
}

// The agent's own order: what runs is cancelled by another task, the first is forgotten.
TEST_F(ExecutorTest, AnotherTaskCancelsWhatRuns) {
  Json job = AgentJob("sleep 60");
  job["task_id"] = "run";
  EXPECT_EQ(Loop(job, {"--stop-when", "executing"})["states"].back(), "executing");
  job["task_id"] = "cancel";
  const Json cancelled = Loop(job, {"--cancel-when", "executing"});
  EXPECT_EQ(cancelled["states"], Json({"executing", "finalized"})) << cancelled;
  EXPECT_EQ(cancelled["results"].value("cancelled", false), true);
  // It stays so for that task, whatever the agent forgets; for the next one the job is new.
  EXPECT_EQ(Loop(job)["states"], Json({"finalized", "finalized"}));
  job["task_id"] = "again";
  EXPECT_EQ(Loop(job, {"--stop-when", "unknown"})["states"].back(), "unknown");
}

TEST_F(ExecutorTest, AJobThatWasCancelledBeforeItBeganCanBegin) {
  Json job = AgentJob("mkdir -p output; echo a > output/x.csv");
  job["task_id"] = "cancel";
  EXPECT_EQ(Loop(job, {"--cancel-when", "unknown"})["states"].back(), "finalized");
  job["task_id"] = "run";
  const Json done = Loop(job);
  EXPECT_EQ(done["results"].value("exit_code", ""), "0") << done;
}

// The agent's word for a failure of its own: the job is an error, and nothing of it runs on.
TEST_F(ExecutorTest, AnErrorOfTheAgentEndsTheJob) {
  const Json job = AgentJob("sleep 60");
  const Json done = Loop(job, {"--error-when", "executing"});
  EXPECT_EQ(done["states"].back(), "error") << done;
  EXPECT_EQ(done["results"].value("status_message", ""), "the agent failed");
  EXPECT_TRUE(done["results"].contains("timestamp_ns"));
  EXPECT_EQ(Loop(job)["states"].back(), "error");
}

// An error is the task's: the agent never cleans up after one, and gives the job as another.
TEST_F(ExecutorTest, AnotherTaskOfAJobThatWasRefusedIsNew) {
  Json job = AgentJob("mkdir -p output; echo a > output/x.csv");
  job["task_id"] = "refused";
  job["user"] = "collaborator-of-nobody";
  const Json refused = Loop(job);
  EXPECT_EQ(refused["states"].back(), "error") << refused;
  for (const char* name :
       {"exit_code", "docker_image_id", "status_message", "hint", "timestamp_ns"})
    EXPECT_TRUE(refused["results"].contains(name)) << name;
  EXPECT_EQ(refused["results"].value("base_created", ""), "unknown");
  job["task_id"] = "permitted";
  job["user"] = "developer";
  EXPECT_EQ(Loop(job)["results"].value("exit_code", ""), "0");
}

TEST_F(ExecutorTest, DeletesFilesOfAWorkspaceAndNothingElse) {
  Loop(AgentJob("mkdir -p output; echo a > output/x.csv"));
  WriteFile(study_.high() + "/keep.txt", "keep");
  std::filesystem::create_directory_symlink(study_.high(), study_.level3("way-out"));
  const auto result = Python(
      {"-c", std::string("import sys, json; sys.path.insert(0, '") + kModule +
                 "'); import carrel_executor as c; print(json.dumps(c.CarrelExecutor()."
                 "delete_files('demo', 'high', ['output/x.csv', 'gone.csv', '../../keep.txt', "
                 "'way-out/keep.txt'])));"
                 // A workspace's name is no path.
                 "print(c.CarrelExecutor().delete_files('demo/../..', 'high', ['keep.txt']))"});
  EXPECT_EQ(result.output, "[\"../../keep.txt\", \"way-out/keep.txt\"]\n['keep.txt']\n")
      << result.errors;
  EXPECT_FALSE(std::filesystem::exists(study_.level3("output/x.csv")));
  EXPECT_TRUE(std::filesystem::exists(study_.high() + "/keep.txt"));
}

// A host of repositories that doesn't answer is no error of the job's: it waits.
TEST_F(ExecutorTest, AJobWaitsForTheHostOfItsRepository) {
  const std::string nobody = "https://127.0.0.1:1/study";
  study_.config()["allowed_repositories"].push_back(nobody);
  study_.WriteConfig();
  Json job = AgentJob("true");
  job["study"]["git_repo_url"] = nobody;
  const auto file = study_.path() + "/away.json";
  WriteFile(file, job.dump());
  const std::string prepare = std::string("import sys; sys.path.insert(0, '") +
                              CARREL_SOURCE_DIR "/tests/support'); sys.argv[1:] = ['" + kModule +
                              "', '" + file +
                              "']; import agent_loop as a; api = a.executor.CarrelExecutor();\n"
                              "job = a.load(sys.argv[2])\n"
                              "try: api.prepare(job)\n"
                              "except a.executor.ExecutorRetry as e: print('retry', e)\n"
                              "print(api.get_status(job).state.value)";
  const auto result = Python({"-c", prepare});
  // prepare says so itself where git is quick; the state is the same in any case.
  EXPECT_THAT(result.output, ::testing::EndsWith("unknown\n")) << result.errors;
}

TEST_F(ExecutorTest, AnImpossibleJobIsAnErrorThatIsHeard) {
  Json job = AgentJob("true");
  job["image"] = "absent:v1";
  const auto file = study_.path() + "/bad.json";
  WriteFile(file, job.dump());
  const auto result = Python({CARREL_SOURCE_DIR "/tests/support/agent_loop.py", kModule, file});
  EXPECT_THAT(result.output + result.errors, HasSubstr("absent"));
}

}  // namespace
}  // namespace carrel::testing_support
