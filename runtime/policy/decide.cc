#include "policy/decide.h"

#include <algorithm>

#include "policy/arguments.h"
#include "policy/decide_bounds.h"
#include "policy/names.h"
#include "policy/repository.h"
#include "policy/variables.h"

namespace carrel {
namespace {

class Decider {
 public:
  Decider(const JobRequest& request, const Policy& policy, const HostConfig& host, int64_t now_ns)
      : request_(request), policy_(policy), host_(host), now_ns_(now_ns) {}

  Decision Run() {
    CheckRepository();
    FindTool();
    FindProject();
    CheckUser();
    if (tool_ != nullptr) {
      FindCommand();
      CheckListing();
      CheckArguments();
      CheckImageDigest();
    }
    DecideDatabase();
    DecidePermissions();
    DecideOptOuts();
    CheckLevels();
    TakeBounds(DecideLevel4(request_, policy_, decision_));
    TakeBounds(DecideLimits(request_, policy_, host_, tool_, decision_));
    DecideSandbox();
    DecideEnvironment();
    return Finish();
  }

 private:
  void Refuse(std::string reason) { refusals_.push_back(std::move(reason)); }
  void Note(const std::string& part, const std::string& entry, const std::string& reason) {
    decision_.decided_by[part] = entry;
    notes_.push_back(reason);
  }

  void CheckRepository() {
    if (request_.unknown_code_put_in_place_by_the_agent)
      return Note("code", "/docker (this host's configuration)",
                  "the code is what the agent put in place; carrel does not know its commit");
    auto allowed = RequireAllowedRepository(request_.repo_url, host_.allowed_repositories);
    if (!allowed) Refuse(allowed.error().ToString());
    reusable_action_ =
        !request_.study_repo_url.empty() &&
        (request_.repo_url != request_.study_repo_url ||
         (!request_.study_commit.empty() && request_.commit != request_.study_commit));
  }

  void FindTool() {
    auto image = ParseImageReference(request_.image);
    if (!image) return Refuse("the image \"" + request_.image + "\" is not name:tag");
    for (const auto& [name, tool] : policy_.tools) {
      if (std::find(tool.images.begin(), tool.images.end(), image->name) == tool.images.end())
        continue;
      if (!tool.versions.contains(image->tag))
        return Refuse("version " + image->tag + " of " + name + " is not listed (" + tool.entry +
                      "/versions)");
      tool_ = &tool;
      tag_ = image->tag;
      decision_.tool = name;
      return Note("tool", tool.entry, "the image " + request_.image + " is the tool " + name);
    }
    Refuse("the image \"" + image->name + "\" belongs to no tool (tools.json)");
  }

  void FindProject() {
    auto mapped = policy_.workspace_projects.find(request_.workspace);
    const bool listed = mapped != policy_.workspace_projects.end();
    if (request_.project.empty() && !listed)
      return Refuse("the workspace \"" + request_.workspace +
                    "\" belongs to no project (projects.json), and the job names none");
    const Project* project =
        policy_.FindProject(request_.project.empty() ? mapped->second : request_.project);
    if (project == nullptr)
      return Refuse("the project \"" + request_.project + "\" is not in projects.json");
    if (listed && mapped->second != project->id)
      return Refuse("the workspace \"" + request_.workspace + "\" belongs to the project " +
                    mapped->second + ", not to " + project->id);
    if (!listed && !project->accepts_unlisted_workspaces)
      return Refuse("the workspace \"" + request_.workspace + "\" is not one of the project " +
                    project->id + " (" + project->entry + "/workspaces)");
    project_ = project;
    decision_.project = project->id;
    decision_.project_kind = project->kind;
    Note("project", project->entry,
         "the workspace " + request_.workspace + " belongs to the project " + project->id + " (" +
             project->kind + ")");
  }

