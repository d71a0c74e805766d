#include "policy/host_config.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/digest.h"
#include "base/fs.h"
#include "policy/config_decode.h"
#include "policy/names.h"
#include "policy/repository.h"

namespace carrel {
namespace {

using config_decode::DecodeMode;
using config_decode::DecodePath;
using config_decode::FindGroup;
using config_decode::FindUser;
using config_decode::Octal;

constexpr int64_t kMaxId = 0xfffffffe;  // 2^32-1 is "no change" for chown

Limits BuiltInDefaults() {
  Limits limits;
  limits.memory_bytes = 4ull << 30;
  limits.cpu_milli = 2000;
  limits.pids = 1024;
  limits.time_seconds = 24ull * 3600;
  limits.scratch_bytes = 10ull << 30;
  limits.scratch_inodes = 200'000;
  limits.file_bytes = 10ull << 30;
  limits.log_bytes = 16ull << 20;
  limits.audit_bytes = 16ull << 30;
  limits.open_files = 4096;
  return limits;
}

// Generous: what a host really has is for its operator to say.
Limits BuiltInMaxima() {
  Limits limits = BuiltInDefaults();
  limits.memory_bytes = 256ull << 30;
  limits.cpu_milli = 64'000;
  limits.pids = 32'768;
  limits.time_seconds = 31ull * 86400;
  limits.scratch_bytes = 1ull << 40;
  limits.scratch_inodes = 10'000'000;
  limits.file_bytes = 1ull << 40;
  limits.log_bytes = 1ull << 30;
  limits.audit_bytes = 1ull << 40;
  limits.open_files = 16'384;
  return limits;
}

PartialLimits Whole(const Limits& limits) {
  PartialLimits all;
  for (const LimitMember& member : LimitMembers()) all[member.name] = limits.*member.member;
  return all;
}

void DecodeId(JsonObject& in, const std::string& key,
              std::optional<uint32_t> (*find)(const std::string&), uint32_t& id) {
  const Json* value = in.Any(key);
  if (value == nullptr) return;
  if (value->is_number()) {
    if (auto number = in.Int(key, 0, kMaxId)) id = static_cast<uint32_t>(*number);
    return;
  }
  auto name = in.String(key, 64);
  if (!name) return;
  if (name->empty()) return in.Problem(key, "must be a name or a number");
  if (auto found = find(*name))
    id = *found;
  else
    in.Problem(key, "there is no \"" + *name + "\" on this host; create it, or give its number");
}

void DecodeLevels(JsonObject& in, HostConfig& config) {
  config.levels = {{Level::kHighlySensitive, {}}, {Level::kModeratelySensitive, {}}};
  const Json* value = in.Any("levels");
  if (value == nullptr) return;
  JsonObject levels(*value, in.PointerTo("levels"));
  for (auto& [level, ownership] : config.levels) {
    const Json* member = levels.Any(LevelName(level));
    if (member == nullptr) continue;
    JsonObject entry(*member, levels.PointerTo(LevelName(level)));
    for (const char* key : {"owner", "group", "directory_mode", "file_mode"})
      if (entry.Has(key)) ownership.said.insert(key);
    DecodeId(entry, "owner", &FindUser, ownership.owner);
    DecodeId(entry, "group", &FindGroup, ownership.group);
    DecodeMode(entry, "directory_mode", ownership.directory_mode);
    DecodeMode(entry, "file_mode", ownership.file_mode);
    levels.Merge(entry.Finish());
  }
  in.Merge(levels.Finish());
}

// Not "/" itself.
bool IsAbsoluteNormal(const std::string& path) {
  return path.size() > 1 && path[0] == '/' && IsNormalRelativePath(path.substr(1));
}

void DecodeDatabases(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("databases");
  if (value == nullptr) return;
  JsonObject databases(*value, in.PointerTo("databases"));
  if (value->is_object()) {
    for (const auto& [name, member] : value->items()) {
      (void)databases.Any(name);
      if (!IsName(name)) databases.Problem(name, "is not a name");
      auto database = DecodeDatabaseConfig(member, databases.PointerTo(name));
      if (database)
        config.databases[name] = *std::move(database);
      else
        databases.Merge(database.error());
    }
  }
  in.Merge(databases.Finish());
}

void DecodePartialLimits(JsonObject& in, const std::string& key, PartialLimits& limits) {
  const Json* value = in.Any(key);
  if (value == nullptr) return;
  auto decoded = DecodeLimits(*value, in.PointerTo(key));
  if (!decoded) return in.Merge(decoded.error());
  for (const auto& [name, number] : *decoded) limits[name] = number;
}

void DecodeHostLimits(JsonObject& in, HostConfig& config) {
  config.default_limits = Whole(BuiltInDefaults());
  config.maximum_limits = Whole(BuiltInMaxima());
  const Json* value = in.Any("limits");
  if (value == nullptr) return;
  JsonObject limits(*value, in.PointerTo("limits"));
  DecodePartialLimits(limits, "defaults", config.default_limits);
  DecodePartialLimits(limits, "maxima", config.maximum_limits);
  in.Merge(limits.Finish());
}

void DecodeRepositories(JsonObject& in, HostConfig& config) {
  auto urls = in.Strings("allowed_repositories", 2048);
  if (!urls) return;
  for (size_t i = 0; i < urls->size(); ++i) {
    auto normal = NormalRepository((*urls)[i]);
    if (normal)
      config.allowed_repositories.push_back(*normal);
    else
      in.Merge(BadInput(
          in.PointerTo("allowed_repositories") + "/" + std::to_string(i),
          "must be https://HOST/PATH, or an absolute path, without spaces, user or escapes"));
  }
}

void DecodeBundleRules(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("policy_bundle");
  if (value == nullptr) return;
  JsonObject members(*value, in.PointerTo("policy_bundle"));
  BundleRules rules;
  if (!members.Has("file")) members.Problem("file", "is required");
  DecodePath(members, "file", rules.file);
  rules.keys = members.Strings("keys", 64).value_or(rules.keys);
  std::set<std::string> different(rules.keys.begin(), rules.keys.end());
  const bool keys = std::all_of(rules.keys.begin(), rules.keys.end(),
                                [](const std::string& key) { return IsLowerHex(key, 64); });
  if (rules.keys.empty() || !keys || different.size() != rules.keys.size())
    members.Problem("keys", "must list different public keys, as `carrel policy key` prints them");
  rules.signatures = members.Int("signatures", 1, 16).value_or(1);
  if (rules.signatures > std::ssize(rules.keys) && !rules.keys.empty())
    members.Problem("signatures", "must not be more than there are keys");
  rules.minimum_serial = members.Int("minimum_serial", 1, int64_t{1} << 53).value_or(1);
  config.policy_bundle = std::move(rules);
  in.Merge(members.Finish());
}

void DecodeDockerFront(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("docker");
  if (value == nullptr) return;
  JsonObject docker(*value, in.PointerTo("docker"));
  if (auto prefixes = docker.Strings("bind_prefixes")) config.docker.bind_prefixes = *prefixes;
  for (const std::string& prefix : config.docker.bind_prefixes)
    if (!IsAbsoluteNormal(prefix))
      docker.Problem("bind_prefixes", "each must be an absolute path, and not /");
  if (auto networks = docker.StringMap("networks")) config.docker.networks = *networks;
  for (const auto& [network, database] : config.docker.networks) {
    if (!IsName(network) || network == "none" || network == "host")
      docker.Problem("networks", network + " is not a name that a network can have");
    if (!config.databases.contains(database))
      docker.Problem("networks", "there is no database " + database + " in /databases");
  }
  for (auto [key, target] : {std::pair{"user", &config.docker.user},
                             {"task_workspace", &config.docker.task_workspace}}) {
    *target = docker.String(key, 128).value_or("");
    if (!target->empty() && !IsName(*target)) docker.Problem(key, "is not a name");
  }
  in.Merge(docker.Finish());
}

void DecodeUidRange(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("uid_range");
  if (value == nullptr) return;
  JsonObject range(*value, in.PointerTo("uid_range"));
  // Below 65536 are the host's own users: a job must never run as one of them.
  config.uid_start = static_cast<uint32_t>(range.RequiredInt("start", 65536, 0x7ffeffff));
  config.uid_count = static_cast<uint32_t>(range.RequiredInt("count", 1, 65536));
  in.Merge(range.Finish());
}

bool IsCgroupPath(const std::string& path) {
  for (size_t start = 0, end = 0; end != std::string::npos; start = end + 1) {
    end = path.find('/', start);
    if (!IsName(std::string_view(path).substr(start, end - start))) return false;
  }
  return path.size() <= 128;
}

void DecodePipeline(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("pipeline");
  if (value == nullptr) return;
  JsonObject pipeline(*value, in.PointerTo("pipeline"));
  for (auto [key, target] :
       {std::pair{"workspace", &config.pipeline.workspace}, {"user", &config.pipeline.user}}) {
    *target = pipeline.String(key, 128).value_or("");
    if (!target->empty() && !IsName(*target)) pipeline.Problem(key, "is not a name");
  }
  config.pipeline.jobs = static_cast<uint32_t>(pipeline.Int("jobs", 1, 256).value_or(0));
  in.Merge(pipeline.Finish());
}

void DecodeRetention(JsonObject& in, HostConfig& config) {
  const Json* value = in.Any("retention");
  if (value == nullptr) return;
  JsonObject retention(*value, in.PointerTo("retention"));
  RetentionConfig& days = config.retention;
  for (auto [key, target] : {std::pair{"audit_days", &days.audit_days},
                             {"log_days", &days.log_days},
                             {"image_days", &days.image_days},
                             {"job_days", &days.job_days},
                             {"selftest_days", &days.selftest_days}})
    *target = static_cast<uint32_t>(retention.Int(key, 0, 36500).value_or(*target));
  in.Merge(retention.Finish());
}

}  // namespace

Result<HostConfig> DecodeHostConfig(const Json& value) {
  JsonObject in(value, "");
  HostConfig config;
  DecodePath(in, "state", config.state);
  DecodePath(in, "policies", config.policies);
  DecodeBundleRules(in, config);
  DecodePath(in, "high_privacy", config.high_privacy);
  DecodePath(in, "medium_privacy", config.medium_privacy);
  config.backend = in.String("backend", 128).value_or("");
  if (in.Has("backend") && !IsName(config.backend)) in.Problem("backend", "is not a name");
  DecodeRepositories(in, config);
  DecodeDatabases(in, config);
  DecodeHostLimits(in, config);
  DecodeLevels(in, config);
  DecodeUidRange(in, config);
  DecodeDockerFront(in, config);
  config.cgroup_parent = in.String("cgroup_parent", 128).value_or(config.cgroup_parent);
  if (!IsCgroupPath(config.cgroup_parent))
    in.Problem("cgroup_parent",
               "must be a name or names with \"/\" between, such as \"carrel\" or "
               "\"carrel.slice/carrel-jobs.service\"");
  DecodePipeline(in, config);
  DecodeRetention(in, config);
  config.allow_entry_only_audit = in.Bool("allow_entry_only_audit").value_or(false);
  CARREL_TRY(in.Finish());
  return config;
}

namespace {

// Threat: level 3 files in a directory whose readers may see level 4.
Result<void> CheckLevelsApart(const HostConfig& config) {
  std::error_code ignored;
  const auto place = [&](const std::string& path) {
    const auto resolved = std::filesystem::weakly_canonical(path, ignored);
    return (resolved.empty() ? std::filesystem::path(path) : resolved).string() + "/";
  };
  const std::string high = place(config.high_privacy), medium = place(config.medium_privacy);
  if (!high.starts_with(medium) && !medium.starts_with(high)) return {};
  return BadInput(
      "/medium_privacy",
      config.medium_privacy + " and high_privacy (" + config.high_privacy + ") are not apart",
      "Give each a directory of its own, neither below the other");
}

}  // namespace

Result<HostConfig> LoadHostConfig(const std::string& file, const std::string& state) {
  std::string path = file;
  if (const char* named = ::getenv("CARREL_CONFIG"); path.empty() && named != nullptr) path = named;
  Json document = Json::object();
  if (!path.empty() || ::access(kDefaultConfigFile, F_OK) == 0) {
    if (path.empty()) path = kDefaultConfigFile;
    CARREL_ASSIGN(document, ReadJsonFile(path, 1 << 20));
  }
  auto config = DecodeHostConfig(document);
  if (!config) {
    Error error = std::move(config).error();
    error.where = path;
    return error;
  }
  config->file = path;
  if (!state.empty()) {  // a supervisor is in another working directory
    std::error_code failed;
    config->state = std::filesystem::absolute(state, failed).lexically_normal().string();
    if (failed) return Fault("--state", "the working directory is gone", "Give an absolute path");
  }
  for (auto [directory, name] : {std::pair{&config->high_privacy, "/high_privacy"},
                                 {&config->medium_privacy, "/medium_privacy"}})
    if (directory->empty()) *directory = config->state + name;
  CARREL_TRY(CheckLevelsApart(*config));
  return config;
}

namespace {

OrderedJson PartialToJson(const PartialLimits& partial) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [name, number] : partial) {
    if (name == "cpus")
      json[name] = static_cast<double>(number) / 1000;
    else
      json[name] = number;
  }
  return json;
}

