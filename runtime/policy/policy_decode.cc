// The policy's files to a Policy: every problem with its file and pointer, then cross references.
#include "policy/policy_decode.h"

#include <algorithm>

#include "policy/config_decode.h"
#include "policy/names.h"
#include "policy/policy.h"

namespace carrel::policy_decode {
namespace {

Project DecodeProject(const Json& value, const std::string& pointer, JsonObject& parent) {
  JsonObject in(value, pointer);
  Project project;
  project.entry = "projects.json#" + pointer;
  project.id = in.RequiredString("id", 128);
  // A number as id could be another project's number.
  if (in.Has("id") &&
      (!IsName(project.id) || std::all_of(project.id.begin(), project.id.end(),
                                          [](char c) { return c >= '0' && c <= '9'; })))
    in.Problem("id", "must be a name that is no number, such as \"POS-2025-2001\"");
  if (auto number = in.Int("number", 1, 1'000'000'000)) project.number = std::to_string(*number);
  project.name = Reason(in, "name");
  project.kind = in.RequiredString("kind", 64);
  if (in.Has("kind") && !ProjectKinds().contains(project.kind))
    in.Problem("kind",
               "must be research, service_evaluation, audit, short_data_report or internal");
  project.workspaces = DecodeNames(in, "workspaces");
  project.accepts_unlisted_workspaces =
      DecodeWeakening(in, "accepts_unlisted_workspaces", "unlisted_workspaces_reason");
  parent.Merge(in.Finish());
  return project;
}

void DecodeProjects(const Json& document, Policy& policy, Problems& problems) {
  JsonObject in(document, "");
  const Json* list = in.Any("projects");
  std::map<std::string, std::string> known;       // ids and numbers, by what they look like
  std::map<std::string, std::string> workspaces;  // in lower case
  if (list == nullptr || !list->is_array()) {
    in.Problem("projects", "must be a list of projects");
    return problems.Take("projects.json", in.Finish());
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string pointer = "/projects/" + std::to_string(i);
    Project project = DecodeProject((*list)[i], pointer, in);
    for (const std::string& key : {project.id, project.number})
      if (auto [found, fresh] = known.emplace(LookAlike(key), key); !key.empty() && !fresh)
        in.Merge(BadInput(pointer, "\"" + key + "\"" +
                                       (Lower(found->second) == Lower(key)
                                            ? " is the id or number of another project too"
                                            : LooksLike(found->second))));
    for (const std::string& workspace : project.workspaces) {
      policy.workspace_projects.emplace(workspace, project.id);
      // Nobody who reads a list tells two apart that differ by case alone.
      auto [found, fresh] = workspaces.emplace(Lower(workspace), project.id);
      if (!fresh && found->second != project.id)
        in.Merge(BadInput(pointer + "/workspaces",
                          "\"" + workspace + "\" belongs to another project too"));
    }
    policy.projects.emplace(project.id, std::move(project));
  }
  problems.Take("projects.json", in.Finish());
}

std::string DecodeProjectReference(JsonObject& in, const Policy& policy) {
  std::string text;
  const Json* value = in.Any("project");
  if (value == nullptr) {
    in.Problem("project", "is required");
    return "";
  }
  if (value->is_number()) {
    if (auto number = in.Int("project", 1, 1'000'000'000)) text = std::to_string(*number);
  } else {
    text = in.String("project", 128).value_or("");
    if (value->is_string() && text.empty()) in.Problem("project", "is required");
  }
  const Project* project = policy.FindProject(text);
  if (project != nullptr) return project->id;
  // Where projects.json cannot be read at all, that is the one problem to tell.
  if (!text.empty() && !policy.projects.empty())
    in.Problem("project", "\"" + text + "\" is not a project of projects.json");
  return "";
}

int64_t DecodeDate(JsonObject& in, const std::string& key, int64_t otherwise) {
  auto text = in.String(key, 32);
  if (!text) return otherwise;
  if (auto date = ParseDate(*text)) return *date;
  in.Problem(key, "must be a date such as \"2026-08-31\"");
  return otherwise;
}

// ehrQL has one list for datasets and all else: a "dataset" of that name would include opted-out
// patients without a grant that says so.
void RefusePermissions(JsonObject& in, const std::set<std::string>& datasets) {
  for (const std::string& dataset : datasets)
    if (IsOtherPermission(dataset))
      in.Problem("datasets", "\"" + dataset +
                                 "\" is not a dataset but a permission with a file of its own. "
                                 "Remove it; the project may be listed there");
}

Grant DecodeGrant(const Json& value, const std::string& pointer, const PermissionFile& file,
                  const Policy& policy, JsonObject& parent) {
  JsonObject in(value, pointer);
  Grant grant;
  grant.entry = std::string("permissions/") + file.file + ".json#" + pointer;
  grant.project = DecodeProjectReference(in, policy);
  grant.reason = Reason(in, "reason");
  grant.approver = Reason(in, "approver");
  if (!in.Has("date")) in.Problem("date", "is required");
  grant.from_ns = DecodeDate(in, "date", INT64_MAX);
  grant.link = in.RequiredString("link", 2048);
  const bool plain = std::all_of(grant.link.begin(), grant.link.end(),
                                 [](char c) { return c > 0x20 && c < 0x7f; });
  if (in.Has("link") && !(plain && grant.link.starts_with("https://")))
    in.Problem("link", "must be an https:// address, of ASCII");
  if (in.Has("expires")) {
    // What cannot be read does not grant: the first instant there is.
    const int64_t last_day = DecodeDate(in, "expires", -kDayNs);
    grant.until_ns = last_day + kDayNs;
    if (grant.until_ns <= grant.from_ns && grant.from_ns != INT64_MAX)
      in.Problem("expires", "is before date");
  }
  if (*file.items != '\0') {
    const auto names = DecodeNames(in, file.items);
    grant.items.assign(names.begin(), names.end());
    if (names.empty()) in.Problem(file.items, "must list at least one name");
    if (std::string_view(file.items) == "datasets") RefusePermissions(in, names);
  }
  parent.Merge(in.Finish());
  return grant;
}

void DecodePermissions(const Json& document, const PermissionFile& file, Policy& policy,
                       Problems& problems) {
  JsonObject in(document, "");
  (void)Reason(in, "description");
  const Json* list = in.Any("grants");
  if (list != nullptr && list->is_array()) {
    for (size_t i = 0; i < list->size(); ++i)
      policy.permissions[file.file].push_back(
          DecodeGrant((*list)[i], "/grants/" + std::to_string(i), file, policy, in));
  } else {
    in.Problem("grants", "must be a list of grants");
  }
  problems.Take(std::string("permissions/") + file.file + ".json", in.Finish());
}

// Of any form, such as an address, but one that can be told from all others.
bool IsUserName(const std::string& user) {
  return !user.empty() && user.size() <= 256 &&
         std::all_of(user.begin(), user.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Role DecodeRole(const Json& value, const std::string& pointer, JsonObject& parent) {
  JsonObject in(value, pointer);
  Role role;
  role.entry = "roles.json#" + pointer;
  (void)Reason(in, "description");
  role.starts = DecodeNames(in, "starts");
  for (const std::string& kind : role.starts)
    if (!ProjectKinds().contains(kind)) in.Problem("starts", "unknown kind \"" + kind + "\"");
  role.reads = DecodeLevelSet(in, "reads");
  role.reads_logs = DecodeNames(in, "reads_logs");
  role.groups = DecodeNames(in, "groups");
  for (const std::string& log : role.reads_logs)
    if (log != "action" && log != "audit") in.Problem("reads_logs", "unknown log \"" + log + "\"");
  parent.Merge(in.Finish());
  return role;
}

void DecodeRoles(const Json& document, Policy& policy, Problems& problems) {
  JsonObject in(document, "");
  if (const Json* roles = in.Any("roles"); roles != nullptr && roles->is_object()) {
    for (const auto& [name, member] : roles->items()) {
      if (!IsName(name)) in.Problem("roles", "\"" + name + "\" is not a name");
      policy.roles[name] = DecodeRole(member, "/roles/" + name, in);
    }
  } else {
    in.Problem("roles", "must be an object of roles");
  }
  if (const Json* users = in.Any("users")) {
    JsonObject members(*users, "/users");
    if (users->is_object()) {
      std::set<std::string> known;
      for (const auto& [user, roles] : users->items()) {
        if (!IsUserName(user)) members.Problem(user, "must be a name of ASCII without blanks");
        if (!known.insert(Lower(user)).second)
          members.Problem(user, "differs from another user by case alone. Change one of the two");
        policy.users[user] = DecodeNames(members, user);
        for (const std::string& role : policy.users[user])
          if (!policy.roles.contains(role)) members.Problem(user, "there is no role " + role);
      }
    }
    in.Merge(members.Finish());
  }
  policy.unlisted_users_are = in.String("unlisted_users_are", 128).value_or("");
  if (!policy.unlisted_users_are.empty() && !policy.roles.contains(policy.unlisted_users_are))
    in.Problem("unlisted_users_are", "there is no such role");
  problems.Take("roles.json", in.Finish());
}

LevelRule DecodeLevelRule(Level level, JsonObject& in) {
  const bool level4 = level == Level::kModeratelySensitive;
  LevelRule rule;
  rule.entry = "levels.json#/" + LevelName(level);
  rule.directory = in.RequiredString("directory", 64);
  const char* expected = level4 ? "medium_privacy" : "high_privacy";
  // The two levels are kept apart by directory: no file of one is ever below the other's.
  if (in.Has("directory") && rule.directory != expected)
    in.Problem("directory", "must be \"" + std::string(expected) + "\"");
  rule.owner = in.RequiredString("owner", 64);
  rule.group = in.RequiredString("group", 64);
  for (auto [key, mode] :
       {std::pair{"directory_mode", &rule.directory_mode}, {"file_mode", &rule.file_mode}}) {
    if (!in.Has(key)) in.Problem(key, "is required");
    config_decode::DecodeMode(in, key, *mode);
  }
  rule.checks = DecodeNames(in, "checks");
  for (const std::string& check : rule.checks)
    if (!level4 || !Level4Checks().contains(check))
      in.Problem("checks", "there is no check \"" + check + "\" at this level");
  // Carrel makes all of them, whatever is written here: the list says so to whoever reads it.
  if (level4 && rule.checks != Level4Checks())
    in.Problem("checks",
               "must list type, size, rows and patient_identifiers: none can be left out");
  return rule;
}

// A group that may read a level's files is one whose people have a role that reads the level.
void CheckGroups(const Policy& policy, Problems& problems) {
  for (const auto& [level, rule] : policy.levels) {
    if (rule.group == "root") continue;
    for (const auto& [name, role] : policy.roles) {
      const bool member = role.groups.contains(rule.group);
      if (member == role.reads.contains(level)) continue;
      problems.Add(role.entry, member ? "has the group \"" + rule.group + "\", which owns " +
                                            LevelName(level) +
                                            " files (levels.json), and does not "
                                            "read them; remove the group, or add the level to reads"
                                      : "reads " + LevelName(level) + " files, which the group \"" +
                                            rule.group + "\" owns (levels.json); add it to groups");
    }
  }
}

void DecodeLevelRules(const Json& document, Policy& policy, Problems& problems) {
  JsonObject in(document, "");
  static const Json kEmpty = Json::object();
  for (Level level : {Level::kHighlySensitive, Level::kModeratelySensitive}) {
    const std::string name = LevelName(level);
    const Json* value = in.Any(name);
    if (value == nullptr) in.Problem(name, "is required");
    JsonObject entry(value != nullptr ? *value : kEmpty, "/" + name);
    if (value != nullptr) (void)Reason(entry, "description");
    policy.levels[level] = DecodeLevelRule(level, entry);
    if (level == Level::kModeratelySensitive) {
      policy.level4.max_csv_rows = entry.RequiredInt("max_csv_rows", 0, 1'000'000'000);
      policy.level4.max_file_bytes = entry.RequiredInt("max_file_bytes", 0, int64_t{1} << 40);
      policy.level4.file_types =
          entry.Strings("file_types", 32).value_or(std::vector<std::string>{});
      if (policy.level4.file_types.empty()) entry.Problem("file_types", "must list file types");
      for (const std::string& type : policy.level4.file_types)
        if (!IsFileType(type))
          entry.Problem("file_types", "\"" + type + "\" must be an ending such as \".csv\"");
    }
    in.Merge(entry.Finish());
  }
  problems.Take("levels.json", in.Finish());
}

void DecodeLimitFile(const Json& document, Policy& policy, Problems& problems) {
  JsonObject in(document, "");
  for (auto [key, target] :
       {std::pair{"defaults", &policy.default_limits}, {"maxima", &policy.maximum_limits}}) {
    const Json* value = in.Any(key);
    if (value == nullptr) {
      in.Problem(key, "is required");
      continue;
    }
    auto limits = DecodeLimits(*value, in.PointerTo(key));
    if (limits)
      *target = *limits;
    else
      in.Merge(limits.error());
  }
  problems.Take("limits.json", in.Finish());
}

// Parses a file of the snapshot; nullopt (and a problem) when it is missing or no JSON.
std::optional<Json> Document(const PolicyFiles& files, const std::string& name,
                             Problems& problems) {
  auto found = files.find(name);
  if (found == files.end()) {
    problems.Add(name, "is missing from the policy; a file without entries grants nothing");
    return std::nullopt;
  }
  auto parsed = ParseJson(found->second, name);
  if (parsed) return std::move(*parsed);
  problems.Take(parsed.error().where, BadInput("", parsed.error().what));
  return std::nullopt;
}

// A misspelt file would be a rule that silently does not hold.
void CheckNoStrangers(const PolicyFiles& files, Problems& problems) {
  std::set<std::string> known = {"tools.json", "projects.json", "roles.json", "levels.json",
                                 "limits.json"};
  for (const PermissionFile& file : PermissionFiles())
    known.insert(std::string("permissions/") + file.file + ".json");
  for (const auto& [path, text] : files)
    if (Lower(path).ends_with(".json") && !path.starts_with("schemas/") && !known.contains(path))
      problems.Add(path, "is not a file that a policy has; its rules would not hold");
}

}  // namespace

Result<Policy> DecodePolicyFiles(const PolicyFiles& files) {
  Policy policy;
  Problems problems;
  CheckNoStrangers(files, problems);
  using Decode = void (*)(const Json&, Policy&, Problems&);
  for (auto [name, decode] : {std::pair<const char*, Decode>{"tools.json", &DecodeTools},
                              {"projects.json", &DecodeProjects},
                              {"roles.json", &DecodeRoles},
                              {"levels.json", &DecodeLevelRules},
                              {"limits.json", &DecodeLimitFile}})
    if (auto document = Document(files, name, problems)) decode(*document, policy, problems);
  for (const PermissionFile& file : PermissionFiles()) {
    auto document = Document(files, std::string("permissions/") + file.file + ".json", problems);
    if (document) DecodePermissions(*document, file, policy, problems);
  }
  if (policy.levels.size() == 2) CheckGroups(policy, problems);
  if (!problems.empty()) return BadInput("", problems.Join());
  return policy;
}

}  // namespace carrel::policy_decode
