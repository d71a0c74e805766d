// What a job's supervisor does: one phase, from the step record before it to the one after it.
#pragma once

#include "agent/supervisor.h"
#include "agent/verbs.h"
#include "audit/public_log.h"

namespace carrel {

/// Each writes the job's next step, also when the phase fails; an Error says that not even that
/// could be done.
Result<void> PreparePhase(const VerbJob& job, const JobDir& dir, const Ready& ready);
Result<void> ExecutePhase(const VerbJob& job, const JobDir& dir, const JobStep& before,
                          const Ready& ready);
Result<void> FinalizePhase(const VerbJob& job, const JobDir& dir, const JobStep& before,
                           const FinalizeOptions& options);

/// Seals the audit log of a job that will not be finalized, with `reason` as its last record, and
/// sees to it that it has a public record, with `outcome` if it has none yet.
Result<void> CloseLog(const HostConfig& host, const JobDir& dir, const JobStep& step,
                      const std::string& reason, PublicOutcome outcome);

/// Why a lost job is lost, in a sentence for the researcher; "" for one that is not.
std::string LostReason(const JobStep& step);

}  // namespace carrel
