#include "audit/seccomp_profile.h"

#include <algorithm>

#include "audit/render.h"
#include "audit/syscall_names.h"

namespace carrel {

bool ProfileUse::Compare::Holds(const std::array<uint64_t, 6>& args) const {
  const uint64_t arg = args[index];
  if (op == "SCMP_CMP_EQ") return arg == value;
  if (op == "SCMP_CMP_NE") return arg != value;
  if (op == "SCMP_CMP_LT") return arg < value;
  if (op == "SCMP_CMP_LE") return arg <= value;
  if (op == "SCMP_CMP_GE") return arg >= value;
  if (op == "SCMP_CMP_GT") return arg > value;
  return (arg & value) == second;  // SCMP_CMP_MASKED_EQ: value is the mask
}

Result<void> ProfileUse::AddDocument(const std::string& document) {
  CARREL_ASSIGN(const Json parsed, ParseJson(document, "profile"));
  JsonObject in(parsed, "");
  const Json* rules = in.Any("syscalls");
  if (rules == nullptr || !rules->is_array()) return BadInput("/syscalls", "there are no rules");
  for (size_t i = 0; i < rules->size(); ++i) {
    const std::string pointer = "/syscalls/" + std::to_string(i);
    JsonObject fields((*rules)[i], pointer);
    Rule rule;
    rule.json = OrderedJson::parse((*rules)[i].dump());
    const auto names = fields.Strings("names").value_or(std::vector<std::string>());
    rule.allows = fields.RequiredString("action") == "SCMP_ACT_ALLOW";
    const Json* args = fields.Any("args");
    for (const char* other : {"errnoRet", "comment"}) (void)fields.Any(other);
    CARREL_TRY(fields.Finish());
    for (size_t k = 0; args != nullptr && k < args->size(); ++k) {
      JsonObject arg((*args)[k], pointer + "/args/" + std::to_string(k));
      Compare compare;
      compare.index = static_cast<unsigned>(arg.RequiredInt("index", 0, 5));
      compare.value = static_cast<uint64_t>(arg.RequiredInt("value", 0, INT64_MAX));
      compare.second = static_cast<uint64_t>(arg.Int("valueTwo", 0, INT64_MAX).value_or(0));
      compare.op = arg.RequiredString("op");
      CARREL_TRY(arg.Finish());
      rule.compares.push_back(std::move(compare));
    }
    for (const std::string& name : names) {
      if (rule.allows) allowed_.insert(name);
      if (auto nr = SyscallNumber(name)) by_number_[*nr].push_back(rules_.size());
    }
    rules_.push_back(std::move(rule));
  }
  return {};
}

Result<ProfileUse> ProfileUse::Of(const std::vector<std::string>& documents) {
  ProfileUse use;
  use.head_ = {{"defaultAction", "SCMP_ACT_ERRNO"},
               {"defaultErrnoRet", 38},
               {"architectures", {"SCMP_ARCH_X86_64"}}};
  for (size_t i = 0; i < documents.size(); ++i) {
    CARREL_TRY(use.AddDocument(documents[i]));
    if (i > 0) continue;
    use.head_ = OrderedJson::parse(documents[i]);
    use.head_.erase("syscalls");
  }
  return use;
}

void ProfileUse::Add(const AuditEvent& call) {
  // The filter refuses every foreign interface.
  if ((call.flags & kCallCompat) != 0) return;
  const bool denied = (call.flags & kCallDenied) != 0;
  bool matched = false;
  if (auto rules = by_number_.find(call.nr); rules != by_number_.end()) {
    for (const size_t index : rules->second) {
      Rule& rule = rules_[index];
      if (!std::all_of(rule.compares.begin(), rule.compares.end(),
                       [&](const Compare& compare) { return compare.Holds(call.args); }))
        continue;
      // Of a rule that refuses, what the job saw was its errno: it is kept as well.
      rule.used_by.insert(SyscallName(call.nr, false));
      matched |= rule.allows;
    }
  }
  if (denied || matched) return;
  if (const std::string name = SyscallName(call.nr, false); SyscallNumber(name))
    unknown_.insert(name);
}

OrderedJson ProfileUse::Smallest() const {
  OrderedJson profile = head_;
  OrderedJson rules = OrderedJson::array();
  for (const Rule& rule : rules_) {
    if (rule.used_by.empty()) continue;
    OrderedJson kept = rule.json;
    kept["names"] = rule.used_by;
    rules.push_back(std::move(kept));
  }
  if (!unknown_.empty()) rules.push_back({{"names", unknown_}, {"action", "SCMP_ACT_ALLOW"}});
  profile["syscalls"] = std::move(rules);
  return profile;
}

size_t ProfileUse::used() const { return allowed() - Excess().size(); }

std::vector<std::string> ProfileUse::Excess() const {
  std::set<std::string> rest = allowed_;
  for (const Rule& rule : rules_)
    if (rule.allows)
      for (const std::string& name : rule.used_by) rest.erase(name);
  return {rest.begin(), rest.end()};
}

std::vector<std::string> ProfileUse::UnusedConditions() const {
  const std::vector<std::string> excess = Excess();
  std::vector<std::string> out;
  for (const Rule& rule : rules_) {
    if (!rule.allows || rule.compares.empty() || !rule.used_by.empty()) continue;
    for (const auto& name : rule.json["names"]) {
      const std::string text = name.get<std::string>();
      if (std::find(excess.begin(), excess.end(), text) != excess.end()) continue;
      out.push_back(text + ": " + rule.json.value("comment", rule.json["args"].dump()));
    }
  }
  return out;
}

std::vector<std::string> ProfileUse::Missing() const { return {unknown_.begin(), unknown_.end()}; }

}  // namespace carrel
