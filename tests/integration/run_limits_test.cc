// The limits of a job, held by the kernel, and its cancellation.
#include <gmock/gmock.h>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string ActionLog(const Study& study, const Json& job) {
  return ReadFile(study.LogDirectory(job["id"]) + "/logs.txt").value_or("");
}

// The action's part of the log is in the run directory while it runs.
bool HasWritten(const Study& study, const Json& job, const std::string& text) {
  const std::string path = study.state() + "/run/" + job["id"].get<std::string>() + "/action.log";
  return ReadFile(path).value_or("").find(text) != std::string::npos;
}

void SetMaximum(Study& study, const char* limit, Json value) {
  study.config()["limits"]["maxima"][limit] = std::move(value);
  study.WriteConfig();
}

TEST(RunLimits, TimeEndsTheActionAndWhatItStarted) {
  Study study;
  SetMaximum(study, "time_seconds", 1);
  Json job = study.Job("mkdir -p output; echo a > output/x.csv; sleep 1000 & sleep 1000");
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.results()["timed_out"], true) << run.output;
  EXPECT_THAT(run.status(), HasSubstr("longer than is allowed"));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunLimits, TimeIsUpForWhatIgnoresTerm) {
  Study study;
  SetMaximum(study, "time_seconds", 1);
  Json job = study.Job("trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & while true; do :; done");
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.results()["exit_code"], 137);
  EXPECT_EQ(run.results()["timed_out"], true);
  EXPECT_EQ(run.results()["oom_killed"], false);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunLimits, MemoryIsKnownForCertain) {
  Study study;
  Json job = study.Job("x=$(yes | head -c 200000000); echo survived");
  job["memory_limit"] = "64M";
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 1) << ActionLog(study, job);
  EXPECT_EQ(run.results()["oom_killed"], true) << run.output;
  EXPECT_THAT(run.status(), HasSubstr("memory"));
  EXPECT_EQ(study.Metadata(job["id"])["oom_killed"], true);

  // The same status without the limit is not guessed to be it.
  job = study.Job("kill -KILL $$");
  run = study.Run(job);
  EXPECT_EQ(run.results()["exit_code"], 137);
  EXPECT_EQ(run.results()["oom_killed"], false);
  EXPECT_THAT(run.status(), Not(HasSubstr("memory limit")));
}

TEST(RunLimits, TmpCountsAsMemory) {
  Study study;
  Json job = study.Job("dd if=/dev/zero of=/tmp/big bs=1M count=200; echo status $?");
  job["memory_limit"] = "64M";
  JobRun run = study.Run(job);
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(ActionLog(study, job), Not(HasSubstr("status 0")));
}

TEST(RunLimits, ScratchBytesAndInodesByTheKernel) {
  Study study;
  SetMaximum(study, "scratch_bytes", "16M");
  Json job = study.Job(
      "mkdir -p output; dd if=/dev/zero of=output/big.csv bs=1M count=40;"
      "echo status $?");
  JobRun run = study.Run(job);
  EXPECT_THAT(ActionLog(study, job), AllOf(HasSubstr("No space left"), HasSubstr("status 1")));
  EXPECT_EQ(run.exit_code, 0);  // what the action makes of it is its own

  SetMaximum(study, "scratch_inodes", 200);
  job = study.Job(
      "mkdir -p output; i=0; while echo > output/$i.csv; do i=$((i+1));"
      " test $i -lt 2000 || break; done; echo made $i");
  run = study.Run(job);
  const std::string log = ActionLog(study, job);
  EXPECT_THAT(log, AllOf(HasSubstr("No space left"), Not(HasSubstr("made 2000"))));
  EXPECT_LT(run.results()["outputs"].size(), 400u);
}

TEST(RunLimits, FileSizeLogAndProcesses) {
  Study study;
  SetMaximum(study, "file_bytes", "1M");
  Json job = study.Job(
      "mkdir -p output; dd if=/dev/zero of=output/big.csv bs=64k count=64;"
      "echo status $?; ls -l output");
  JobRun run = study.Run(job);
  EXPECT_THAT(ActionLog(study, job), AllOf(Not(HasSubstr("status 0")), HasSubstr("1048576")));

  SetMaximum(study, "log_bytes", "100k");
  job = study.Job("mkdir -p output; echo a > output/x.csv; yes | head -c 5000000; echo the end");
  run = study.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  const std::string log = ActionLog(study, job);
  EXPECT_LT(log.size(), 2'000'000u);
  EXPECT_THAT(log, HasSubstr("the end"));

  SetMaximum(study, "pids", 20);
  job = study.Job("for i in $(seq 60); do sleep 30 & done; echo all started");
  run = study.Run(job);
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(ActionLog(study, job), Not(HasSubstr("all started")));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunLimits, ASignalCancels) {
  Study study;
  for (int number : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(number);
    Json job = study.Job("mkdir -p output; echo a > output/x.csv; echo started; sleep 1000");
    RunningJob running = study.Start(job);
    ASSERT_TRUE(WaitFor([&] { return HasWritten(study, job, "started"); })) << running.Errors();
    running.Signal(number);
    JobRun run = running.Wait();
    EXPECT_EQ(run.exit_code, 1) << run.errors;
    EXPECT_EQ(run.results()["cancelled"], true);
    EXPECT_EQ(run.results()["outputs"], Json::object());
    EXPECT_EQ(study.Metadata(job["id"])["cancelled"], true);
    EXPECT_THAT(ActionLog(study, job), HasSubstr("started"));
    EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
    EXPECT_EQ(study.Carrel({"audit", "verify", job["id"]}).exit_code, 0);
    EXPECT_THAT(SettledLeftovers(study), IsEmpty());
  }
}

TEST(RunLimits, ASignalWhileTheWorkspaceIsPreparedCancelsToo) {
  Study study;
  // A commit that takes a moment to check out.
  std::map<std::string, std::string> files;
  for (int i = 0; i < 3000; ++i) files["many/" + std::to_string(i)] = std::to_string(i);
  study.Commit(files);
  Json job = study.Job("mkdir -p output; echo a > output/x.csv; echo started; sleep 1000");
  RunningJob running = study.Start(job);
  ASSERT_TRUE(WaitFor([&] { return running.Errors().find("[5/12]") != std::string::npos; }));
  running.Signal(SIGTERM);
  JobRun run = running.Wait();
  EXPECT_EQ(run.exit_code, 1) << run.errors;
  EXPECT_EQ(run.results()["cancelled"], true) << run.output;
  EXPECT_EQ(study.Metadata(job["id"])["cancelled"], true);
  EXPECT_THAT(ActionLog(study, job), Not(HasSubstr("started")));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

}  // namespace
}  // namespace carrel::testing_support
