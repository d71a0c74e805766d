// Years of the job agent in minutes: many jobs, many at once, kills at any moment, disks that fill.
// Too long for every run of the tests: built and run by hand,
//
//   cmake --build --preset release --target endurance
//   build/release/tests/endurance [--gtest_filter=...]
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <random>

#include "support/agent.h"
#include "support/leftovers.h"

namespace carrel::testing_support {
namespace {

using ::testing::IsEmpty;

constexpr int kMostIds = 64;

// A job that writes its own name.
Json NamedJob(Study& study, const std::string& workspace = "demo") {
  Json job = study.Job("");
  const std::string id = job["id"], name = "output/" + id + ".csv";
  job["workspace"] = workspace;
  job["action"] = "act-" + id;
  job["args"] = {"sh", "-c", "mkdir -p output; sleep 0.05; echo " + id + " > " + name};
  job["output_spec"] = {{name, "highly_sensitive"}};
  return job;
}

void Prepare(Study& study) {
  study.config()["uid_range"]["count"] = kMostIds;
  study.config()["uid_range"]["start"] = 1'200'000'000;
  study.WriteConfig();
}

// What must not grow from job to job: everything of the host's that carrel uses, but for what a job
// is meant to leave (results, logs).
std::map<std::string, size_t> Footprint(const Study& study) {
  std::map<std::string, size_t> out;
  out["leftovers"] = Leftovers(study).size();
  out["mounts"] = LinesWith(ReadFile("/proc/self/mountinfo").value_or(""), "").size();
  for (const char* place : {"/run", "/jobs", "/staging"})
    out[place] = Listing(study.state() + place).size();
  for (const auto& entry : std::filesystem::directory_iterator("/proc"))
    out["processes"] += entry.path().filename().string()[0] <= '9';
  return out;
}

void Print(const char* what, std::vector<int64_t> milliseconds) {
  ASSERT_FALSE(milliseconds.empty());
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("%s: %zu, median %lld ms, 99 in 100 under %lld ms, longest %lld ms\n", what,
              milliseconds.size(), static_cast<long long>(milliseconds[milliseconds.size() / 2]),
              static_cast<long long>(milliseconds[milliseconds.size() * 99 / 100]),
              static_cast<long long>(milliseconds.back()));
}

/// The agent's loop over some jobs, one step of each in turn, as the real agent does it.
class Loop {
 public:
  Loop(Study& study, Agent& agent) : study_(study), agent_(agent) {}

