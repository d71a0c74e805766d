#include "job/identifier_names.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kMaxColumnName = 256;  // a column's name, in whatever spelling

bool IsNameDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }

struct Lookalike {
  char32_t first, last;
  char as;
};

// Letters of the names that others resemble: with accents, then Greek, Cyrillic, small capitals and
// those of phonetics.
constexpr std::array<Lookalike, 77> kLookalikes = {{
    {0xc0, 0xc5, 'a'},     {0xc8, 0xcb, 'e'},     {0xcc, 0xcf, 'i'},     {0xd1, 0xd1, 'n'},
    {0xd2, 0xd6, 'o'},     {0xd9, 0xdc, 'u'},     {0xe0, 0xe5, 'a'},     {0xe8, 0xeb, 'e'},
    {0xec, 0xef, 'i'},     {0xf1, 0xf1, 'n'},     {0xf2, 0xf6, 'o'},     {0xf9, 0xfc, 'u'},
    {0x100, 0x105, 'a'},   {0x10e, 0x111, 'd'},   {0x112, 0x11b, 'e'},   {0x124, 0x127, 'h'},
    {0x128, 0x131, 'i'},   {0x143, 0x148, 'n'},   {0x14c, 0x151, 'o'},   {0x154, 0x159, 'r'},
    {0x15a, 0x161, 's'},   {0x162, 0x167, 't'},   {0x168, 0x173, 'u'},   {0x391, 0x391, 'a'},
    {0x392, 0x392, 'b'},   {0x395, 0x395, 'e'},   {0x397, 0x397, 'h'},   {0x399, 0x399, 'i'},
    {0x39c, 0x39c, 'm'},   {0x39d, 0x39d, 'n'},   {0x39f, 0x39f, 'o'},   {0x3a1, 0x3a1, 'p'},
    {0x3a4, 0x3a4, 't'},   {0x3b1, 0x3b1, 'a'},   {0x3b5, 0x3b5, 'e'},   {0x3b7, 0x3b7, 'n'},
    {0x3b9, 0x3b9, 'i'},   {0x3bf, 0x3bf, 'o'},   {0x3c1, 0x3c1, 'p'},   {0x3c4, 0x3c4, 't'},
    {0x405, 0x405, 's'},   {0x406, 0x407, 'i'},   {0x410, 0x410, 'a'},   {0x415, 0x415, 'e'},
    {0x41c, 0x41c, 'm'},   {0x41d, 0x41d, 'h'},   {0x41e, 0x41e, 'o'},   {0x420, 0x420, 'p'},
    {0x422, 0x422, 't'},   {0x430, 0x430, 'a'},   {0x435, 0x435, 'e'},   {0x43e, 0x43e, 'o'},
    {0x440, 0x440, 'p'},   {0x442, 0x442, 't'},   {0x455, 0x455, 's'},   {0x456, 0x457, 'i'},
    {0x501, 0x501, 'd'},   {0x43f, 0x43f, 'n'},   {0x251, 0x251, 'a'},   {0x269, 0x26a, 'i'},
    {0x274, 0x274, 'n'},   {0x280, 0x280, 'r'},   {0x299, 0x299, 'b'},   {0x29c, 0x29c, 'h'},
    {0x1d00, 0x1d00, 'a'}, {0x1d05, 0x1d05, 'd'}, {0x1d07, 0x1d07, 'e'}, {0x1d0d, 0x1d0d, 'm'},
    {0x1d0f, 0x1d0f, 'o'}, {0x1d18, 0x1d18, 'p'}, {0x1d1b, 0x1d1b, 't'}, {0x1d1c, 0x1d1c, 'u'},
    {0xa731, 0xa731, 's'}, {0x1d43, 0x1d43, 'a'}, {0x1d48, 0x1d48, 'd'}, {0x1d49, 0x1d49, 'e'},
    {0x2071, 0x2071, 'i'},
}};

// The ASCII letter that a character is read as, or 0.
char ReadAs(char32_t c) {
  if (c >= 0xff01 && c <= 0xff5e) return static_cast<char>(c - 0xfee0);  // full-width
  if (c >= 0x24b6 && c <= 0x24e9) return static_cast<char>('a' + (c - 0x24b6) % 26);
  if (c >= 0x1d400 && c < 0x1d6a4) return static_cast<char>('a' + (c - 0x1d400) % 26);
  const auto found = std::find_if(kLookalikes.begin(), kLookalikes.end(),
                                  [c](const Lookalike& l) { return c >= l.first && c <= l.last; });
  return found == kLookalikes.end() ? '\0' : found->as;
}

// The text in ASCII, as it is read; what is not read as an ASCII letter is left out.
std::string AsRead(std::string_view text) {
  std::string ascii;
  ascii.reserve(text.size());
  while (!text.empty()) {
    if (text[0] >= 0) {
      ascii += text[0];
      text.remove_prefix(1);
      continue;
    }
    const CodePoint point = FirstCodePoint(text);
    if (const char letter = ReadAs(point.value); letter != '\0') ascii += letter;
    text.remove_prefix(std::max<size_t>(point.bytes, 1));
  }
  return ascii;
}

