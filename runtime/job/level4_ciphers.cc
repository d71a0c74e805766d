// Tables whose letters are shifted or whose characters are turned round (declared in
// level4_text.h).
#include <algorithm>
#include <array>
#include <compare>
#include <set>
#include <string>

#include "job/level4_lines.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

constexpr unsigned kLetters = 26;
constexpr unsigned kStepBits = 5;
constexpr unsigned kNoStep = 31;  // to or from a digit
constexpr size_t kMaxReadings = 4;

// Long enough not to come by chance; the shorter ones are in their place in a table of these.
constexpr std::array<std::string_view, 4> kNames = {"patientid", "personid", "nhsnumber",
                                                    "cipantid"};

constexpr unsigned Step(char from, char to) {
  return (static_cast<unsigned>(to - from) + kLetters) % kLetters;
}

// A word by the steps from letter to letter, which no shift of the alphabet changes.
struct Pattern {
  uint64_t steps = 0, mask = 0;
  char last = '\0';
  bool reversed = false;
};

constexpr Pattern MakePattern(std::string_view name, bool reversed) {
  Pattern pattern{0, 0, reversed ? name.front() : name.back(), reversed};
  for (size_t i = 1; i < name.size(); ++i) {
    const size_t at = reversed ? name.size() - 1 - i : i;
    const unsigned step = Step(name[reversed ? at + 1 : at - 1], name[at]);
    pattern.steps = pattern.steps << kStepBits | step;
    pattern.mask = pattern.mask << kStepBits | kNoStep;
  }
  return pattern;
}

constexpr auto kPatterns = [] {
  std::array<Pattern, 2 * kNames.size()> patterns{};
  for (size_t i = 0; i < patterns.size(); ++i) patterns[i] = MakePattern(kNames[i / 2], i % 2 == 1);
  return patterns;
}();

constexpr uint32_t kLastSteps = [] {
  uint32_t steps = 0;
  for (const Pattern& pattern : kPatterns) steps |= 1u << (pattern.steps & kNoStep);
  return steps;
}();

// How a text is to be read.
struct Reading {
  unsigned shift = 0;
  bool reversed = false;
  bool operator==(const Reading&) const = default;
  bool operator<(const Reading& other) const {
    return std::pair(shift, reversed) < std::pair(other.shift, other.reversed);
  }
};

// The ways in which names of identifiers stand in the text, but for the plain one. What is no
// letter or digit is passed over, as in names that are read as they are.
std::set<Reading> FindReadings(std::string_view text) {
  std::set<Reading> found;
  uint64_t steps = 0;
  char before = '\0';
  for (char c : text) {
    const char lower = static_cast<char>(c | 0x20);
    const bool letter = lower >= 'a' && lower <= 'z';
    if (!letter && (c < '0' || c > '9')) continue;
    const unsigned step = letter && before != '\0' ? Step(before, lower) : kNoStep;
    steps = steps << kStepBits | step;
    before = letter ? lower : '\0';
    if ((kLastSteps >> step & 1) == 0) continue;
    for (const Pattern& pattern : kPatterns) {
      if (((steps ^ pattern.steps) & pattern.mask) != 0) continue;
      const Reading reading{Step(pattern.last, lower), pattern.reversed};
      if (reading != Reading{}) found.insert(reading);
      if (found.size() > kMaxReadings) return found;
    }
  }
  return found;
}

std::string Shifted(std::string_view text, unsigned shift) {
  std::string plain(text);
  for (char& c : plain) {
    const char base = c >= 'a' && c <= 'z' ? 'a' : c >= 'A' && c <= 'Z' ? 'A' : '\0';
    if (base == '\0') continue;
    c = static_cast<char>(base + (static_cast<unsigned>(c - base) + kLetters - shift) % kLetters);
  }
  return plain;
}

std::string LinesReversed(std::string_view text) {
  std::string plain;
  plain.reserve(text.size() + 1);
  while (!text.empty()) {
    const std::string_view line = TakeLine(&text);
    plain.append(line.rbegin(), line.rend());
    plain += '\n';
  }
  return plain;
}

}  // namespace

Refusal CheckCiphers(std::string_view text) {
  const std::set<Reading> readings = FindReadings(text);
  if (readings.size() > kMaxReadings)
    return "It holds names of patient identifiers in several ciphers";
  for (const Reading& reading : readings) {
    const std::string plain = Shifted(text, reading.shift);
    if (!reading.reversed) {
      if (auto refusal = CheckIdentifiers(plain)) return refusal;
      continue;
    }
    if (auto refusal = CheckIdentifiers(LinesReversed(plain))) return refusal;
    if (auto refusal = CheckIdentifiers(std::string(plain.rbegin(), plain.rend()))) return refusal;
  }
  return std::nullopt;
}

}  // namespace carrel
