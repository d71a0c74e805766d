#include "policy/policy_facts.h"

#include <algorithm>

#include "base/clock.h"
#include "policy/config_decode.h"
#include "policy/names.h"

namespace carrel {
namespace {

using config_decode::Octal;

constexpr int64_t kUnlimited = INT64_MAX;
// A default that the policy leaves to the host: neither more nor less than any number, so that a
// change from it or to it counts as wider.
constexpr int64_t kHostDefault = -1;

using Periods = std::vector<std::pair<int64_t, int64_t>>;

// In order, and those that touch as one.
void Join(Periods& periods) {
  std::sort(periods.begin(), periods.end());
  Periods joined;
  for (const auto& [from, until] : periods)
    if (!joined.empty() && from <= joined.back().second)
      joined.back().second = std::max(joined.back().second, until);
    else
      joined.emplace_back(from, until);
  periods = std::move(joined);
}

// What `these` hold and `others` don't.
Periods Without(const Periods& these, const Periods& others) {
  Periods left;
  for (auto [from, until] : these) {
    for (const auto& other : others) {
      if (other.second <= from || other.first >= until) continue;
      if (other.first > from) left.emplace_back(from, other.first);
      from = std::max(from, other.second);
    }
    if (from < until) left.emplace_back(from, until);
  }
  return left;
}

class Collector {
 public:
  Collector(const Policy& policy, int64_t now_ns) : policy_(policy), now_ns_(now_ns) {}

  PolicyFacts Run() {
    for (const auto& [name, tool] : policy_.tools) AddTool(tool);
    for (const auto& [id, project] : policy_.projects) AddProject(project);
    for (const PermissionFile& file : PermissionFiles()) AddPermission(file);
    AddRoles();
    AddLevels();
    AddLimits();
    for (auto& [sentence, periods] : facts_.periods) Join(periods);
    return std::move(facts_);
  }

 private:
  void Grant(const std::string& sentence) { facts_.grants.insert(sentence); }
  void Restrict(const std::string& sentence) { facts_.restrictions.insert(sentence); }

  void AddCommand(const std::string& command, const CommandRule& rule) {
    Grant(command + " may be run");
    if (rule.database) Grant(command + " may reach a database");
    for (Level level : rule.levels) Grant(command + " may write " + LevelName(level) + " files");
  }

  void AddTool(const Tool& tool) {
    const std::string& name = tool.name;
    for (const std::string& image : tool.images)
      for (const std::string& tag : tool.versions)
        Grant("the image " + image + ":" + tag + " may be run as " + name);
    for (const auto& [tag, digest] : tool.digests)
      Restrict(name + ":" + tag + " must be " + digest);
    for (const auto& [command, rule] : tool.commands) {
      AddCommand(name + " " + command, rule);
      if (tool.any_command) Restrict(name + " " + command + " has a rule of its own");
    }
    if (tool.any_command) AddCommand(name + " (any command)", *tool.any_command);
    if (!tool.requires_listing.empty())
      Restrict(name + " is only for projects in permissions/" + tool.requires_listing + ".json");
    if (tool.told_permissions) {
      Grant(name + " gets the permissions of its project");
      Restrict(name + " is told whether to include opted-out patients");
    }
    if (tool.declares_opt_outs) Restrict("queries of " + name + " declare their use of opt-outs");
    for (const std::string& argument : tool.refused_arguments)
      Restrict("jobs of " + name + " may not give the argument " + argument);
    for (const auto& [variable, value] : tool.environment) {
      Grant(name + " runs with " + variable + "=" + value);
      Restrict(name + " runs with " + variable + "=" + value);
    }
    for (const PreflightRule& rule : tool.preflight) {
      Restrict("files of " + name + " pass the check " + rule.check);
      for (const std::string& option : rule.options_with_value)
        Grant("jobs of " + name + " may give the option " + option);
    }
    if (tool.allow_loopback_sockets) Grant(name + " may use sockets on its own loopback");
    if (tool.copy_up_always) Grant(name + " may write over copies of code and inputs");
    for (const LimitMember& member : LimitMembers())
      facts_.amounts[name + " gets, when nobody asks: " + member.name] = Amount(
          tool.limits, member.name, Amount(policy_.default_limits, member.name, kHostDefault));
  }

