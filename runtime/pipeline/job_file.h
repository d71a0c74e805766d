// What an action becomes: the job definition that the agent would write for it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "pipeline/runner.h"
#include "policy/policy.h"

namespace carrel {

/// What the resources of one action are in a run, of the request, the policy and the host.
struct ActionShare {
  uint64_t memory_bytes = 0;
  uint64_t cpu_milli = 0;
};
ActionShare ShareOf(const PipelineRequest& request, const Policy& policy, uint32_t processors);

struct JobFileInput {
  const PipelineRequest& request;
  const Policy& policy;
  const ProjectAction& action;
  std::string id;
  std::string run_id;        ///< rap_id of all jobs of the run
  std::string image_digest;  ///< or empty
  std::vector<std::string> input_job_ids;
  ActionShare share;
  int64_t now_s = 0;
};

/// The definition. Database access is asked for where the policy lets the tool's command have one.
Json JobFile(const JobFileInput& input);

/// A digest of all that decides what the action makes: code, image, arguments, outputs, needs'
/// outputs (path to SHA-256), database, policy.
std::string Fingerprint(const JobFileInput& input,
                        const std::map<std::string, std::map<std::string, std::string>>& needs);

}  // namespace carrel
