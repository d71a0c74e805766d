// SIGKILL at every step of a job, to every process that works on it; then the agent's loop goes on
// to the end: the right results or a right error, and nothing left.
#include <gmock/gmock.h>

#include "support/agent.h"
#include "support/leftovers.h"

namespace carrel::testing_support {
namespace {

using ::testing::IsEmpty;

struct Fault {
  const char* verb;   ///< during which
  const char* fault;  ///< CARREL_FAULT
  bool completes;     ///< the loop comes to results; else to an error that says what was lost
};

// The points of the twelve steps are announced by the steps themselves (JobContext::Step).
constexpr Fault kFaults[] = {
    {"prepare", "verb-locked:kill", true},   {"prepare", "verb-started:kill", true},
    {"prepare", "supervisor:kill", true},    {"prepare", "step-2:kill", true},
    {"prepare", "step-3:kill", true},        {"prepare", "step-4:kill", true},
    {"prepare", "step-5:kill", true},        {"prepare", "step-5:kill-child", false},
    {"prepare", "prepared:kill", true},      {"execute", "verb-locked:kill", true},
    {"execute", "verb-started:kill", true},  {"execute", "supervisor:kill", true},
    {"execute", "executing:kill", false},    {"execute", "executing:kill-child", false},
    {"execute", "step-6:kill", false},       {"execute", "step-7:kill", false},
    {"execute", "step-8:kill", false},       {"execute", "step-9:kill", false},
    {"execute", "step-10:kill", false},      {"execute", "step-10:kill-child", false},
    {"execute", "executed:kill", false},     {"finalize", "verb-locked:kill", true},
    {"finalize", "verb-started:kill", true}, {"finalize", "supervisor:kill", true},
    {"finalize", "finalizing:kill", true},   {"finalize", "step-11:kill", true},
    {"finalize", "collect:kill", true},      {"finalize", "step-12:kill", true},
    {"finalize", "sealed:kill", true},       {"finalize", "published:kill", true},
    {"finalize", "finalized:kill", true},
};

std::vector<std::string> LeftoversOfJobs(const Study& study) {
  std::vector<std::string> found = SettledLeftovers(study);
  for (const char* place : {"/jobs", "/staging"})
    for (const std::string& line : Listing(study.state() + place))
      if (!line.starts_with(study.state() + place + " ")) found.push_back(line);
  for (const std::string& root : {study.high(), study.medium()})
    for (const std::string& line : Listing(root))
      if (line.find("/.") != std::string::npos) found.push_back(line);
  return found;
}

void CheckRecords(const Study& study, const Json& job, const VerbRun& end, bool completes) {
  const std::string id = job["id"];
  const std::string name = "output/" + id + ".csv";
  EXPECT_EQ(end.state(), "finalized") << end.json.dump(2) << end.errors;
  const Json manifest = study.Manifest();
  EXPECT_TRUE(manifest.is_object());
  const Json metadata = study.Metadata(id);
  EXPECT_TRUE(metadata.is_object());
  EXPECT_EQ(end.results()["succeeded"], completes) << end.json.dump(2);
  if (completes) {
    EXPECT_EQ(ReadFile(study.level3(name)).value_or(""), id + "\n");
    EXPECT_EQ(manifest["outputs"][name]["job_id"], id);
    EXPECT_EQ(metadata["exit_code"], "0");
  } else {
    EXPECT_FALSE(std::filesystem::exists(study.level3(name)));
    EXPECT_FALSE(manifest["outputs"].contains(name));
    EXPECT_TRUE(metadata["exit_code"] != "0" || metadata["error"].is_string());
  }
}

// Every log of the job has an end and a seal. One whose supervisor died while the action ran says
// itself that events were lost: that is no alteration.
void CheckLogs(Study& study, const std::string& id, bool completes) {
  int logs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(study.state() + "/audit")) {
    const std::string name = entry.path().stem();
    if (name != id && !name.starts_with(id + ".")) continue;
    ++logs;
    auto verified = study.Carrel({"audit", "verify", name});
    if (completes)
      EXPECT_EQ(verified.exit_code, 0) << name << verified.output << verified.errors;
    else
      EXPECT_EQ(verified.output.find("altered"), std::string::npos) << verified.output;
    EXPECT_EQ((verified.output + verified.errors).find("no seal"), std::string::npos)
        << name << verified.output;
  }
  EXPECT_GE(logs, 1);
}

Json QuickJob(Study& study) {
  Json job = study.Job("mkdir -p output; echo a > output/x.csv");
  job["output_spec"] = {{"output/x.csv", "highly_sensitive"}};
  return job;
}

// The agent gives up a job whose finalize was killed, and cleans up at once.
TEST(VerbsKill, AKilledFinalizeCanBeCleanedUp) {
  Study study;
  Agent agent(study, CARREL_FAULTS);
  for (const char* fault : {"finalizing:kill", "collect:kill", "sealed:kill"}) {
    SCOPED_TRACE(fault);
    const Json job = QuickJob(study);
    for (const char* verb : {"prepare", "execute"}) {
      agent.Call(verb, job);
      agent.Settle(job);
    }
    agent.Call("finalize", job, {}, fault);
    EXPECT_EQ(agent.Settle(job).state(), "executed");
    const VerbRun cleaned = agent.Call("cleanup", job);
    EXPECT_EQ(cleaned.exit_code, 0) << cleaned.errors;
    EXPECT_EQ(cleaned.state(), "unknown");
    EXPECT_THAT(LeftoversOfJobs(study), IsEmpty());
    CheckLogs(study, job["id"], true);
  }
}

// A cancellation that was killed has sealed the log of a job that is still prepared.
TEST(VerbsKill, APreparedJobWhoseLogIsSealedIsPreparedAgain) {
  Study study;
  Agent agent(study, CARREL_FAULTS);
  const Json job = QuickJob(study);
  agent.Call("prepare", job);
  agent.Settle(job);
  agent.Call("finalize", job, {"--cancelled"}, "sealed:kill");
  EXPECT_EQ(agent.Settle(job).state(), "prepared");
  const VerbRun again = agent.Call("execute", job);
  EXPECT_EQ(again.state(), "unknown") << again.json.dump(2);
  EXPECT_EQ(again.results()["retry"], true);
  EXPECT_EQ(agent.Drive(job).results()["succeeded"], true);
  EXPECT_EQ(agent.Call("cleanup", job).exit_code, 0);
  EXPECT_THAT(LeftoversOfJobs(study), IsEmpty());
}

TEST(VerbsKill, AtEveryStepTheLoopComesToARightEnd) {
  Study study;
  Agent agent(study, CARREL_FAULTS);
  for (const Fault& fault : kFaults) {
    SCOPED_TRACE(std::string(fault.verb) + " " + fault.fault);
    Json job = study.Job("");
    const std::string id = job["id"];
    const std::string name = "output/" + id + ".csv";
    job["args"] = {"sh", "-c", "mkdir -p output; sleep 0.2; echo " + id + " > " + name};
    job["output_spec"] = {{name, "highly_sensitive"}};
    job["action"] = "act-" + id;
    for (const char* before : {"prepare", "execute", "finalize"}) {
      if (before == std::string(fault.verb)) break;
      agent.Call(before, job);
      agent.Settle(job);
    }
    agent.Call(fault.verb, job, {}, fault.fault);
    VerbRun end = agent.Drive(job);
    if (end.state() == "error") {
      EXPECT_EQ(agent.Call("finalize", job).exit_code, 0);
      end = agent.Settle(job);
    }
    CheckRecords(study, job, end, fault.completes);
    EXPECT_EQ(agent.Call("cleanup", job).exit_code, 0);
    EXPECT_THAT(LeftoversOfJobs(study), IsEmpty());
    CheckLogs(study, id, fault.completes);
  }
}

}  // namespace
}  // namespace carrel::testing_support
