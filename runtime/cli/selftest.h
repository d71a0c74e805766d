// `carrel selftest`: the test studies on a deployed host, and what came of them.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "pipeline/runner.h"

namespace carrel {

/// One run of a study, as its expected.json has it.
struct TestRun {
  std::string name;
  std::string project;  ///< "internal", "listed" (opted-out patients in) or "unlisted"
  std::string memory;   ///< of an action, or empty
  std::string cancel;   ///< the action at whose start the run is cancelled, or empty
  int exit_status = 0;
  Json limits = Json::object();  ///< maxima of the host's configuration
  std::map<std::string, Json> actions;
};

/// A directory with project.yaml and expected.json.
struct TestStudy {
  std::string name, directory, description;
  std::set<std::string> images;          ///< that the host must have
  bool database = false;                 ///< needs one
  std::set<std::string> database_kinds;  ///< that its tool reads; empty: any
  std::string truth;                     ///< its output that holds what rows are compared with
  std::vector<TestRun> runs;
};

/// One thing that was looked at.
struct Check {
  enum class Outcome { kPassed, kFailed, kSkipped };
  std::string study, run, action, what;
  Outcome outcome = Outcome::kPassed;
  std::string detail;  ///< why not
};

/// What a run came to, beside the checks.
struct TestRunResult {
  std::string study, run, commit;
  int exit_status = 0;
  std::vector<ActionRun> actions;
};

struct SelftestReport {
  std::string name;       ///< of the directory below <state>/selftest
  std::string directory;  ///< its path
  std::string policy_digest;
  int64_t begun_s = 0, ended_s = 0;
  bool cancelled =
      false;  ///< by who called it: the study that ran, and those after it, have no checks
  std::vector<Check> checks;
  std::vector<TestRunResult> runs;

  size_t Count(Check::Outcome outcome) const;
};

/// The studies below `directory`, those that others need first. A directory without expected.json
/// is none; one whose expected.json has a key that nobody reads is an error: it would check
/// nothing.
Result<std::vector<TestStudy>> ReadStudies(const std::string& directory);

/// Looks at one run of a study: its exit status, each action's end, outputs, log and audit log.
/// `truth` has the numbers that rows are compared with.
std::vector<Check> CheckRun(const TestStudy& study, const TestRun& run,
                            const PipelineResult& result, const HostConfig& host,
                            const std::map<std::string, int64_t>& truth);

/// The numbers of the study's truth: a CSV of one row.
Result<std::map<std::string, int64_t>> ReadTruth(const TestStudy& study, const HostConfig& host);

OrderedJson SelftestJson(const SelftestReport& report);
std::string SelftestJunit(const SelftestReport& report);
void PrintSelftest(const SelftestReport& report);

/// `carrel selftest compare`: what behaves differently. 0: nothing.
int CompareSelftests(const std::string& state, const std::string& before, const std::string& after,
                     bool json);

}  // namespace carrel
