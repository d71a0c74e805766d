// What the decoders of the policy's files share.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "policy/policy.h"

namespace carrel::policy_decode {

/// Collects "file: pointer: problem. What to do" over all files, one a line.
class Problems {
 public:
  void Add(const std::string& entry, const std::string& what);
  /// What JsonObject::Finish found in `file`: several problems, each with its pointer.
  void Take(const std::string& file, const Result<void>& result);
  bool empty() const { return all_.empty(); }
  std::string Join() const {
    std::string text;
    for (const std::string& problem : all_) text += (text.empty() ? "" : "\n  ") + problem;
    return text;
  }

 private:
  std::vector<std::string> all_;
};

/// A required list of levels.
std::set<Level> DecodeLevelSet(JsonObject& in, const std::string& key);

/// A list of names, none of them twice.
std::set<std::string> DecodeNames(JsonObject& in, const std::string& key);

/// A required sentence: why, or what.
std::string Reason(JsonObject& in, const std::string& key);

/// " looks like OTHER...": the problem of a name (LookAlike of names.h).
std::string LooksLike(const std::string& other);

/// A member that weakens something when it is true; then the reason must stand beside it.
bool DecodeWeakening(JsonObject& in, const std::string& key, const std::string& reason_key);

/// DecodePolicy, without the digest.
Result<Policy> DecodePolicyFiles(const PolicyFiles& files);

void DecodeTools(const Json& document, Policy& policy, Problems& problems);

}  // namespace carrel::policy_decode
