// What the action may do to /workspace, and what becomes of it.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Json kHigh = "highly_sensitive";
const Json kModerate = "moderately_sensitive";

std::string ActionLog(const Study& study, const Json& job) {
  return ReadFile(study.LogDirectory(job["id"]) + "/logs.txt").value_or("");
}

TEST(RunWorkspace, CodeIsReadOnlyAndOnlyRootsOfTheOutputSpecAreWritable) {
  Study study;
  Json job = study.Job(
      "cat code.txt src/lib.txt; for f in code.txt new.txt src/new.txt src/lib.txt other/x /x; do"
      " if { echo x > $f; } 2>/dev/null; then echo WROTE $f; fi; done;"
      " if mkdir other 2>/dev/null; then echo MADE other; fi;"
      " if rm -f code.txt 2>/dev/null; then echo REMOVED; fi;"
      " mkdir -p output/deep/er && echo a > output/deep/er/x.csv && echo b > results/y.csv &&"
      " echo fine",
      {{"output/deep/*/*.csv", kHigh}, {"output/*.txt", kHigh}, {"results/y.csv", kHigh}});
  JobRun run = study.Run(job);
  const std::string log = ActionLog(study, job);
  EXPECT_THAT(log, AllOf(HasSubstr("code\n"), HasSubstr("library\n"), HasSubstr("fine")));
  EXPECT_THAT(log,
              AllOf(Not(HasSubstr("WROTE")), Not(HasSubstr("MADE")), Not(HasSubstr("REMOVED"))));
  EXPECT_EQ(ReadFile(study.level3("output/deep/er/x.csv")).value_or(""), "a\n");
  EXPECT_EQ(ReadFile(study.level3("results/y.csv")).value_or(""), "b\n");
  EXPECT_THAT(run.results()["unmatched_patterns"].dump(), HasSubstr("output/*.txt"));
}

TEST(RunWorkspace, NestedRootsAreOne) {
  Study study;
  Json job = study.Job(
      "mkdir -p output/a/b; echo 1 > output/1.csv; echo 2 > output/a/2.csv;"
      "echo 3 > output/a/b/3.csv",
      {{"output/a/b/*.csv", kHigh}, {"output/*.csv", kHigh}, {"output/a/*.csv", kHigh}});
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_EQ(run.results()["outputs"].size(), 3u) << run.output;
}

TEST(RunWorkspace, APatternInTheRootMakesAllOfItCopyUp) {
  Study study;
  const auto before = Listing(study.repository());
  Json job = study.Job("echo a > top.csv; echo b > src/beside.txt; cat code.txt src/lib.txt",
                       {{"*.csv", kModerate}});
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output << ActionLog(study, job);
  EXPECT_EQ(ReadFile(study.level4("top.csv")).value_or(""), "a\n");
  EXPECT_EQ(run.results()["unmatched_outputs"], Json({"src/beside.txt"}));
  EXPECT_THAT(run.results()["tampered"], IsEmpty());
  EXPECT_EQ(Listing(study.repository()), before);
}

// Whatever hides or changes code: reported, exit 1, nothing at level 4.
TEST(RunWorkspace, ChangedCodeIsFoundOut) {
  Study study;
  study.Commit({{"src/sub/deep.txt", "deep\n"}, {"src/link", "-> lib.txt"}});
  const std::map<std::string, std::string> changes = {
      {"modified", "echo x >> src/lib.txt"},
      {"modified and time set back", "echo x > src/lib.txt; touch -d @0 src/lib.txt"},
      {"same size", "printf 'Library\\n' > src/lib.txt"},
      {"deleted", "rm src/lib.txt"},
      {"renamed", "mv src/lib.txt src/other.txt"},
      {"replaced by a link", "rm src/lib.txt; ln -s ../code.txt src/lib.txt"},
      {"replaced by a directory", "rm src/lib.txt; mkdir src/lib.txt"},
      {"link changed", "rm src/link; ln -s /etc/passwd src/link"},
      {"directory deleted", "rm -r src/sub"},
      {"directory hidden by an empty one", "rm -r src/sub; mkdir src/sub"},
      {"directory renamed", "mv src/sub src/bus"},
      {"directory replaced by a file", "rm -r src/sub; echo x > src/sub"}};
  for (const auto& [what, change] : changes) {
    SCOPED_TRACE(what);
    Json job =
        study.Job(change + "; printf 'k,n\\na,1\\n' > src/t.csv", {{"src/t.csv", kModerate}});
    JobRun run = study.Run(job);
    EXPECT_EQ(run.exit_code, 1) << run.errors << run.output;
    EXPECT_FALSE(run.results()["tampered"].empty()) << run.output << ActionLog(study, job);
    EXPECT_THAT(run.status(), HasSubstr("changed its own code"));
    EXPECT_FALSE(std::filesystem::exists(study.level4("src/t.csv")));
    EXPECT_EQ(Json::parse(ActionLog(study, job), nullptr, false).is_discarded(), true);
    EXPECT_THAT(ActionLog(study, job), HasSubstr("code or input changed"));
  }
  // The same without a change is released.
  JobRun run = study.Run(
      study.Job("cat src/lib.txt; printf 'k,n\\na,1\\n' > src/t.csv", {{"src/t.csv", kModerate}}));
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_TRUE(std::filesystem::exists(study.level4("src/t.csv")));
}

