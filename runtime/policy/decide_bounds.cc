#include "policy/decide_bounds.h"

#include <algorithm>

#include "policy/names.h"

namespace carrel {

std::vector<std::string> DecideLevel4(const JobRequest& request, const Policy& policy,
                                      Decision& decision) {
  std::vector<std::string> refusals;
  decision.level4 = policy.level4;
  decision.decided_by["level4"] = "levels.json#/moderately_sensitive";
  Level4Policy& rules = decision.level4;
  if (request.level4_max_csv_rows > rules.max_csv_rows ||
      request.level4_max_filesize > rules.max_file_bytes)
    refusals.emplace_back(
        "the job asks for larger level 4 files than levels.json#/moderately_sensitive allows");
  if (request.level4_max_csv_rows > 0) rules.max_csv_rows = request.level4_max_csv_rows;
  if (request.level4_max_filesize > 0) rules.max_file_bytes = request.level4_max_filesize;
  for (const std::string& type : request.level4_file_types)
    if (std::find(rules.file_types.begin(), rules.file_types.end(), type) == rules.file_types.end())
      refusals.push_back("the job asks for level 4 files of type " + type +
                         ", which levels.json#/moderately_sensitive/file_types does not have");
  if (!request.level4_file_types.empty()) rules.file_types = request.level4_file_types;
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
