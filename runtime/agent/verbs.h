// The job agent's verbs (contract.md, "Verbs and states"). Each can be called at any time, twice,
// or twice at once; each answers within a second or so, while a supervisor of the job's own does
// what takes longer.
//
//   verb ──lock──► state? ──► fork ──► supervisor (own session, no terminal) ──► next step.json
//     └── answers after at most half a second, with the state as it is then
#pragma once

#include <string>

#include "agent/job_dir.h"
#include "job/job_definition.h"
#include "policy/host_config.h"

namespace carrel {

/// A job as the agent gives it with every verb.
struct VerbJob {
  HostConfig host;
  Json definition;
  JobDefinition job;
};

/// Reads configuration and definition; kBadInput names the file. `config` and `state` as for
/// `carrel run`.
Result<VerbJob> LoadVerbJob(const std::string& config, const std::string& state,
                            const std::string& definition_path);
/// The same from a definition that is at hand.
Result<VerbJob> MakeVerbJob(const HostConfig& host, Json definition);

/// What a verb answers. `results` leave the secure environment: no output name or pattern.
struct VerbAnswer {
  JobState state = JobState::kUnknown;
  int64_t timestamp_ns = 0;
  OrderedJson results = OrderedJson::object();
  /// When the state is kError by what this call did: who has to act, for the exit status.
  std::optional<ErrorKind> failed;

  OrderedJson ToJson() const;
};

/// What the agent is told of an Error: state "error", results.error, results.kind ("bad_input",
/// "refused" or "fault"), results.retry when the same call may succeed later.
VerbAnswer AnswerOf(const Error& error);

struct FinalizeOptions {
  bool cancelled = false;  ///< no outputs, but log and metadata
  std::string error;       ///< of the agent: recorded, no outputs; empty: none
};

/// unknown -> preparing -> prepared. A job whose preparation was lost (killed, host restarted) is
/// prepared anew. In any other state: the state.
Result<VerbAnswer> PrepareVerb(const VerbJob& job);
/// prepared -> executing -> executed. kBadInput when the job is not prepared.
Result<VerbAnswer> ExecuteVerb(const VerbJob& job);
/// Changes nothing. What was executing when its supervisor or the host died is in state error, with
/// results.lost "supervisor" or "restart".
/// A finished job that was given as another task than `task` ("": any) is unknown.
Result<VerbAnswer> StatusVerb(const HostConfig& host, const std::string& id,
                              const std::string& task = "");
/// executed -> finalizing -> finalized. With options also from every other state that no process
/// works on; a job that is lost is finalized with its error and without outputs.
Result<VerbAnswer> FinalizeVerb(const VerbJob& job, const FinalizeOptions& options);
/// Ends a running action at once, as cancelled; a preparation is given up.
Result<VerbAnswer> TerminateVerb(const HostConfig& host, const std::string& id);
/// As an operator's kill: the action's end is not a cancellation, its exit status is 137.
Result<VerbAnswer> KillVerb(const HostConfig& host, const std::string& id);
/// Ends what runs and removes everything but the records. A finalized job stays known as that; any
/// other is unknown afterwards.
Result<VerbAnswer> CleanupVerb(const HostConfig& host, const std::string& id);

}  // namespace carrel