  // The agent is trusted to say who asks; what that role may start is the policy's.
  void CheckUser() {
    if (project_ == nullptr) return;
    auto listed = policy_.users.find(request_.user);
    std::set<std::string> roles;
    if (listed != policy_.users.end())
      roles = listed->second;
    else if (!policy_.unlisted_users_are.empty())
      roles = {policy_.unlisted_users_are};
    std::string names;
    for (const std::string& name : roles) {
      names += (names.empty() ? "" : ", ") + name;
      auto role = policy_.roles.find(name);
      if (role == policy_.roles.end() || !role->second.starts.contains(project_->kind)) continue;
      decision_.role = name;
      return Note("role", role->second.entry,
                  "as " + name + " the user may start jobs of " + project_->kind + " projects");
    }
    Refuse("the user \"" + request_.user + "\" (" + (names.empty() ? "no role" : names) +
           ") may not start jobs of " + project_->kind + " projects (roles.json)");
  }

  void FindCommand() {
    const std::string first = request_.args.empty() ? "" : request_.args[0];
    auto found = tool_->commands.find(first);
    if (found != tool_->commands.end()) {
      decision_.command = first;
      rule_ = &found->second;
    } else if (tool_->any_command) {
      rule_ = &*tool_->any_command;
    } else {
      return Refuse("\"" + first + "\" is not a command of " + tool_->name +
                    " (its first argument, exactly as " + tool_->entry + "/commands has it)");
    }
    decision_.decided_by["command"] = rule_->entry;
  }

  void CheckListing() {
    if (tool_->requires_listing.empty() || project_ == nullptr) return;
    const Grant* grant = policy_.FindGrant(tool_->requires_listing, project_->id, now_ns_);
    if (grant == nullptr)
      return Refuse(tool_->name + " is for projects listed in permissions/" +
                    tool_->requires_listing + ".json; " + project_->id +
                    " is not there (or no longer)");
    Note("listing", grant->entry, project_->id + " may use " + tool_->name + ": " + grant->reason);
  }

  void CheckArguments() {
    if (auto refused = FindRefusedArgument(request_.args, tool_->refused_arguments))
      Refuse("the argument \"" + *refused + "\" is not for a job to give (" + tool_->entry +
             "/refused_arguments)");
    for (const PreflightRule& rule : tool_->preflight) {
      auto file = FindOnlyPositional(request_.args, rule.options_with_value);
      if (file)
        decision_.preflight.push_back({rule.check, *file});
      else
        Refuse("the file for the check " + rule.check + ": " + file.error().ToString());
    }
    if (!decision_.preflight.empty())
      decision_.decided_by["preflight"] = tool_->entry + "/preflight";
  }

  void CheckImageDigest() {
    decision_.image_digest = request_.image_sha;
    auto pinned = tool_->digests.find(tag_);
    if (pinned == tool_->digests.end()) return;
    decision_.decided_by["image_digest"] = tool_->entry + "/digests/" + tag_;
    if (!request_.image_sha.empty() && request_.image_sha != pinned->second)
      Refuse("the job asks for " + request_.image + " as " + request_.image_sha +
             ", the policy pins " + pinned->second);
    decision_.image_digest = pinned->second;
  }

  void DecideDatabase() {
    if (!request_.allow_database_access) return;  // less than granted is honoured
    if (tool_ == nullptr || rule_ == nullptr || project_ == nullptr) return;
    const std::string asks = "the job asks for database access, but ";
    if (reusable_action_)
      return Refuse(asks +
                    "a reusable action (code of another repository or commit than the "
                    "study's) never reaches one");
    if (!rule_->database)
      return Refuse(asks + tool_->name +
                    (decision_.command.empty() ? "" : " " + decision_.command) +
                    " does not reach one (" + rule_->entry + ")");
    const std::string& name = request_.database_name;
    const Grant* grant = policy_.FindGrant("databases", project_->id, now_ns_, name);
    if (grant == nullptr || name.empty())
      return Refuse(asks + "no grant in force names the database \"" + name + "\" for " +
                    project_->id + " (permissions/databases.json)");
    Note("database", grant->entry,
         tool_->name + " may reach the database " + name + ": " + grant->reason);
    FindConfiguredDatabase(name);
  }

