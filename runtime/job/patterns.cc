#include "job/patterns.h"

#include <algorithm>
#include <vector>

#include "job/utf8.h"

namespace carrel {
namespace {

using Text = std::u32string;

// The components of a pattern or path; "." and empty ones vanish, as in pathlib.
std::vector<std::string_view> Components(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (!part.empty() && part != ".") parts.push_back(part);
    start = end + 1;
  }
  return parts;
}

bool IsWild(std::string_view component) {
  return component.find_first_of("*?[") != std::string_view::npos;
}

// One element of a component: a literal, any one code point, any run of them, or a set.
struct Element {
  enum Kind { kLiteral, kAny, kStar, kSet } kind;
  char32_t literal = 0;
  bool negated = false;
  std::vector<std::pair<char32_t, char32_t>> ranges;

  bool Matches(char32_t c) const {
    if (kind == kLiteral) return c == literal;
    if (kind == kAny) return true;
    const bool in = std::any_of(ranges.begin(), ranges.end(),
                                [c](const auto& r) { return r.first <= c && c <= r.second; });
    return in != negated;
  }
};

// Reads the set that starts after "[" at `at`; false when no "]" ends it: then "[" is a literal.
bool ReadSet(const Text& pattern, size_t* at, Element* element) {
  size_t i = *at;
  element->kind = Element::kSet;
  element->negated = i < pattern.size() && pattern[i] == U'!';
  if (element->negated) ++i;
  const size_t first = i;
  // "]" as the first member is a member.
  const size_t close = pattern.find(U']', std::min(first + 1, pattern.size()));
  if (close == Text::npos) return false;
  while (i < close) {
    const bool range = i + 2 < close && pattern[i + 1] == U'-';
    const char32_t low = pattern[i];
    const char32_t high = range ? pattern[i + 2] : low;
    if (low <= high) element->ranges.emplace_back(low, high);  // "z-a" is empty, as in fnmatch
    i += range ? 3 : 1;
  }
  *at = close + 1;
  return true;
}

std::vector<Element> Compile(const Text& pattern) {
  std::vector<Element> elements;
  for (size_t i = 0; i < pattern.size();) {
    const char32_t c = pattern[i++];
    Element element{Element::kLiteral, c};
    if (c == U'*') element.kind = Element::kStar;
    if (c == U'?') element.kind = Element::kAny;
    if (c == U'[') {
      Element set{Element::kSet};
      if (ReadSet(pattern, &i, &set)) element = std::move(set);
    }
    elements.push_back(std::move(element));
  }
  return elements;
}

// Matches a sequence against one with stars, without recursion: only the last star is ever
// revisited, so a pattern of many stars costs no more than length times length.
template <typename IsStar, typename Match>
bool MatchStars(size_t elements, size_t items, IsStar is_star, Match match) {
  size_t e = 0, i = 0, star = elements, resume = 0;
  while (i < items) {
    if (e < elements && is_star(e)) {
      star = e++;
      resume = i;
    } else if (e < elements && match(e, i)) {
      ++e;
      ++i;
    } else if (star < elements) {
      e = star + 1;
      i = ++resume;
    } else {
      return false;
    }
  }
  while (e < elements && is_star(e)) ++e;
  return e == elements;
}

bool MatchComponent(std::string_view pattern, std::string_view name) {
  if (!IsWild(pattern)) return pattern == name;
  const std::vector<Element> elements = Compile(DecodeUtf8Lossy(pattern));
  const Text text = DecodeUtf8Lossy(name);
  return MatchStars(
      elements.size(), text.size(), [&](size_t e) { return elements[e].kind == Element::kStar; },
      [&](size_t e, size_t i) { return elements[e].Matches(text[i]); });
}

}  // namespace

Result<void> CheckPattern(std::string_view pattern, const std::string& where) {
  if (!IsValidUtf8(pattern)) return BadInput(where, "the pattern is not UTF-8");
  if (std::any_of(pattern.begin(), pattern.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return BadInput(where, "the pattern holds a control character");
  if (pattern.starts_with('/'))
    return BadInput(where, "the pattern is absolute", "Name files relative to the workspace");
  const auto parts = Components(pattern);
  if (parts.empty()) return BadInput(where, "the pattern is empty");
  for (std::string_view part : parts) {
    if (part == "..")
      return BadInput(where, "the pattern leaves the workspace", "Remove the \"..\"");
    if (part != "**" && part.find("**") != std::string_view::npos)
      return BadInput(where, "\"**\" can only be a whole component of a pattern");
  }
  return {};
}

bool MatchesPattern(std::string_view pattern, std::string_view path) {
  if (!CheckPattern(pattern, "")) return false;
  const auto elements = Components(pattern);
  const auto names = Components(path);
  if (elements.back() == "**" || pattern.ends_with('/')) return false;  // finds directories only
  // The last component matches the file's own name; "**" before it any number of directories.
  return MatchStars(
      elements.size(), names.size(), [&](size_t e) { return elements[e] == "**"; },
      [&](size_t e, size_t i) { return MatchComponent(elements[e], names[i]); });
}

std::string PatternRoot(std::string_view pattern) {
  const auto parts = Components(pattern);
  std::string root;
  for (size_t i = 0; i + 1 < parts.size() && !IsWild(parts[i]); ++i) {
    if (!root.empty()) root += '/';
    root += parts[i];
  }
  return root;
}

}  // namespace carrel
