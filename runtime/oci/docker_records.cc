#include "oci/docker_records.h"

#include "base/clock.h"

namespace carrel {
namespace {

PublicOutcome OutcomeOf(const Container& container, const Result<SandboxResult>& run,
                        const ContainerState& state) {
  if (!run) {
    const ErrorKind kind = run.error().kind;
    if (kind == ErrorKind::kRefused) return PublicOutcome::kRefused;
    return kind == ErrorKind::kBadInput ? PublicOutcome::kFailed : PublicOutcome::kFault;
  }
  if (run->end.failure || run->counts.lost > 0) return PublicOutcome::kFault;
  if (container.Killed() || run->end.cancelled || run->end.timed_out || state.oom_killed)
    return PublicOutcome::kKilled;
  return state.exit_code == 0 ? PublicOutcome::kSucceeded : PublicOutcome::kFailed;
}

}  // namespace

Json ContainerRecord(const ContainerConfig& config, const LaunchRequest& request,
                     const Decision& decision) {
  return {{"container", config.id},
          {"name", config.name},
          {"image", config.image_name},
          {"image_digest", config.image_digest},
          {"argv", request.argv},
          {"labels", config.labels},
          {"network", config.network},
          {"decision", ToJson(decision)},
          {"memory_bytes", request.limits.memory_bytes},
          {"time_seconds", request.limits.time_seconds}};
}

PublicJob PublicJobOf(const Container& container, const Decision& decision,
                      const std::string& image_digest, const Result<SandboxResult>& run,
                      const ContainerState& state, const AuditSeal& seal) {
  PublicJob job;
  job.job = container.config().audit_id;
  job.image_digest = image_digest;
  job.tool = decision.tool;
  job.project = decision.project;
  job.policy_digest = decision.policy_digest;
  job.policy_commit = decision.policy_commit;
  if (decision.database) job.database = decision.database->name;
  job.includes_opted_out = decision.include_type_one_opt_outs;
  job.permissions = decision.ehrql_permissions;
  job.started_ns = state.started_ns != 0 ? state.started_ns : NowNs();
  job.ended_ns = state.finished_ns;
  job.outcome = OutcomeOf(container, run, state);
  if (run) {
    job.seccomp_digest = run->seccomp_digest;
    job.counts = run->counts;
    job.statements = run->statements;
  }
  job.head = seal.head;
  return job;
}

}  // namespace carrel
