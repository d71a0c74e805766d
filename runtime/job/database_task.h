// A short command of a database tool that makes no outputs: is the database in maintenance, when
// was it last loaded. It runs as a job does (policy, sandbox, audit log, public record), without
// code; what it may say is one word.
#pragma once

#include "base/result.h"
#include "job/job_runner.h"

namespace carrel {

/// The definition is a job's, with `allow_database_access` and without outputs; its repository and
/// commit are not used. Ended after a minute. The outcome's result is {id, state: "finished",
/// timestamp_ns, results: {exit_code, output, timed_out, audit}}: `output` is the last line that
/// the command printed when that is at most 64 letters, digits, '.', ':', '_' and '-', else null.
Result<JobOutcome> RunDatabaseTask(const RunJobOptions& options);

}  // namespace carrel
