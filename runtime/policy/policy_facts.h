// A policy as a list of plain facts: what `carrel policy diff` and `who-can` speak in.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/policy.h"

namespace carrel {

/// Every decision follows from these: when one widens, a new grant, a restriction gone, or an
/// amount that grew is among them.
struct PolicyFacts {
  std::set<std::string> grants;            ///< "POS-1 may reach the database default"
  std::set<std::string> restrictions;      ///< "sqlrunner is only for projects in ..."
  std::map<std::string, int64_t> amounts;  ///< "the most memory of a job (bytes)"; more is wider
  /// A grant to when it holds: from (inclusive) and until (exclusive), apart and in order.
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> periods;
};

/// `now_ns`: expired grants are absent.
PolicyFacts FactsOf(const Policy& policy, int64_t now_ns);

struct PolicyChange {
  bool widens = false;
  std::string sentence;
};

/// Who gains or loses what, gains first.
std::vector<PolicyChange> DiffPolicies(const Policy& before, const Policy& after, int64_t now_ns);

/// Answers "reach database [NAME]", "include type-one opt-outs", "include ndoo", "use
/// event-level-data", "use dataset NAME", "read level 3", "read level 4",
/// "read the audit log", "use TOOL", "start KIND" (of project): one line each. kBadInput, with this
/// list, for another question.
Result<std::vector<std::string>> WhoCan(const Policy& policy, const std::string& question,
                                        int64_t now_ns);

}  // namespace carrel
