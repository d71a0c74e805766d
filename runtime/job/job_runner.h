// A job from its definition to its results, in the twelve steps of architecture.md. `carrel run`
// takes them all; the job agent's verbs call the phases one by one, each in a process of its own.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

struct JobContext;

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
  std::string status;      ///< one line for a person; no name or pattern of an output
  size_t withheld = 0;     ///< outputs that were not released to level 4
};

/// An Error says that the job did not come to a result: bad input and refusals changed nothing but
/// the audit log; after a fault nothing of the job is left. A failed action is an outcome.
Result<JobOutcome> RunJob(const RunJobOptions& options);

/// Steps 3 to 5: audit log, image, code and inputs, in job.place. The job has been decoded and
/// decided; a refusal is recorded, and ends here.
Result<void> PrepareJob(JobContext& job);

/// Steps 6 to 10. How the action ended is in job.records.run; an Error says that there is no
/// trustworthy run.
Result<void> ExecuteJob(JobContext& job);

/// Steps 11 and 12: outputs by level (none when the job was cancelled or never ran), then the
/// records.
Result<JobOutcome> FinalizeJob(JobContext& job);

}  // namespace carrel
