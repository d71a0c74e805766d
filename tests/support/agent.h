// Calls of the job agent's verbs, as the agent makes them: one process each, JSON back.
#pragma once

#include <atomic>

#include "support/study.h"

namespace carrel::testing_support {

/// What one verb answered.
struct VerbRun {
  int exit_code = -1;
  Json json;
  std::string errors;
  int64_t milliseconds = 0;
  std::string state() const { return JobRun::Member(json, "state", "").get<std::string>(); }
  Json results() const { return JobRun::Member(json, "results", Json::object()); }
};

/// The agent of a study's host.
class Agent {
 public:
  /// `program`: carrel, or the one with fault points.
  explicit Agent(Study& study, std::string program = CARREL_BINARY) : study_(study) {
    program_ = std::move(program);
  }

  VerbRun Call(const std::string& verb, const Json& job, std::vector<std::string> options = {},
               const std::string& fault = "") const {
    static std::atomic<int> calls = 0;  // a file for each: calls are made side by side
    const std::string file = study_.path() + "/job." + std::to_string(++calls) + ".json";
    WriteFile(file, job.dump());
    std::vector<std::string> args = {program_, verb, file, "--config", study_.config_path()};
    args.insert(args.end(), options.begin(), options.end());
    SubprocessOptions how;
    if (!fault.empty()) how.environment["CARREL_FAULT"] = fault;
    const auto begin = std::chrono::steady_clock::now();
    auto result = RunSubprocess(args, how);
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().ToString());
    VerbRun run;
    if (!result) return run;
    run.exit_code = result->exit_code;
    run.json = Json::parse(result->output, nullptr, false);
    run.errors = result->errors;
    run.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(
                           std::chrono::steady_clock::now() - begin)
                           .count();
    return run;
  }

  /// Asks for the status until it is none of those in which carrel works; the last answer.
  VerbRun Settle(const Json& job, int seconds = 60) const {
    VerbRun last;
    EXPECT_TRUE(WaitFor(
        [&] {
          last = Call("status", job);
          return last.state() != "preparing" && last.state() != "executing" &&
                 last.state() != "finalizing";
        },
        seconds))
        << last.json.dump(2);
    return last;
  }

  /// prepare, execute, finalize as the agent's loop does it: whatever the state is, the next verb.
  /// Returns the answer at the end: finalized, or error.
  VerbRun Drive(const Json& job) const {
    VerbRun now = Settle(job);
    for (int step = 0; step < 12; ++step) {
      if (now.state() == "unknown")
        now = Call("prepare", job);
      else if (now.state() == "prepared")
        now = Call("execute", job);
      else if (now.state() == "executed")
        now = Call("finalize", job);
      else
        return now;
      if (now.exit_code != 0) return now;
      now = Settle(job);
    }
    ADD_FAILURE() << "the loop does not end: " << now.json.dump(2);
    return now;
  }

 private:
  Study& study_;
  std::string program_;
};

}  // namespace carrel::testing_support
