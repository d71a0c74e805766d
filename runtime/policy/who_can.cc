// The questions of `carrel policy who-can`.
#include <set>

#include "policy/names.h"
#include "policy/policy_facts.h"

namespace carrel {
namespace {

// "; with ehrql generate-dataset, ..." for a project that may reach a database.
std::string DatabaseCommands(const Policy& policy, const std::string& project, int64_t now_ns) {
  std::string text;
  auto add = [&](const std::string& command) { text += (text.empty() ? "" : ", ") + command; };
  for (const auto& [name, tool] : policy.tools) {
    if (!tool.requires_listing.empty() &&
        policy.FindGrant(tool.requires_listing, project, now_ns) == nullptr)
      continue;
    for (const auto& [command, rule] : tool.commands)
      if (rule.database) add(name + " " + command);
    if (tool.any_command && tool.any_command->database) add(name);
  }
  return text.empty() ? "no tool" : text;
}

// Names and questions as people write them: without case, "_" or "-", "the".
std::string Plain(const std::string& text) {
  std::string plain;
  for (const char c : Lower(text) + ' ') {
    if (c != ' ')
      plain += c == '_' ? '-' : c;
    else if (plain.ends_with(" the"))
      plain.resize(plain.size() - 3);
    else if (!plain.empty() && plain.back() != ' ')
      plain += ' ';
  }
  if (plain.ends_with(' ')) plain.pop_back();
  return plain;
}

std::vector<std::string> WhoReaches(const Policy& policy, const std::string& database,
                                    int64_t now_ns) {
  std::set<std::string> lines;
  auto grants = policy.permissions.find("databases");
  if (grants == policy.permissions.end()) return {};
  for (const Grant& grant : grants->second) {
    if (!grant.InForce(now_ns)) continue;
    for (const std::string& item : grant.items)
      if (database.empty() || Plain(item) == database)
        lines.insert(grant.project + ": the database " + item + ", with " +
                     DatabaseCommands(policy, grant.project, now_ns) + " (" + grant.entry + ")");
  }
  return {lines.begin(), lines.end()};
}

std::vector<std::string> WhoIncludesOptOuts(const Policy& policy, int64_t now_ns) {
  std::vector<std::string> lines;
  for (const auto& [id, project] : policy.projects) {
    if (const Grant* grant = policy.FindGrant("type-one-opt-outs", id, now_ns))
      lines.push_back(id + ": " + grant->reason + " (" + grant->entry + ")");
    for (const auto& [name, tool] : policy.tools) {
      if (!tool.declares_opt_outs) continue;
      const Grant* grant = policy.FindGrant(tool.requires_listing, id, now_ns);
      if (tool.requires_listing.empty() || grant != nullptr)
        lines.push_back(id + ": with " + name + ", when the query says so (" +
                        (grant != nullptr ? grant->entry : tool.entry) + ")");
    }
  }
  return lines;
}

template <typename Has>
std::vector<std::string> WhoByRole(const Policy& policy, Has has) {
  std::vector<std::string> lines;
  for (const auto& [name, role] : policy.roles) {
    if (!has(role)) continue;
    std::string users;
    for (const auto& [user, roles] : policy.users)
      if (roles.contains(name)) users += (users.empty() ? "" : ", ") + user;
    if (policy.unlisted_users_are == name)
      users += (users.empty() ? "" : ", ") + std::string("all users who are not listed");
    lines.push_back(name + ": " + (users.empty() ? "nobody listed" : users) + " (" + role.entry +
                    ")");
  }
  return lines;
}

// "include ndoo", "use event-level-data", "use dataset icnarc": the projects of a permission file.
std::vector<std::string> WhoIsListed(const Policy& policy, const std::string& file,
                                     const std::string& item, int64_t now_ns) {
  std::vector<std::string> lines;
  for (const auto& [id, project] : policy.projects)
    if (const Grant* grant = policy.FindGrant(file, id, now_ns, item))
      lines.push_back(id + ": " + grant->reason + " (" + grant->entry + ")");
  return lines;
}

// A tool by its name, or by that of the list of those who may use it.
const Tool* FindTool(const Policy& policy, const std::string& asked) {
  for (const auto& [name, tool] : policy.tools)
    if (Plain(name) == asked || (!asked.empty() && Plain(tool.requires_listing) == asked))
      return &tool;
  return nullptr;
}

std::vector<std::string> WhoUses(const Policy& policy, const Tool& tool, int64_t now_ns) {
  if (tool.requires_listing.empty()) return {"all projects (" + tool.entry + ")"};
  return WhoIsListed(policy, tool.requires_listing, "", now_ns);
}

// Of a dataset however it is written: grants of all that are asked for.
std::vector<std::string> WhoHasDataset(const Policy& policy, const std::string& asked,
                                       int64_t now_ns) {
  std::set<std::string> written;
  if (auto grants = policy.permissions.find("datasets"); grants != policy.permissions.end())
    for (const Grant& grant : grants->second)
      for (const std::string& item : grant.items)
        if (Plain(item) == asked) written.insert(item);
  std::vector<std::string> lines;
  for (const std::string& item : written)
    for (std::string& line : WhoIsListed(policy, "datasets", item, now_ns))
      lines.push_back(std::move(line));
  return lines;
}

// "use ehrql" after "use " is "ehrql"; nullopt when the question begins otherwise.
std::optional<std::string> After(const std::string& question, const std::string& beginning) {
  if (!question.starts_with(beginning)) return std::nullopt;
  const std::string rest = question.substr(beginning.size());
  if (rest.empty()) return rest;
  if (rest[0] != ' ') return std::nullopt;
  return rest.substr(1);
}

}  // namespace

Result<std::vector<std::string>> WhoCan(const Policy& policy, const std::string& question,
                                        int64_t now_ns) {
  const std::string asked = Plain(question);
  if (auto database = After(asked, "reach database")) return WhoReaches(policy, *database, now_ns);
  for (const char* name : {"type-one opt-outs", "type-one-opt-outs", "t1oo"})
    if (asked == std::string("include ") + name) return WhoIncludesOptOuts(policy, now_ns);
  for (Level level : {Level::kHighlySensitive, Level::kModeratelySensitive})
    if (asked == "read level " + std::to_string(static_cast<int>(level)) ||
        asked == "read " + Plain(LevelName(level)))
      return WhoByRole(policy, [&](const Role& role) { return role.reads.contains(level); });
  for (const char* log : {"action", "audit"})
    if (asked == "read " + std::string(log) + " log")
      return WhoByRole(policy, [&](const Role& role) { return role.reads_logs.contains(log); });
  if (auto name = After(asked, "use"))
    if (const Tool* tool = FindTool(policy, *name)) return WhoUses(policy, *tool, now_ns);
  for (const PermissionFile& file : PermissionFiles())
    if (*file.ehrql_name != '\0' &&
        (asked == std::string("include ") + file.file || asked == std::string("use ") + file.file))
      return WhoIsListed(policy, file.file, "", now_ns);
  if (auto dataset = After(asked, "use dataset"); dataset && !dataset->empty())
    return WhoHasDataset(policy, *dataset, now_ns);
  if (auto kind = After(asked, "start"))
    for (const std::string& name : ProjectKinds())
      if (Plain(name) == *kind)
        return WhoByRole(policy, [&](const Role& role) { return role.starts.contains(name); });
  return BadInput("", "\"" + question + "\" is not a question that carrel can answer",
                  "Ask: reach database [NAME], include type-one opt-outs, include ndoo, include "
                  "gp-unactivated, use event-level-data, use dataset NAME, read level 3, read "
                  "level 4, read the action log, read the audit log, use TOOL, start KIND");
}

}  // namespace carrel