  void Run(std::vector<Json> jobs) {
    while (!jobs.empty()) {
      std::erase_if(jobs, [&](const Json& job) { return Step(job); });
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  std::vector<int64_t> times;

 private:
  VerbRun Call(const char* verb, const Json& job) {
    VerbRun run = agent_.Call(verb, job);
    times.push_back(run.milliseconds);
    return run;
  }
  bool Step(const Json& job) {
    const VerbRun now = Call("status", job);
    const std::string state = now.state();
    if (state == "unknown") Call("prepare", job);
    if (state == "prepared") Call("execute", job);
    if (state == "executed") Call("finalize", job);
    if (state != "finalized" && state != "error") return false;
    const std::string id = job["id"], name = "output/" + id + ".csv";
    EXPECT_EQ(now.results()["succeeded"], true) << now.json.dump(2);
    const std::string file =
        study_.high() + "/workspaces/" + job["workspace"].get<std::string>() + "/" + name;
    EXPECT_EQ(ReadFile(file).value_or(""), id + "\n");
    EXPECT_EQ(Call("cleanup", job).exit_code, 0);
    return true;
  }
  Study& study_;
  Agent& agent_;
};

TEST(Endurance, AThousandJobsInARow) {
  Study study;
  Prepare(study);
  Agent agent(study);
  Loop loop(study, agent);
  std::map<std::string, size_t> first;
  for (int i = 0; i < 1000; ++i) {
    loop.Run({NamedJob(study)});
    if (i == 20) first = Footprint(study);
  }
  Print("calls of verbs, one job at a time", loop.times);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
  for (const auto& [what, count] : Footprint(study))
    EXPECT_LE(count, first[what] + 5) << what;  // the machine's own processes come and go
  EXPECT_LE(Listing(study.state() + "/ids").size(), kMostIds + 1u);  // a lock each
  EXPECT_EQ(study.Manifest()["outputs"].size(), 1000u);
  const auto verified = study.Carrel({"audit", "verify", "--all"});
  EXPECT_EQ(verified.exit_code, 0) << verified.errors;
}

TEST(Endurance, FiftyJobsAtOnce) {
  Study study;
  Prepare(study);
  Agent agent(study);
  for (int round = 0; round < 4; ++round) {
    Loop loop(study, agent);
    std::vector<Json> jobs;
    for (int i = 0; i < 50; ++i) jobs.push_back(NamedJob(study));
    loop.Run(std::move(jobs));
    Print("calls of verbs, fifty jobs at once", loop.times);
    EXPECT_THAT(SettledLeftovers(study), IsEmpty());
  }
  EXPECT_EQ(study.Manifest()["outputs"].size(), 200u);
}

TEST(Endurance, TwoFinalizesAtOnceFiveHundredTimes) {
  Study study;
  Prepare(study);
  Agent agent(study);
  for (int i = 0; i < 500; ++i) {
    std::vector<Json> pair = {NamedJob(study), NamedJob(study)};
    for (const Json& job : pair) {
      agent.Call("prepare", job);
      agent.Settle(job);
      agent.Call("execute", job);
    }
    for (const Json& job : pair) EXPECT_EQ(agent.Settle(job).state(), "executed");
    std::vector<std::thread> both;
    for (const Json& job : pair) both.emplace_back([&agent, &job] { agent.Call("finalize", job); });
    for (std::thread& thread : both) thread.join();
    for (const Json& job : pair) {
      EXPECT_EQ(agent.Settle(job).results()["succeeded"], true);
      agent.Call("cleanup", job);
    }
    ASSERT_EQ(study.Manifest()["outputs"].size(), 2u * (static_cast<size_t>(i) + 1));
  }
}

// Any process of carrel's, at any moment of a job; the agent's loop then comes to an end that is
// right: the results, or an error.
TEST(Endurance, TwoHundredKillsAtAnyMoment) {
  Study study;
  Prepare(study);
  Agent agent(study);
  std::mt19937 random(20261122);
  int killed = 0, lost = 0;
  while (killed < 200) {
    const Json job = NamedJob(study);
    const std::string id = job["id"], name = "output/" + id + ".csv";
    std::atomic<bool> done = false;
    const int delay = static_cast<int>(random() % 600);
    const uint32_t which = random();
    std::thread killer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
      while (!done) {
        const std::vector<std::string> processes = Processes(study);
        if (processes.empty()) continue;
        const pid_t pid = std::stoi(processes[which % processes.size()]);
        if (::kill(pid, SIGKILL) == 0) ++killed;
        return;
      }
    });
    VerbRun end = agent.Drive(job);
    done = true;
    killer.join();
    if (end.state() != "finalized") {  // the verb itself was killed, or the job was lost
      agent.Call("finalize", job);
      end = agent.Drive(job);
    }
    ASSERT_TRUE(end.state() == "finalized" || end.state() == "error") << end.json.dump(2);
    const bool succeeded = end.results().value("succeeded", false);
    lost += !succeeded;
    EXPECT_EQ(study.Manifest()["outputs"].contains(name), succeeded);
    EXPECT_EQ(ReadFile(study.level3(name)).value_or(""), succeeded ? id + "\n" : "");
    EXPECT_EQ(agent.Call("cleanup", job).exit_code, 0);
    EXPECT_THAT(SettledLeftovers(study), IsEmpty()) << id << " delay " << delay;
  }
  std::printf("killed %d, jobs lost %d\n", killed, lost);
}

// The disk of the state directory fills while each verb works; with room again the loop ends well,
// or with an error that says so.
TEST(Endurance, FullDisks) {
  for (const char* verb : {"prepare", "execute", "finalize"}) {
    for (uint64_t free : {0ull, 4ull << 10, 64ull << 10, 512ull << 10, 2ull << 20}) {
      SCOPED_TRACE(std::string(verb) + " with " + std::to_string(free));
      Study study(Study::StateOn::kSmallDisk);
      Agent agent(study);
      const Json job = NamedJob(study);
      for (const char* before : {"prepare", "execute", "finalize"}) {
        if (before == std::string(verb)) break;
        agent.Call(before, job);
        agent.Settle(job);
      }
      study.state_disk().SetFree(free);
      agent.Call(verb, job);
      agent.Settle(job);
      study.state_disk().Resize(1u << 30);
      VerbRun end = agent.Drive(job);
      if (end.state() == "error") {
        EXPECT_EQ(agent.Call("finalize", job).exit_code, 0);
        end = agent.Settle(job);
      }
      EXPECT_EQ(end.state(), "finalized") << end.json.dump(2);
      if (end.results()["succeeded"] != true) {
        EXPECT_THAT(end.json.dump(), ::testing::HasSubstr("space")) << end.json.dump(2);
      }
      EXPECT_EQ(agent.Call("cleanup", job).exit_code, 0);
      EXPECT_THAT(SettledLeftovers(study), IsEmpty());
    }
  }
}

}  // namespace
}  // namespace carrel::testing_support