OrderedJson PipelineToJson(const PipelineConfig& pipeline) {
  OrderedJson json = OrderedJson::object();
  if (!pipeline.workspace.empty()) json["workspace"] = pipeline.workspace;
  if (!pipeline.user.empty()) json["user"] = pipeline.user;
  if (pipeline.jobs > 0) json["jobs"] = pipeline.jobs;
  return json;
}

}  // namespace

OrderedJson ToJson(const HostConfig& config) {
  OrderedJson json;
  json["state"] = config.state;
  json["policies"] = config.policies;
  if (config.policy_bundle)
    json["policy_bundle"] = {{"file", config.policy_bundle->file},
                             {"keys", config.policy_bundle->keys},
                             {"signatures", config.policy_bundle->signatures},
                             {"minimum_serial", config.policy_bundle->minimum_serial}};
  json["high_privacy"] = config.high_privacy;
  json["medium_privacy"] = config.medium_privacy;
  if (!config.backend.empty()) json["backend"] = config.backend;
  json["allowed_repositories"] = config.allowed_repositories;
  json["databases"] = OrderedJson::object();
  for (const auto& [name, database] : config.databases) json["databases"][name] = ToJson(database);
  json["limits"] = {{"defaults", PartialToJson(config.default_limits)},
                    {"maxima", PartialToJson(config.maximum_limits)}};
  for (const auto& [level, ownership] : config.levels)
    json["levels"][LevelName(level)] = {{"owner", ownership.owner},
                                        {"group", ownership.group},
                                        {"directory_mode", Octal(ownership.directory_mode)},
                                        {"file_mode", Octal(ownership.file_mode)}};
  json["uid_range"] = {{"start", config.uid_start}, {"count", config.uid_count}};
  json["cgroup_parent"] = config.cgroup_parent;
  json["docker"] = {{"bind_prefixes", config.docker.bind_prefixes},
                    {"networks", config.docker.networks}};
  if (!config.docker.user.empty()) json["docker"]["user"] = config.docker.user;
  if (!config.docker.task_workspace.empty())
    json["docker"]["task_workspace"] = config.docker.task_workspace;
  json["pipeline"] = PipelineToJson(config.pipeline);
  const RetentionConfig& days = config.retention;
  json["retention"] = {{"audit_days", days.audit_days},
                       {"log_days", days.log_days},
                       {"image_days", days.image_days},
                       {"job_days", days.job_days},
                       {"selftest_days", days.selftest_days}};
  json["allow_entry_only_audit"] = config.allow_entry_only_audit;
  return json;
}

}  // namespace carrel
