// carrel killed, disks full, jobs beside each other, and runs that must touch nothing.
#include <gmock/gmock.h>

#include <random>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// mission.md, mistake 11: nothing goes on unwatched; and the next run finds a clean host.
TEST(RunCrash, KilledAtAnyMomentLeavesNothingRunning) {
  Study study;
  ASSERT_EQ(study.Run(study.Job("mkdir -p output; echo a > output/x.csv")).exit_code, 0);
  std::mt19937 random(20260801);  // NOLINT: the same moments each time
  int killed = 0;
  for (int i = 0; i < 20; ++i) {
    SCOPED_TRACE(i);
    Json job = study.Job("mkdir -p output; echo a > output/x.csv; sleep 1000 & sleep 1000");
    RunningJob running = study.Start(job);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 300'000));
    running.Signal(SIGKILL);
    if (running.Wait().exit_code == 128 + SIGKILL) ++killed;
    // The action and the helpers end by themselves: nobody is there to end them.
    EXPECT_TRUE(WaitFor([&] { return Processes(study).empty(); }, 10));
    EXPECT_TRUE(WaitFor([&] { return LoopDevices(study).empty(); }, 10));

    JobRun next = study.Run(study.Job("mkdir -p output; echo b > output/x.csv"));
    ASSERT_EQ(next.exit_code, 0) << next.errors;
    EXPECT_THAT(SettledLeftovers(study), IsEmpty());
    const std::string id = job["id"];
    if (!std::filesystem::exists(study.state() + "/audit/" + id + ".carrel-log")) continue;
    auto shown = study.Carrel({"audit", "show", id});
    EXPECT_THAT(shown.exit_code, AnyOf(Eq(0), Eq(70))) << shown.errors;
    auto verified = study.Carrel({"audit", "verify", id});
    // Nothing is lost: the next run has sealed it; one that had not even a first block stays.
    EXPECT_THAT(verified.exit_code, AnyOf(Eq(0), Eq(4))) << verified.output;
    EXPECT_THAT(verified.output, HasSubstr("carrel was killed"));
  }
  EXPECT_EQ(killed, 20);
}

TEST(RunCrash, GcSealsTheLogThatWasCutOff) {
  Study study;
  Json job = study.Job("mkdir -p output; echo a > output/x.csv; echo begun; sleep 1000");
  RunningJob running = study.Start(job);
  ASSERT_TRUE(WaitFor([&] { return !Processes(study).empty(); }, 30));
  ::usleep(300'000);
  running.Signal(SIGKILL);
  EXPECT_EQ(running.Wait().exit_code, 128 + SIGKILL);
  ASSERT_TRUE(WaitFor([&] { return Processes(study).empty(); }, 10));
  const std::string id = job["id"];
  EXPECT_EQ(study.Carrel({"audit", "verify", id}).exit_code, 4);
  const auto gc = RunCarrel({"gc", "--config", study.config_path()});
  EXPECT_EQ(gc.exit_code, 0) << gc.errors;
  const auto verified = study.Carrel({"audit", "verify", id});
  EXPECT_EQ(verified.exit_code, 0) << verified.output;
  EXPECT_THAT(verified.output, HasSubstr("public record"));
  // Whose end somebody cuts off after that has no second seal.
  const std::string log = study.state() + "/audit/" + id + ".carrel-log";
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 10);
  EXPECT_EQ(RunCarrel({"gc", "--config", study.config_path()}).exit_code, 0);
  EXPECT_EQ(study.Carrel({"audit", "verify", id}).exit_code, 4);
}

