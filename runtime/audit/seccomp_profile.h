// Which rules of a seccomp profile (OCI linux.seccomp JSON) the calls of a log used: the smallest
// profile that those jobs would pass, and what the present one allows in excess.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "audit/event.h"
#include "base/json.h"
#include "base/result.h"

namespace carrel {

class ProfileUse {
 public:
  /// The rules of all `documents`, as they are loaded together. None: every call counts as allowed
  /// by its name alone. kBadInput for a document that is no profile.
  static Result<ProfileUse> Of(const std::vector<std::string>& documents);

  void Add(const AuditEvent& call);

  /// The rules that some call used, each with the names that used it, and a rule by name for what
  /// was let through but none of the rules allows.
  OrderedJson Smallest() const;

  /// Names that the profile allows, with or without conditions, and no call used.
  std::vector<std::string> Excess() const;
  /// Rules with conditions that no call met, of names that were used otherwise: "socket: AF_INET".
  std::vector<std::string> UnusedConditions() const;
  /// Names that were let through, but that the profile does not allow.
  std::vector<std::string> Missing() const;
  size_t allowed() const { return allowed_.size(); }
  size_t used() const;

 private:
  struct Compare {
    unsigned index = 0;
    std::string op;
    uint64_t value = 0, second = 0;
    bool Holds(const std::array<uint64_t, 6>& args) const;
  };
  struct Rule {
    OrderedJson json;
    bool allows = false;
    std::vector<Compare> compares;
    std::set<std::string> used_by;
  };
  Result<void> AddDocument(const std::string& document);

  OrderedJson head_;  ///< the members of the first document but its rules
  std::vector<Rule> rules_;
  std::map<uint32_t, std::vector<size_t>> by_number_;
  std::set<std::string> allowed_;
  std::set<std::string> unknown_;  ///< let through by no rule
};

}  // namespace carrel
