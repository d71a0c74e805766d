// `carrel run`: a job from its definition to its results, in the twelve steps of architecture.md.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

struct RunJobOptions {
  std::string definition;  ///< path of the job definition
  std::string config;      ///< path of the configuration; "" for the default
  std::string state;       ///< replaces the configuration's, when not empty
  bool dry_run = false;    ///< decision and plan only; nothing is touched
  /// Human progress: step 1 to 12 and what it does.
  std::function<void(int step, const std::string& what)> progress = [](int, const std::string&) {};
};

struct JobOutcome {
  bool succeeded = false;  ///< the action ended with 0 and made what it declared
  OrderedJson result;      ///< what `carrel run` prints
};

/// An Error says that the job did not come to a result: bad input and refusals changed nothing but
/// the audit log; after a fault nothing of the job is left. A failed action is an outcome.
Result<JobOutcome> RunJob(const RunJobOptions& options);

}  // namespace carrel
