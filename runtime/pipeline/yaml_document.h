// YAML in: one document of bounded size and depth as a tree in which every value knows its line.
// yaml-cpp reads it; what a project file has no use for, and an attacker has, is refused.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// A place in a text; both count from 1, as editors do.
struct TextPlace {
  int line = 1;
  int column = 1;
};

struct YamlMember;

/// One value. Only the members of its kind are filled.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  TextPlace place;
  std::string text;                 ///< kScalar
  bool quoted = false;              ///< kScalar: a string whatever it looks like
  std::vector<YamlNode> items;      ///< kList
  std::vector<YamlMember> members;  ///< kMap, in the file's order

  bool IsNull() const { return kind == Kind::kNull; }
  bool IsScalar() const { return kind == Kind::kScalar; }
  bool IsList() const { return kind == Kind::kList; }
  bool IsMap() const { return kind == Kind::kMap; }
  /// The value of a member, or nullptr.
  const YamlNode* Find(std::string_view key) const;
};

/// A member of a map.
struct YamlMember {
  YamlNode first;   ///< its key
  YamlNode second;  ///< its value
};

/// What a text is not good for, and where. `path` is "actions.extract.run", or empty.
struct YamlProblem {
  TextPlace place;
  std::string path;
  std::string what;
  std::string hint;
};

/// Reads `text`. Refused, each with its place: more than `max_bytes`, invalid UTF-8 (no UTF-16
/// either), control characters, anchors, aliases and tags (a few lines of aliases are gigabytes),
/// nesting deeper than 16, duplicate keys, keys that are no scalars, a second document, an empty
/// one. Keys that are there twice are all returned, and `root` has both; after any other problem
/// the rest cannot be read with certainty: it is the last, and what `root` has is not all of the
/// text.
std::vector<YamlProblem> ReadYaml(std::string_view text, size_t max_bytes, YamlNode& root);

/// The value as JSON. Plain scalars are numbers, true, false where YAML 1.2's core schema says so.
OrderedJson ToJson(const YamlNode& node);

}  // namespace carrel
