// What a run does between its phases: it holds its image, can be cancelled while it collects,
// leaves no staging directory behind when it is killed, and says each step and the end to a person.
#include <gmock/gmock.h>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Files of holes that take carrel many seconds to hash.
Json SlowToCollect(Study& study) {
  return study.Job(
      "mkdir -p output; for i in a b c d e f g h x; do"
      " dd if=/dev/zero of=output/$i.csv bs=1 count=1 seek=3900000000; done");
}

bool Collects(const Study& study) {
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(study.high() + "/workspaces/demo", ignored))
    if (entry.path().filename().string().starts_with(".carrel-staging-")) return true;
  return false;
}

// The largest file is as large as the scratch layer.
struct LargeScratch : Study {
  LargeScratch() {
    config()["limits"]["maxima"]["scratch_bytes"] = "20G";
    WriteConfig();
  }
};

TEST(RunPhases, ASignalEndsACollectionCleanly) {
  LargeScratch study;
  RunningJob running = study.Start(SlowToCollect(study));
  ASSERT_TRUE(WaitFor([&] { return Collects(study); })) << running.Errors();
  running.Signal(SIGTERM);
  JobRun run = running.Wait();
  EXPECT_EQ(run.exit_code, 1) << run.errors;
  EXPECT_EQ(run.results()["cancelled"], true) << run.output;
  EXPECT_EQ(run.results()["outputs"], Json::object());
  EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
  EXPECT_FALSE(Collects(study));
  EXPECT_EQ(study.Metadata("job1")["cancelled"], true);
  EXPECT_EQ(study.Carrel({"audit", "verify", "job1"}).exit_code, 0);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunPhases, TheNextCommandRemovesWhatAKilledCollectionLeft) {
  LargeScratch study;
  RunningJob running = study.Start(SlowToCollect(study));
  ASSERT_TRUE(WaitFor([&] { return Collects(study); })) << running.Errors();
  running.Signal(SIGKILL);
  running.Wait();
  ASSERT_TRUE(Collects(study));
  EXPECT_EQ(study.Run(study.Job("mkdir -p output; echo a > output/y.csv")).exit_code, 0);
  EXPECT_FALSE(Collects(study));
  EXPECT_THAT(Listing(study.state() + "/staging").size(), 1u);
}

TEST(RunPhases, AnImageInUseIsNotRemoved) {
  Study study;
  RunningJob running = study.Start(study.Job("echo started; sleep 1000"));
  ASSERT_TRUE(WaitFor([&] {
    return ReadFile(study.state() + "/run/job1/action.log").value_or("").find("started") !=
           std::string::npos;
  }));
  for (const char* name : {"dbprobe:v1", "stata-mp:v1"})
    EXPECT_EQ(study.Carrel({"image", "remove", name}).exit_code, 0);
  auto removed = study.Carrel({"image", "remove", "python:v2"});
  EXPECT_EQ(removed.exit_code, 3) << removed.errors;
  running.Signal(SIGTERM);
  running.Wait();
  EXPECT_EQ(study.Carrel({"image", "remove", "python:v2"}).exit_code, 0);
}

TEST(RunPhases, EveryJobIsInThePublicRecord) {
  Study study;
  study.Run(study.Job("mkdir -p output; echo a > output/x.csv"));
  study.Run(study.Job("exit 3"));
  Json refused = study.Job("true");
  refused["image"] = "perl:v5";
  EXPECT_EQ(study.Run(refused).exit_code, 3);
  const std::string text = ReadFile(study.state() + "/public/log.jsonl").value_or("");
  std::vector<Json> records;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    records.push_back(Json::parse(line, nullptr, false));
  ASSERT_EQ(records.size(), 3u) << text;
  std::vector<std::string> outcomes;
  for (const Json& record : records) outcomes.push_back(record.value("outcome", ""));
  EXPECT_THAT(outcomes, ElementsAre("succeeded", "failed", "refused")) << text;
  EXPECT_EQ(records[0]["job"], "job1");
  EXPECT_EQ(records[0]["commit"], study.commit());
  // What a refused job said of itself is not the policy's.
  EXPECT_THAT(records[2].dump(), Not(HasSubstr(study.commit())));
  EXPECT_THAT(records[2].dump(), Not(HasSubstr("perl")));
}

TEST(RunPhases, StepsAndEndAreSaidToAPerson) {
  Study study;
  JobRun run = study.Run(study.Job("mkdir -p output; echo patient_id,x > output/secret.csv",
                                   {{"output/*.csv", "moderately_sensitive"}}));
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  for (int step = 1; step <= 12; ++step)
    EXPECT_THAT(run.errors, HasSubstr("[" + std::to_string(step) + "/12] "));
  EXPECT_THAT(run.errors, HasSubstr("1 output(s) withheld from level 4"));
  EXPECT_THAT(run.errors, Not(HasSubstr("secret")));

  run = study.Run(study.Job("mkdir -p output; echo a > output/secret; exit 4"));
  EXPECT_THAT(run.errors, HasSubstr("did not succeed"));
  EXPECT_THAT(run.errors, Not(HasSubstr("secret")));

  Json bad = study.Job("true");
  bad["commit"] = "main";
  run = study.Run(bad);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.error(), HasSubstr(".json: /commit"));
  bad = study.Job("true");
  bad["image"] = "python:v1";
  EXPECT_THAT(study.Run(bad).error(), HasSubstr(".json: "));
}

// The job agent's project.yaml always names outputs; a definition without any is harmless, for
// nothing can then leave.
TEST(RunPhases, NoOutputSpecMeansNoOutputs) {
  Study study;
  JobRun run = study.Run(study.Job("echo a > /tmp/x.csv", Json::object()));
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(run.results()["outputs"], Json::object());
}

}  // namespace
}  // namespace carrel::testing_support
