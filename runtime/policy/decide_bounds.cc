#include "policy/decide_bounds.h"

#include <algorithm>

#include "policy/names.h"

namespace carrel {

namespace {

// A number that the job asks for, or what is usual where it does not say (0: the policy's most).
void TakeNumber(const JobRequest& request, const char* name, int64_t asked, int64_t& most,
                std::vector<std::string>& refusals) {
  if (asked > most && !request.level4_unsaid.contains(name))
    refusals.push_back("the job asks for " + std::string(name) + " " + std::to_string(asked) +
                       "; levels.json#/moderately_sensitive allows " + std::to_string(most));
  if (asked > 0) most = std::min(most, asked);
}

void TakeFileTypes(const JobRequest& request, std::vector<std::string>& types,
                   std::vector<std::string>& refusals) {
  if (request.level4_file_types.empty()) return;
  std::vector<std::string> granted;
  for (const std::string& type : request.level4_file_types) {
    if (std::find(types.begin(), types.end(), type) != types.end())
      granted.push_back(type);
    else if (!request.level4_unsaid.contains("level4_file_types"))
      refusals.push_back("the job asks for level 4 files of type " + type +
                         ", which levels.json#/moderately_sensitive/file_types does not have");
  }
  types = std::move(granted);
}

}  // namespace

std::vector<std::string> DecideLevel4(const JobRequest& request, const Policy& policy,
                                      Decision& decision) {
  std::vector<std::string> refusals;
  decision.level4 = policy.level4;
  decision.decided_by["level4"] = "levels.json#/moderately_sensitive";
  Level4Policy& rules = decision.level4;
  TakeNumber(request, "level4_max_csv_rows", request.level4_max_csv_rows, rules.max_csv_rows,
             refusals);
  TakeNumber(request, "level4_max_filesize", request.level4_max_filesize, rules.max_file_bytes,
             refusals);
  TakeFileTypes(request, rules.file_types, refusals);
  return refusals;
}

std::vector<std::string> DecideLimits(const JobRequest& request, const Policy& policy,
                                      const HostConfig& host, const Tool* tool,
                                      Decision& decision) {
  std::vector<std::string> refusals;
  Limits& limits = decision.limits;
  ApplyLimits(host.default_limits, limits);
  ApplyLimits(policy.default_limits, limits);
  if (tool != nullptr) ApplyLimits(tool->limits, limits);
  if (request.memory_bytes > 0) limits.memory_bytes = request.memory_bytes;
  if (request.cpu_milli > 0) limits.cpu_milli = request.cpu_milli;
  const Limits wanted = limits;
  CapLimits(host.maximum_limits, limits);
  CapLimits(policy.maximum_limits, limits);
  limits.file_bytes = std::min(limits.file_bytes, limits.scratch_bytes);
  decision.decided_by["limits"] = "limits.json";
  if (request.memory_bytes > 0 && wanted.memory_bytes > limits.memory_bytes)
    refusals.push_back("the job asks for " + HumanBytes(wanted.memory_bytes) +
                       " of memory; the most is " + HumanBytes(limits.memory_bytes));
  if (request.cpu_milli > 0 && wanted.cpu_milli > limits.cpu_milli)
    refusals.push_back("the job asks for " + HumanCpus(wanted.cpu_milli) +
                       " processors; the most is " + HumanCpus(limits.cpu_milli));
  return refusals;
}

}  // namespace carrel