// Whatever step runs out of room: a clear error, nothing left, and no output without its records.
TEST(RunCrash, FullStateDisk) {
  Study study(Study::StateOn::kSmallDisk);
  SmallDisk& disk = study.state_disk();
  std::map<std::string, std::string> files;
  for (int i = 0; i < 32; ++i) files["data/" + std::to_string(i)] = std::string(32768, 'x');
  study.Commit(files);
  auto job = [&] {
    return study.Job(
        "mkdir -p output; dd if=/dev/urandom of=output/a.csv bs=64k count=64 2>/dev/null;"
        "cp output/a.csv output/b.csv; echo done");
  };
  ASSERT_EQ(study.Run(job()).exit_code, 0);
  const auto workspaces = study.high() + "/workspaces";
  std::filesystem::remove_all(study.high());
  std::filesystem::remove_all(study.medium());
  int failed = 0, succeeded = 0;
  for (uint64_t free_kib :
       {0u,    4u,    16u,    64u,    200u,   400u,   700u,   1000u,  1300u,  2000u, 4000u,
        6000u, 9000u, 11000u, 14000u, 18000u, 20000u, 23000u, 26000u, 30000u, 60000u}) {
    SCOPED_TRACE(std::to_string(free_kib) + " KiB free");
    disk.SetFree(free_kib << 10);
    JobRun run = study.Run(job());
    disk.Resize(1u << 30);
    EXPECT_THAT(SettledLeftovers(study), IsEmpty());
    if (run.exit_code == 0) {
      ++succeeded;
      EXPECT_EQ(std::filesystem::file_size(study.level3("output/a.csv")), 64u << 16);
      EXPECT_EQ(study.Manifest()["outputs"].size(), 2u);
    } else {
      ++failed;
      EXPECT_EQ(run.exit_code, 70) << run.errors << run.output;
      EXPECT_THAT(run.error(), HasSubstr(": "));
      for (const std::string& line : Listing(workspaces))
        EXPECT_EQ(line.find(".csv"), std::string::npos) << line << "\n" << run.errors;
    }
    std::filesystem::remove_all(study.high());
    std::filesystem::remove_all(study.medium());
  }
  EXPECT_GE(failed, 10);
  EXPECT_GE(succeeded, 1);
}

TEST(RunCrash, FullWorkspaceDisk) {
  Study study;
  SmallDisk high(study.path() + "/high"), medium(study.path() + "/medium");
  study.config()["high_privacy"] = study.path() + "/high";
  study.config()["medium_privacy"] = study.path() + "/medium";
  study.WriteConfig();
  const Json spec = {{"output/*.csv", "moderately_sensitive"}};
  const std::string script = "mkdir -p output; yes a,b | head -c 12000 > output/x.csv";
  ASSERT_EQ(study.Run(study.Job(script, spec)).exit_code, 0);
  for (SmallDisk* disk : {&high, &medium}) {
    for (uint64_t free_kib : {0u, 8u, 64u, 1000u}) {
      SCOPED_TRACE(free_kib);
      std::filesystem::remove_all(study.level3("output"));
      std::filesystem::remove_all(study.level4("output"));
      const Json manifest = study.Manifest();
      disk->SetFree(free_kib << 10);
      JobRun run = study.Run(study.Job(script, spec));
      disk->Resize(1u << 30);
      EXPECT_EQ(run.exit_code, 70) << run.errors << run.output;
      EXPECT_THAT(run.error(), HasSubstr("ENOSPC"));
      EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
      EXPECT_FALSE(std::filesystem::exists(study.level4("output/x.csv")));
      EXPECT_EQ(study.Manifest(), manifest);
    }
  }
  EXPECT_EQ(study.Run(study.Job(script, spec)).exit_code, 0);
}

