// Strict JSON in: no duplicate keys, no unknown keys, bounded size and depth, and every error with
// its JSON pointer.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carrel {

using Json = nlohmann::json;
/// Keeps the order of insertion: for what people read.
using OrderedJson = nlohmann::ordered_json;

}  // namespace carrel

// Their code is made once (base/json_instances.cc), not in every file: half the time of a build.
extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace carrel {

/// Parses `text`; `name` (a file name) starts the error's place. Refuses duplicate keys, nesting
/// deeper than 64, invalid UTF-8, NaN, text after the value, and more than `max_bytes`.
Result<Json> ParseJson(std::string_view text, const std::string& name,
                       size_t max_bytes = 16u << 20);
Result<Json> ReadJsonFile(const std::string& path, size_t max_bytes = 16u << 20);

/// Reads the members of one object. Every problem is collected; `Finish` returns the first as an
/// Error whose text holds them all, and refuses members that nobody asked for.
///
///   JsonObject in(value, "/limits");
///   limits.cpus = in.Double("cpus", 0.01, 1024).value_or(2);
///   CARREL_TRY(in.Finish());
class JsonObject {
 public:
  /// `pointer` is the JSON pointer of `value` ("" for the document). A value that is no object is a
  /// problem which Finish reports.
  JsonObject(const Json& value, std::string pointer);

  bool Has(const std::string& key) const;
  /// Optional members: nullopt when absent (or of the wrong kind, which Finish reports). Strings
  /// with NUL or control characters are refused, but for "\n" and "\t" in `Text`.
  std::optional<std::string> String(const std::string& key, size_t max_bytes = 4096);
  std::optional<std::string> Text(const std::string& key, size_t max_bytes = 65536);
  std::optional<int64_t> Int(const std::string& key, int64_t min, int64_t max);
  std::optional<double> Double(const std::string& key, double min, double max);
  std::optional<bool> Bool(const std::string& key);
  std::optional<std::vector<std::string>> Strings(const std::string& key, size_t max_bytes = 4096);
  std::optional<std::map<std::string, std::string>> StringMap(const std::string& key);
  /// A member of any kind, or nullptr. Its own decoding is the caller's.
  const Json* Any(const std::string& key);

  /// The same, required: a missing member is a problem, and an empty value is returned.
  std::string RequiredString(const std::string& key, size_t max_bytes = 4096);
  int64_t RequiredInt(const std::string& key, int64_t min, int64_t max);
  bool RequiredBool(const std::string& key);

  /// Adds a problem with member `key` that the caller found.
  void Problem(const std::string& key, const std::string& what);
  /// Takes over the problems of a nested decode.
  void Merge(const Result<void>& nested);

  /// The pointer of a member, escaped as RFC 6901 says.
  std::string PointerTo(const std::string& key) const;

  /// kBadInput with all problems, or success.
  Result<void> Finish();

 private:
  const Json* Find(const std::string& key);
  bool CheckString(const std::string& key, const Json& value, size_t max_bytes, bool lines);

  const Json& value_;
  std::string pointer_;
  std::set<std::string> asked_;
  std::vector<std::string> problems_;
};

}  // namespace carrel