TEST(RunWorkspace, AToolCanHaveCopyUpAlways) {
  Study study;
  Json job = study.Job("echo x > unpacked.txt; mkdir -p output; cp unpacked.txt output/x.csv");
  job["image"] = "stata-mp:v1";
  JobRun run = study.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output << ActionLog(study, job);
  EXPECT_EQ(run.results()["unmatched_outputs"], Json({"unpacked.txt"}));
}

// mission.md, mistake 2.
TEST(RunWorkspace, LinksOfTheStudyLeadNowhere) {
  Study study;
  std::filesystem::create_directories(study.path() + "/target");
  study.Commit({{"output", "-> " + study.path() + "/target"}, {"sub/etc", "-> /etc"}});
  JobRun run = study.Run(study.Job("echo a > output/x.csv"));
  EXPECT_EQ(run.exit_code, 2) << run.errors;
  EXPECT_THAT(run.error(),
              AllOf(HasSubstr("/output_spec"), HasSubstr("output"), HasSubstr("link")));
  Json job = study.Job("echo a > sub/etc/x.csv", {{"sub/etc/x.csv", kHigh}});
  run = study.Run(job);
  EXPECT_EQ(run.exit_code, 2) << run.errors;
  EXPECT_FALSE(std::filesystem::exists("/etc/x.csv"));
  EXPECT_TRUE(std::filesystem::is_empty(study.path() + "/target"));
  EXPECT_FALSE(std::filesystem::exists(study.high()));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());

  // The level 3 workspace itself: what is a link there is not followed either.
  std::filesystem::create_directories(study.high() + "/workspaces/demo");
  std::filesystem::create_symlink(study.path() + "/target", study.level3("results"));
  run = study.Run(study.Job("echo a > results/x.csv", {{"results/x.csv", kHigh}}));
  EXPECT_EQ(run.exit_code, 70) << run.errors << run.output;
  EXPECT_TRUE(std::filesystem::is_empty(study.path() + "/target"));
}

TEST(RunWorkspace, InputsOfEarlierJobsAreThereAndReadOnly) {
  Study study;
  Json first = study.Job("mkdir -p output; printf 'patient_id\\n1\\n' > output/rows.csv");
  ASSERT_EQ(study.Run(first).exit_code, 0);

  Json second = study.Job(
      "cat output/rows.csv; { echo x > output/rows.csv; } 2>/dev/null;"
      "mkdir -p results; printf 'k,n\\na,1\\n' > results/t.csv",
      {{"results/*.csv", kModerate}});
  second["input_job_ids"] = {first["id"]};
  JobRun run = study.Run(second);
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_THAT(ActionLog(study, second), HasSubstr("patient_id\n"));
  EXPECT_EQ(ReadFile(study.level3("output/rows.csv")).value_or(""), "patient_id\n1\n");

  // Beside the input there may be outputs; the input changed there is tampering.
  for (const char* change :
       {"echo x >> output/rows.csv", "rm output/rows.csv", "mv output/rows.csv output/t2.csv"}) {
    SCOPED_TRACE(change);
    Json third = study.Job(std::string(change) + "; printf 'k,n\\na,1\\n' > output/t.csv",
                           {{"output/t*.csv", kModerate}});
    third["input_job_ids"] = {first["id"]};
    run = study.Run(third);
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_THAT(run.results()["tampered"].dump(), HasSubstr("output/rows.csv"));
    EXPECT_FALSE(std::filesystem::exists(study.level4("output/t.csv")));
    EXPECT_FALSE(std::filesystem::exists(study.level4("output/t2.csv")));
    EXPECT_EQ(ReadFile(study.level3("output/rows.csv")).value_or(""), "patient_id\n1\n");
  }
}

TEST(RunWorkspace, OutOfDateIsMarkedByJobsThatEndedWellOnly) {
  Study study;
  const Json spec = {{"output/*.csv", kHigh}};
  ASSERT_EQ(study.Run(study.Job("mkdir -p output; echo 1 > output/old.csv", spec)).exit_code, 0);
  auto marked = [&] {
    return study.Manifest()["outputs"]["output/old.csv"].value("out_of_date_output", false);
  };
  ASSERT_EQ(study.Run(study.Job("exit 1", spec)).exit_code, 1);
  EXPECT_FALSE(marked());

  RunningJob job = study.Start(
      study.Job("trap 'exit 0' TERM; echo started; while true; do sleep 0.1; done", spec));
  ASSERT_TRUE(WaitFor([&] { return job.Errors().find("[10/12]") != std::string::npos; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  job.Signal(SIGTERM);
  EXPECT_EQ(job.Wait().exit_code, 1);
  EXPECT_FALSE(marked());

  ASSERT_EQ(study.Run(study.Job("mkdir -p output; echo 1 > output/new.csv", spec)).exit_code, 0);
  EXPECT_TRUE(marked());
}

// A study whose tree is deeper than carrel may have descriptors is removed again.
TEST(RunWorkspace, DeepTreesLeaveNothing) {
  Study study;
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "d/";
  study.Commit({{deep + "leaf.txt", "x"}});
  study.before_exec = [] {
    const rlimit few = {128, 20000};
    ::setrlimit(RLIMIT_NOFILE, &few);
  };
  JobRun run = study.Run(study.Job("mkdir -p output; echo a > output/x.csv"));
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

}  // namespace
}  // namespace carrel::testing_support
