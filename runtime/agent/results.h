// `results` of the agent's answers: what may leave the secure environment. No output name, no
// pattern, no hint that could quote one.
#pragma once

#include "job/job_records.h"

namespace carrel {

OrderedJson ExecutedResults(const JobRecords& records);
OrderedJson FinalizedResults(const JobRecords& records);

}  // namespace carrel