// Letters and digits in lower case; everything else is dropped.
std::string Squeeze(std::string_view ascii) {
  std::string squeezed;
  squeezed.reserve(ascii.size());
  for (char c : ascii)
    if (IsLower(c) || IsNameDigit(c) || IsUpper(c))
      squeezed += static_cast<char>(IsUpper(c) ? c + ('a' - 'A') : c);
  return squeezed;
}

// "pseudoPatient_ID2" is "pseudo", "patient", "id" and "2".
std::vector<std::string> WordsOf(std::string_view ascii) {
  std::vector<std::string> words;
  char before = '\0';
  for (char c : ascii) {
    const bool letter = IsLower(c) || IsUpper(c);
    if (letter || IsNameDigit(c)) {
      const bool goes_on =
          letter ? IsUpper(before) || (IsLower(before) && IsLower(c)) : IsNameDigit(before);
      if (!goes_on) words.emplace_back();
      words.back() += static_cast<char>(IsUpper(c) ? c + ('a' - 'A') : c);
    }
    before = c;
  }
  return words;
}

template <size_t N>
bool IsIn(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

constexpr std::array<std::string_view, 12> kIdentifierNames = {
    "patientid", "patientids", "patientidentifier",
    "personid",  "personids",  "participantid",
    "nhsnumber", "nhsno",      "nhsnum",
    "nhsid",     "patid",      "patids",
};

// How many words, from the first on, name an identifier; 0 when they do not.
size_t NameAt(const std::vector<std::string>& words, size_t at) {
  if (IsIn(kIdentifierNames, words[at])) return 1;
  return at + 1 < words.size() && IsIn(kIdentifierNames, words[at] + words[at + 1]) ? 2 : 0;
}

// With one of these a name is of a number or a description of identifiers.
constexpr std::array<std::string_view, 44> kDescribes = {
    "n",       "num",       "number",     "count",      "counts", "cnt",        "total",
    "totals",  "sum",       "mean",       "median",     "min",    "max",        "unique",
    "uniq",    "nunique",   "missing",    "distinct",   "null",   "nulls",      "na",
    "nan",     "pct",       "percent",    "percentage", "prop",   "proportion", "rate",
    "freq",    "frequency", "with",       "without",    "has",    "is",         "valid",
    "invalid", "duplicate", "duplicates", "duplicated", "per",    "of",         "column",
    "dtype",   "type",
};
// In a title of several words these stand beside an identifier's name; others make it a sentence.
constexpr std::array<std::string_view, 12> kQualifies = {
    "pseudo", "pseudonymised", "pseudonymized", "pseudonym", "hashed",  "hash",
    "anon",   "anonymised",    "anonymized",    "encrypted", "linkage", "study"};

bool IsNameWithMore(std::string_view ascii) {
  const std::vector<std::string> words = WordsOf(ascii);
  const bool title = ascii.find(' ') != std::string_view::npos;
  size_t at = 0, length = 0;
  while (at < words.size() && (length = NameAt(words, at)) == 0) ++at;
  if (length == 0) return false;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i >= at && i < at + length) continue;
    if (title ? !IsIn(kQualifies, words[i]) : IsIn(kDescribes, words[i])) return false;
  }
  return true;
}

// Whether the field has the letters of a name: every cell of a table is asked about. What is not
// ASCII may stand for any.
bool HasLettersOfAName(std::string_view field) {
  constexpr auto bits = [](std::string_view letters) {
    uint32_t mask = 0;
    for (char c : letters) mask |= 1u << (c & 31);
    return mask;
  };
  constexpr uint32_t kId = bits("id"), kNhs = bits("nhs");
  uint32_t has = 0;
  for (char c : field) {
    if (c < 0) return true;
    if (IsLower(c) || IsUpper(c)) has |= 1u << (c & 31);
  }
  return (has & kId) == kId || (has & kNhs) == kNhs;
}

std::string_view WithoutBlanksAround(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  text.remove_suffix(text.size() - (text.find_last_not_of(kBlanks) + 1));
  return text;
}

}  // namespace

bool IsPatientIdentifier(std::string_view field) {
  if (field.size() > kMaxColumnName || !HasLettersOfAName(field)) return false;
  const std::string ascii = AsRead(WithoutBlanksAround(field));
  return IsIn(kIdentifierNames, Squeeze(ascii)) || IsNameWithMore(ascii);
}

bool MentionsPatientIdentifier(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kIds = {"patientid", "personid", "participantid",
                                                           "patid", "nhsid"};
  // Most lines of most files are numbers.
  if (std::none_of(text.begin(), text.end(),
                   [](char c) { return IsLower(c) || IsUpper(c) || c < 0; }))
    return false;
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0; });
  const std::string squeezed = ascii ? Squeeze(text) : Squeeze(AsRead(text));
  const std::string_view all = squeezed;
  for (size_t at = all.find("id"); at != all.npos; at = all.find("id", at + 1))
    for (std::string_view name : kIds)
      if (all.substr(0, at + 2).ends_with(name)) return true;
  return all.find("nhsnum") != all.npos || all.find("nhsno") != all.npos;
}

}  // namespace carrel
