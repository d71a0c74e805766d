// `carrel pipeline run`: the actions of a project, each as a `carrel run` of its own, in an order
// that their needs allow and side by side within limits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "pipeline/project.h"
#include "pipeline/work_tree.h"
#include "policy/host_config.h"

namespace carrel {

enum class ActionState {
  kWaiting,
  kRunning,
  kSucceeded,
  kUpToDate,
  kFailed,   ///< the action's own failure
  kRefused,  ///< by the policy
  kError,    ///< bad input, or a fault of carrel
  kSkipped,  ///< needs an action that did not succeed
  kCancelled,
};
/// "waiting", "running", "succeeded", "up to date"...
const char* StateName(ActionState state);
bool IsGood(ActionState state);

/// One action of a run, as it stands.
struct ActionRun {
  std::string name;
  ActionState state = ActionState::kWaiting;
  std::string job_id;
  std::string message;        ///< of its end; may hold what a study called things
  int step = 0;               ///< of the job's twelve, while it runs
  int64_t started_ns = 0;     ///< CLOCK_MONOTONIC
  int64_t duration_ms = 0;    ///< of the whole job, after its end
  uint64_t memory_bytes = 0;  ///< now, while it runs; then its peak
  int exit_status = 0;        ///< of `carrel run`, or of the error before it
  Json result;                ///< what `carrel run` printed
};

struct PipelineRequest {
  std::string config;  ///< the configuration's path, for the jobs; may be empty
  std::string state;   ///< replaces the configuration's; may be empty
  HostConfig host;     ///< the same, loaded
  const ProjectFile* project = nullptr;
  const WorkTree* tree = nullptr;
  std::vector<std::string> actions;  ///< none: all
  std::string workspace;
  std::string project_id;  ///< or empty: the policy maps the workspace
  std::string user;
  std::string database = "default";
  uint32_t jobs = 1;          ///< side by side, at most
  uint64_t memory_bytes = 0;  ///< of one action; 0: the policy's default
  uint64_t cpu_milli = 0;     ///< of one action; 0: the policy's default, at most its share
  bool force = false;         ///< also what is up to date
  /// Called when an action's state or step changed, and once a second; all actions in order.
  std::function<void(const std::vector<ActionRun>&)> progress;
  /// Asked several times a second; true cancels, as a signal does. May be empty.
  std::function<bool(const std::vector<ActionRun>&)> cancel;
};

struct PipelineResult {
  std::vector<ActionRun> actions;  ///< in the order of their start
  bool cancelled = false;
  int64_t duration_ms = 0;

  /// 0: all succeeded or were up to date; 130: cancelled; 70: a fault; 3: one was refused; 2: bad
  /// input of one; 1: one failed.
  int exit_status() const;
};

/// Runs until every action has ended. INT, TERM and HUP cancel: nothing is left. An Error: no
/// action was started.
Result<PipelineResult> RunPipeline(const PipelineRequest& request);

}  // namespace carrel
