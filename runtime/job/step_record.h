// What a later phase must know of the earlier ones when each runs in a process of its own: a JSON
// object in the job's directory, which only root can write.
#pragma once

#include "job/job_records.h"

namespace carrel {

/// Everything of `records` but host, job, places and what Finalize itself makes. Of the decision
/// what collection and records need; grants are decided anew by whoever starts the action. No
/// environment values.
Json ToStepRecord(const JobRecords& records);

/// kFault when it is not such an object.
Result<void> FromStepRecord(const Json& value, JobRecords& records);

}  // namespace carrel
