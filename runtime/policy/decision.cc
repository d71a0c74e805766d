// What becomes of a decision: an error, or a record.
#include "policy/decide.h"

namespace carrel {

Result<void> RequireAllowed(const Decision& decision) {
  if (decision.allowed) return {};
  std::string all;
  for (const std::string& reason : decision.reasons) all += (all.empty() ? "" : "; ") + reason;
  Error error = Refused("policy", all.empty() ? "the job is not allowed" : all,
                        "`carrel policy explain JOB.json` shows the whole decision");
  if (decision.try_again) error.code = EAGAIN;
  return error;
}

OrderedJson ToJson(const Decision& decision) {
  OrderedJson json;
  json["allowed"] = decision.allowed;
  if (decision.try_again) json["try_again"] = true;
  json["reasons"] = decision.reasons;
  json["tool"] = decision.tool;
  json["command"] = decision.command;
  json["project"] = decision.project;
  json["project_kind"] = decision.project_kind;
  json["role"] = decision.role;
  json["policy_digest"] = decision.policy_digest;
  json["policy_commit"] = decision.policy_commit;
  if (decision.policy_serial > 0) json["policy_serial"] = decision.policy_serial;
  if (decision.allowed) {
    json["image_digest"] = decision.image_digest;
    json["database"] = nullptr;
    if (decision.database)
      json["database"] = {{"name", decision.database->name}, {"kind", decision.database->kind}};
    json["opt_outs"] = decision.opt_outs;
    json["include_type_one_opt_outs"] = decision.include_type_one_opt_outs;
    json["ehrql_permissions"] = decision.ehrql_permissions;
    json["levels"] = OrderedJson::array();
    for (Level level : decision.levels) json["levels"].push_back(LevelName(level));
    json["level4"] = {{"max_csv_rows", decision.level4.max_csv_rows},
                      {"max_file_bytes", decision.level4.max_file_bytes},
                      {"file_types", decision.level4.file_types}};
    json["limits"] = ToJson(decision.limits);
    json["seccomp_profile"] = decision.seccomp_profile;
    json["copy_up_always"] = decision.copy_up_always;
    json["preflight"] = OrderedJson::array();
    for (const Preflight& preflight : decision.preflight)
      json["preflight"].push_back({{"check", preflight.check}, {"file", preflight.file}});
    // Names only: a value may be a secret of a later kind of database.
    json["environment"] = OrderedJson::array();
    for (const auto& [name, value] : decision.environment) json["environment"].push_back(name);
  }
  json["decided_by"] = decision.decided_by;
  return json;
}

}  // namespace carrel
