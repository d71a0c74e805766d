#include "pipeline/job_file.h"

#include <algorithm>

#include "base/digest.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr uint64_t kLeastCpu = 500;

uint64_t DefaultOf(const PipelineRequest& request, const Policy& policy, const char* name) {
  uint64_t value = 0;
  for (const PartialLimits* limits : {&request.host.default_limits, &policy.default_limits})
    if (auto found = limits->find(name); found != limits->end()) value = found->second;
  for (const PartialLimits* limits : {&request.host.maximum_limits, &policy.maximum_limits})
    if (auto found = limits->find(name); found != limits->end())
      value = std::min(value, found->second);
  return value;
}

bool ReachesDatabase(const Policy& policy, const ProjectAction& action) {
  const auto image = ParseImageReference(action.image);
  if (!image) return false;
  for (const auto& [name, tool] : policy.tools) {
    if (std::find(tool.images.begin(), tool.images.end(), image->name) == tool.images.end())
      continue;
    auto command = tool.commands.find(action.args.empty() ? "" : action.args[0]);
    if (command != tool.commands.end()) return command->second.database;
    return tool.any_command && tool.any_command->database;
  }
  return false;
}

}  // namespace

ActionShare ShareOf(const PipelineRequest& request, const Policy& policy, uint32_t processors) {
  ActionShare share{request.memory_bytes, request.cpu_milli};
  if (share.memory_bytes == 0) share.memory_bytes = DefaultOf(request, policy, "memory");
  if (share.cpu_milli == 0) {
    const uint64_t most =
        std::max<uint64_t>(kLeastCpu, uint64_t{processors} * 1000 / std::max(1u, request.jobs));
    share.cpu_milli = std::min(DefaultOf(request, policy, "cpus"), most);
  }
  return share;
}

Json JobFile(const JobFileInput& input) {
  const PipelineRequest& request = input.request;
  Json outputs = Json::object(), env = Json::object();
  for (const ProjectOutput& output : input.action.outputs)
    outputs[output.pattern] = LevelName(output.level);
  if (!request.host.backend.empty()) env["OPENSAFELY_BACKEND"] = request.host.backend;
  Json job = {{"id", input.id},
              {"rap_id", input.run_id},
              {"task_id", input.id + "-001"},
              {"repo_url", request.tree->repo_url},
              {"commit", request.tree->commit},
              {"study",
               {{"git_repo_url", request.tree->repo_url},
                {"commit", request.tree->commit},
                {"branch", request.tree->branch}}},
              {"workspace", request.workspace},
              {"action", input.action.name},
              {"created_at", input.now_s},
              {"image", input.action.image},
              {"image_sha", input.image_digest},
              {"args", input.action.args},
              {"env", env},
              {"inputs", Json::array()},
              {"input_job_ids", input.input_job_ids},
              {"output_spec", outputs},
              {"allow_database_access", ReachesDatabase(input.policy, input.action)},
              {"user", request.user},
              {"database_name", request.database},
              {"cpu_count", static_cast<double>(input.share.cpu_milli) / 1000},
              {"memory_limit", input.share.memory_bytes}};
  if (input.image_digest.empty()) job.erase("image_sha");
  if (!request.project_id.empty()) job["project"] = request.project_id;
  return job;
}

std::string Fingerprint(const JobFileInput& input,
                        const std::map<std::string, std::map<std::string, std::string>>& needs) {
  Json job = JobFile(input);
  // What differs from run to run and has no effect on what is made.
  for (const char* member : {"id", "rap_id", "task_id", "created_at", "input_job_ids", "cpu_count"})
    job.erase(member);
  return Sha256Hex(Json{{"job", job}, {"needs", needs}, {"policy", input.policy.digest}}.dump());
}

}  // namespace carrel