  // Where the granted database is, and whether it can be had now.
  void FindConfiguredDatabase(const std::string& name) {
    auto found = host_.databases.find(name);
    if (found == host_.databases.end())
      return Refuse("this host has no database \"" + name + "\" (/databases in its configuration)");
    const DatabaseConfig& configured = found->second;
    if (configured.kind == "relay") {
      // Carrel cannot read the protocol: statements stay unseen and the real credentials go inside.
      const Grant* relay = policy_.FindGrant("plain-relay", project_->id, now_ns_, name);
      if (relay == nullptr)
        return Refuse("the database \"" + name + "\" is relayed unread, which no grant in force " +
                      "names for " + project_->id + " (permissions/plain-relay.json)");
      Note("plain_relay", relay->entry, name + " is relayed unread: " + relay->reason);
    }
    if (!IsServedKind(configured.kind))
      return Refuse("the database \"" + name + "\" is of kind " + configured.kind +
                    ", which the gateway of this carrel does not serve");
    if (configured.maintenance == Maintenance::kRefuse) {
      in_maintenance_ = true;
      return Refuse("the database \"" + name + "\" is in maintenance; try again later");
    }
    const bool wait = configured.maintenance == Maintenance::kWait;
    if (wait)
      notes_.push_back("the database " + name + " is in maintenance: the job waits for its end");
    decision_.database = {name, configured.kind, configured.path, wait};
    configured_ = &configured;
  }

  void DecidePermissions() {
    const auto granted = policy_.EhrqlPermissions(decision_.project, now_ns_);
    std::set<std::string> chosen;
    for (const auto& [name, entry] : granted) chosen.insert(name);
    if (auto claimed = request_.env.find("EHRQL_PERMISSIONS"); claimed != request_.env.end()) {
      auto asked = ParsePermissionList(claimed->second);
      if (!asked)
        return Refuse(
            "EHRQL_PERMISSIONS: must be a JSON list of names, such as [\"appointments\"] or []");
      for (const std::string& name : *asked)
        if (!granted.contains(name))
          Refuse("EHRQL_PERMISSIONS asks for \"" + name + "\", which no grant in force gives " +
                 (project_ == nullptr ? "this job" : project_->id) + " (permissions/)");
      chosen = std::set<std::string>(asked->begin(), asked->end());
    }
    if (!decision_.database || !tool_->told_permissions) return;
    for (const std::string& name : chosen) {
      auto found = granted.find(name);
      if (found == granted.end()) continue;
      decision_.ehrql_permissions.push_back(name);
      Note("permission " + name, found->second, "the job has the permission " + name);
    }
  }

  void DecideOptOuts() {
    if (!decision_.database) return;
    const auto& permissions = decision_.ehrql_permissions;
    if (tool_->declares_opt_outs) {
      decision_.opt_outs = "declared by the query";
      decision_.decided_by["opt_outs"] = tool_->entry + "/opt_outs";
      return;
    }
    decision_.include_type_one_opt_outs =
        std::find(permissions.begin(), permissions.end(), "include_t1oo") != permissions.end();
    decision_.opt_outs = decision_.include_type_one_opt_outs ? "included" : "excluded";
    if (decision_.include_type_one_opt_outs)
      decision_.decided_by["opt_outs"] = decision_.decided_by["permission include_t1oo"];
    else
      Note("opt_outs", "permissions/type-one-opt-outs.json",
           "patients with a type-one opt-out are excluded");
  }

  void CheckLevels() {
    if (rule_ == nullptr) return;
    decision_.levels = rule_->levels;
    decision_.decided_by["levels"] = rule_->entry + "/levels";
    for (Level level : request_.levels)
      if (!rule_->levels.contains(level))
        Refuse("outputs of " + decision_.tool +
               (decision_.command.empty() ? "" : " " + decision_.command) + " may not be " +
               LevelName(level) + " (" + rule_->entry + "/levels)");
  }

  void TakeBounds(std::vector<std::string> refusals) {
    for (std::string& refusal : refusals) Refuse(std::move(refusal));
  }