  static int64_t Amount(const PartialLimits& limits, const std::string& name, int64_t otherwise) {
    auto found = limits.find(name);
    return found == limits.end() ? otherwise : static_cast<int64_t>(found->second);
  }

  void AddProject(const Project& project) {
    Grant(project.id + " is a project of kind " + project.kind);
    if (!project.number.empty()) Grant(project.id + " is the project " + project.number);
    for (const std::string& workspace : project.workspaces)
      Grant("the workspace " + workspace + " belongs to " + project.id);
    if (project.accepts_unlisted_workspaces)
      Grant("any workspace that is not listed may be of " + project.id);
    // A workspace that is listed cannot be claimed for another project.
    for (const std::string& workspace : project.workspaces)
      Restrict("the workspace " + workspace + " is only " + project.id + "'s");
  }

  void AddGrantFact(const std::string& sentence, const struct Grant& grant) {
    Grant(sentence);
    auto raise = [&](const std::string& key, int64_t value) {
      auto [found, fresh] = facts_.amounts.emplace(key, value);
      if (!fresh) found->second = std::max(found->second, value);
    };
    facts_.periods[sentence].emplace_back(grant.from_ns, grant.until_ns);
    raise(sentence + ": until", grant.until_ns);
    raise(sentence + ": from", -std::max(grant.from_ns, int64_t{0}));
  }

  void AddPermission(const PermissionFile& file) {
    auto grants = policy_.permissions.find(file.file);
    if (grants == policy_.permissions.end()) return;
    const std::string_view name = file.file;
    for (const struct Grant& grant : grants->second) {
      if (grant.until_ns <= now_ns_) continue;
      if (*file.items != '\0') {
        const char* verb = name == "databases"  ? " may reach the database "
                           : name == "datasets" ? " may use the dataset "
                                                : " may reach, unread by carrel, the database ";
        for (const std::string& item : grant.items)
          AddGrantFact(grant.project + verb + item, grant);
      } else if (*file.ehrql_name != '\0') {
        AddGrantFact(grant.project + " has the permission " + file.ehrql_name, grant);
      } else {
        AddGrantFact(grant.project + " is listed for " + file.file, grant);
      }
    }
  }

  void AddRoles() {
    for (const auto& [name, role] : policy_.roles) {
      for (const std::string& kind : role.starts)
        Grant("the role " + name + " starts jobs of " + kind + " projects");
      for (Level level : role.reads)
        Grant("the role " + name + " reads " + LevelName(level) + " files");
      for (const std::string& group : role.groups)
        Grant("the role " + name + " is in the group " + group + " of the host");
      for (const std::string& log : role.reads_logs)
        Grant("the role " + name + " reads " + log + " logs");
    }
    const std::string& unlisted = policy_.unlisted_users_are;
    if (!unlisted.empty()) Grant("users who are not listed have the role " + unlisted);
    for (const auto& [user, roles] : policy_.users) {
      for (const std::string& role : roles) Grant("the user " + user + " has the role " + role);
      Restrict("the user " + user + " has no other role than those listed");
    }
  }

  void AddLevels() {
    for (const auto& [level, rule] : policy_.levels) {
      const std::string files = LevelName(level) + " files";
      Grant(files + " belong to the user " + rule.owner);
      Grant(files + " belong to the group " + rule.group);
      // Each bit is one grant more.
      for (mode_t bit = 02000; bit != 0; bit >>= 1) {
        if ((rule.file_mode & bit) != 0) Grant(files + " may have the mode " + Octal(bit));
        if ((rule.directory_mode & bit) != 0)
          Grant("directories of " + files + " may have the mode " + Octal(bit));
      }
      for (const std::string& check : rule.checks) Restrict(files + " pass the check " + check);
    }
  }

