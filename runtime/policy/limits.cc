#include "policy/limits.h"

#include <algorithm>
#include <cmath>

#include "policy/names.h"

namespace carrel {
namespace {

bool IsSize(std::string_view name) { return name == "memory" || name.ends_with("_bytes"); }

std::optional<uint64_t> DecodeOne(const Json& value, const std::string& name) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (IsSize(name)) return ParseByteSize(text);
    if (name == "cpus") return ParseMilliCpus(text);
    return std::nullopt;
  }
  if (name == "cpus" && value.is_number()) {
    const double cpus = value.get<double>();
    if (cpus > 0 && cpus < 1e6) return static_cast<uint64_t>(std::llround(cpus * 1000));
    return std::nullopt;
  }
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return std::nullopt;
}

}  // namespace

const std::vector<LimitMember>& LimitMembers() {
  static const std::vector<LimitMember> kMembers = {
      {"memory", &Limits::memory_bytes, kLeastMemory, kMostMemory},
      {"cpus", &Limits::cpu_milli, 10, 4'096'000},
      {"pids", &Limits::pids, 8, 4'194'304},
      {"time_seconds", &Limits::time_seconds, 1, 366ull * 86400},
      {"scratch_bytes", &Limits::scratch_bytes, 1ull << 20, 1ull << 50},
      {"scratch_inodes", &Limits::scratch_inodes, 16, 1ull << 32},
      {"file_bytes", &Limits::file_bytes, 4096, 1ull << 50},
      {"log_bytes", &Limits::log_bytes, 4096, 1ull << 40},
      {"audit_bytes", &Limits::audit_bytes, 1ull << 20, 1ull << 50},
      {"open_files", &Limits::open_files, 16, 1'048'576},
  };
  return kMembers;
}

Result<PartialLimits> DecodeLimits(const Json& value, const std::string& pointer) {
  PartialLimits limits;
  JsonObject in(value, pointer);
  for (const LimitMember& member : LimitMembers()) {
    const Json* found = in.Any(member.name);
    if (found == nullptr) continue;
    auto number = DecodeOne(*found, member.name);
    if (number && *number >= member.least && *number <= member.most) {
      limits[member.name] = *number;
      continue;
    }
    in.Problem(member.name, IsSize(member.name)
                                ? "must be bytes, or a size such as \"4G\", within reason"
                                : "must be a number within reason");
  }
  CARREL_TRY(in.Finish());
  return limits;
}

void ApplyLimits(const PartialLimits& partial, Limits& limits) {
  for (const LimitMember& member : LimitMembers())
    if (auto found = partial.find(member.name); found != partial.end())
      limits.*member.member = found->second;
}

void CapLimits(const PartialLimits& maxima, Limits& limits) {
  for (const LimitMember& member : LimitMembers())
    if (auto found = maxima.find(member.name); found != maxima.end())
      limits.*member.member = std::min(limits.*member.member, found->second);
}

OrderedJson ToJson(const Limits& limits) {
  OrderedJson json = OrderedJson::object();
  for (const LimitMember& member : LimitMembers()) {
    const uint64_t number = limits.*member.member;
    if (std::string_view(member.name) == "cpus")
      json[member.name] = static_cast<double>(number) / 1000;
    else
      json[member.name] = number;
  }
  return json;
}

}  // namespace carrel