  void DecideSandbox() {
    if (tool_ == nullptr) return;
    if (tool_->allow_loopback_sockets) {
      decision_.seccomp_profile = "loopback";
      Note("seccomp_profile", tool_->entry + "/allow_loopback_sockets",
           tool_->name + " may use sockets on its own loopback");
    }
    if (decision_.database && decision_.database->kind != "sqlite" &&
        decision_.seccomp_profile == "base") {
      decision_.seccomp_profile = "gateway";
      Note("seccomp_profile", decision_.decided_by["database"],
           "the database is reached over the job's own loopback");
    }
    if (tool_->copy_up_always) {
      decision_.copy_up_always = true;
      decision_.decided_by["copy_up_always"] = tool_->entry + "/copy_up_always";
    }
  }

  void DecideEnvironment() {
    auto& environment = decision_.environment;
    for (const auto& [name, value] : request_.env) {
      if (name == "EHRQL_PERMISSIONS") continue;  // carrel tells the tool itself, below
      if (!IsEnvironmentName(name) || IsReservedVariable(name))
        Refuse("the variable " + name + " is not for a job to set");
      else if (decision_.database && IsReservedBesideADatabase(name))
        Refuse("the variable " + name + " is not for a job that reaches a database to set");
      else
        environment[name] = value;
    }
    if (!host_.backend.empty()) {
      auto claimed = environment.find("OPENSAFELY_BACKEND");
      if (claimed != environment.end() && claimed->second != host_.backend)
        Refuse("the job is for the backend \"" + claimed->second + "\"; this is \"" +
               host_.backend + "\"");
      environment["OPENSAFELY_BACKEND"] = host_.backend;
    }
    if (tool_ == nullptr) return;
    for (const auto& [name, value] : tool_->environment) environment[name] = value;
    if (configured_ != nullptr) {
      for (const auto& [name, value] : configured_->environment) environment[name] = value;
      if (!configured_->temporary_database.empty())
        environment["TEMP_DATABASE_NAME"] = configured_->temporary_database;
    }
    // Carrel's own word, whatever the policy's files say: the study's code never runs beside the
    // connection.
    if (tool_->told_permissions) environment["EHRQL_ISOLATE_USER_CODE"] = "always";
    if (decision_.database && tool_->told_permissions)
      environment["EHRQL_PERMISSIONS"] = Json(decision_.ehrql_permissions).dump();
  }

  Decision Finish() {
    decision_.policy_digest = policy_.digest;
    decision_.policy_serial = policy_.bundle_serial;
    decision_.policy_commit =
        policy_.commit.empty() ? "" : policy_.commit + (policy_.commit_changed ? "+changes" : "");
    decision_.allowed = refusals_.empty();
    if (decision_.allowed) {
      decision_.reasons = std::move(notes_);
      return std::move(decision_);
    }
    // A refusal carries no grant that somebody could use by mistake.
    Decision refused;
    refused.try_again = in_maintenance_ && refusals_.size() == 1;
    refused.reasons = std::move(refusals_);
    refused.tool = decision_.tool;
    refused.command = decision_.command;
    refused.project = decision_.project;
    refused.project_kind = decision_.project_kind;
    refused.role = decision_.role;
    refused.policy_digest = decision_.policy_digest;
    refused.policy_commit = decision_.policy_commit;
    refused.policy_serial = decision_.policy_serial;
    for (const char* part : {"tool", "command", "project", "role"})
      if (auto entry = decision_.decided_by.find(part); entry != decision_.decided_by.end())
        refused.decided_by.insert(*entry);
    return refused;
  }

  const JobRequest& request_;
  const Policy& policy_;
  const HostConfig& host_;
  const int64_t now_ns_;
  const Tool* tool_ = nullptr;
  std::string tag_;
  const CommandRule* rule_ = nullptr;
  const Project* project_ = nullptr;
  bool reusable_action_ = false;
  const DatabaseConfig* configured_ = nullptr;
  bool in_maintenance_ = false;
  Decision decision_;
  std::vector<std::string> refusals_;
  std::vector<std::string> notes_;
};

}  // namespace

Decision Decide(const JobRequest& request, const Policy& policy, const HostConfig& host,
                int64_t now_ns) {
  return Decider(request, policy, host, now_ns).Run();
}

}  // namespace carrel