  void AddLimits() {
    for (const LimitMember& member : LimitMembers()) {
      facts_.amounts[std::string("a job gets, when nobody asks: ") + member.name] =
          Amount(policy_.default_limits, member.name, kHostDefault);
      facts_.amounts[std::string("a job gets at most: ") + member.name] =
          Amount(policy_.maximum_limits, member.name, kUnlimited);
    }
    facts_.amounts["level 4 tables have at most: rows"] = policy_.level4.max_csv_rows;
    facts_.amounts["level 4 files have at most: bytes"] = policy_.level4.max_file_bytes;
    for (const std::string& type : policy_.level4.file_types)
      Grant("level 4 files may be of type " + type);
  }

  const Policy& policy_;
  int64_t now_ns_;
  PolicyFacts facts_;
};

std::string ShowAmount(const std::string& key, int64_t amount) {
  if (amount == kHostDefault) return "the host's";
  if (amount == kUnlimited) return key.ends_with(": until") ? "no end" : "no limit";
  if (key.ends_with(": from")) return Rfc3339(-amount).substr(0, 10);
  // The grant holds to the end of the day before this instant.
  if (key.ends_with(": until")) return Rfc3339(amount - 1).substr(0, 10);
  if (key.ends_with("cpus")) return Json(static_cast<double>(amount) / 1000).dump();
  return std::to_string(amount);
}

void DiffAmounts(const PolicyFacts& before, const PolicyFacts& after,
                 std::vector<PolicyChange>& changes) {
  for (const auto& [key, amount] : after.amounts) {
    auto old = before.amounts.find(key);
    // What is new, or gone, shows among the grants.
    if (old == before.amounts.end() || old->second == amount) continue;
    const bool widens =
        amount > old->second || amount == kHostDefault || old->second == kHostDefault;
    changes.push_back({widens, key + ": " + ShowAmount(key, amount) + " instead of " +
                                   ShowAmount(key, old->second)});
  }
}

// Two grants can leave a time between them: it is within the first and last day that DiffAmounts
// compares.
void DiffGaps(const PolicyFacts& before, const PolicyFacts& after,
              std::vector<PolicyChange>& changes) {
  for (const auto& [sentence, periods] : after.periods) {
    auto old = before.periods.find(sentence);
    if (old == before.periods.end()) continue;
    auto tell = [&, &sentence = sentence](const Periods& some, const Periods& others, bool widens) {
      for (const auto& [from, until] : Without(some, others))
        if (from > others.front().first && until < others.back().second)
          changes.push_back({widens, (widens ? "" : "no longer: ") + sentence + ": from " +
                                         Rfc3339(from).substr(0, 10) + " to " +
                                         Rfc3339(until - 1).substr(0, 10)});
    };
    tell(periods, old->second, true);
    tell(old->second, periods, false);
  }
}

}  // namespace

PolicyFacts FactsOf(const Policy& policy, int64_t now_ns) {
  return Collector(policy, now_ns).Run();
}

std::vector<PolicyChange> DiffPolicies(const Policy& before, const Policy& after, int64_t now_ns) {
  const PolicyFacts old_facts = FactsOf(before, now_ns);
  const PolicyFacts new_facts = FactsOf(after, now_ns);
  std::vector<PolicyChange> changes;
  for (const std::string& fact : new_facts.grants)
    if (!old_facts.grants.contains(fact)) changes.push_back({true, fact});
  for (const std::string& fact : old_facts.restrictions)
    if (!new_facts.restrictions.contains(fact)) changes.push_back({true, "no longer: " + fact});
  for (const std::string& fact : old_facts.grants)
    if (!new_facts.grants.contains(fact)) changes.push_back({false, "no longer: " + fact});
  for (const std::string& fact : new_facts.restrictions)
    if (!old_facts.restrictions.contains(fact)) changes.push_back({false, fact});
  DiffAmounts(old_facts, new_facts, changes);
  DiffGaps(old_facts, new_facts, changes);
  std::stable_partition(changes.begin(), changes.end(),
                        [](const PolicyChange& change) { return change.widens; });
  return changes;
}

}  // namespace carrel