// The audit log cannot be written any more while the action runs: the action is ended for it.
TEST(RunCrash, AnActionDoesNotOutliveItsAuditLog) {
  Study study;
  const std::string audit = study.state() + "/audit";
  SmallDisk disk(audit);
  Json job = study.Job(
      "mkdir -p output; echo a > output/x.csv; echo started;"
      "while true; do cat code.txt > /dev/null; done");
  RunningJob running = study.Start(job);
  const std::string log = study.state() + "/run/" + job["id"].get<std::string>() + "/action.log";
  ASSERT_TRUE(
      WaitFor([&] { return ReadFile(log).value_or("").find("started") != std::string::npos; }));
  disk.SetFree(0);
  JobRun run = running.Wait();
  EXPECT_EQ(run.exit_code, 70) << run.errors << run.output;
  EXPECT_THAT(run.error(), HasSubstr("audit log"));
  EXPECT_FALSE(std::filesystem::exists(study.level3("output/x.csv")));
  EXPECT_THAT(Processes(study), IsEmpty());
}

// mission.md, mistake 12.
TEST(RunCrash, JobsOfOneWorkspaceAtTheSameMoment) {
  Study study;
  std::vector<RunningJob> running;
  for (int i = 0; i < 6; ++i) {
    const std::string name = "output/" + std::to_string(i) + ".csv";
    Json job = study.Job("mkdir -p output; echo a > " + name, {{name, "highly_sensitive"}});
    job["action"] = "act" + std::to_string(i);
    running.push_back(study.Start(job));
  }
  for (RunningJob& job : running) {
    JobRun run = job.Wait();
    EXPECT_EQ(run.exit_code, 0) << run.errors;
  }
  EXPECT_EQ(study.Manifest()["outputs"].size(), 6u) << study.Manifest().dump(2);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunCrash, OneIdRunsOnceAtATimeAndCanRunAgain) {
  Study study;
  Json job = study.Job("mkdir -p output; echo a > output/x.csv; echo started; sleep 1000");
  RunningJob first = study.Start(job);
  const std::string log = study.state() + "/run/" + job["id"].get<std::string>() + "/action.log";
  ASSERT_TRUE(
      WaitFor([&] { return ReadFile(log).value_or("").find("started") != std::string::npos; }));
  JobRun second = study.Run(job);
  EXPECT_EQ(second.exit_code, 2) << second.errors;
  EXPECT_THAT(second.error(), HasSubstr("/id"));
  EXPECT_FALSE(Processes(study).empty());  // the first was not disturbed
  first.Signal(SIGTERM);
  EXPECT_EQ(first.Wait().results()["cancelled"], true);

  job["args"] = {"sh", "-c", "mkdir -p output; echo b > output/x.csv"};
  JobRun again = study.Run(job);
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.results()["audit"]["id"], job["id"].get<std::string>() + ".2");
  EXPECT_EQ(study.Carrel({"audit", "verify", job["id"]}).exit_code, 0);
  EXPECT_EQ(study.Carrel({"audit", "verify", job["id"].get<std::string>() + ".2"}).exit_code, 0);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

TEST(RunCrash, DryRunTouchesNothing) {
  Study study;
  Json job = study.Job("mkdir -p output; echo a > output/x.csv");
  auto before = Listing(study.path(), true);
  JobRun run = study.Run(job, {"--dry-run"});
  std::erase_if(before,
                [&](const std::string& line) { return line.starts_with(study.path() + " "); });
  auto after = Listing(study.path(), true);
  std::erase_if(after, [&](const std::string& line) {
    return line.starts_with(study.path() + " ") || line.starts_with(study.path() + "/run");
  });
  EXPECT_EQ(after, before);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(run.json["decision"]["allowed"], true);
  EXPECT_EQ(run.json["decision"]["project"], "internal");
  EXPECT_TRUE(run.json["plan"]["operations"].is_array()) << run.output;
  EXPECT_THAT(run.output, HasSubstr("/workspace/output"));

  job["image"] = "perl:v5";
  EXPECT_EQ(study.Run(job, {"--dry-run"}).exit_code, 3);
  // Not even on a host on which carrel has never run.
  const std::string fresh = study.path() + "/fresh";
  job["image"] = "python:v2";
  EXPECT_EQ(study.Run(job, {"--dry-run", "--state", fresh}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(fresh));
}

}  // namespace
}  // namespace carrel::testing_support
