#include "job/level4_text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "job/csv_sniff.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kFollowingLines = 5;
constexpr size_t kMaxValue = 40;    // a value of a table is short and one word
constexpr size_t kMaxName = 256;    // a column's name, in whatever spelling
constexpr size_t kMaxHeaders = 64;  // columns of identifiers that one line is followed up for
constexpr size_t kMaxLabel = 64;    // a label may have several words
constexpr std::string_view kDelimiters = ",;\t|";
const char kIdentifierRefusal[] =
    "It has a column of patient identifiers (such as patient_id). Files at level 4 must hold "
    "aggregated results only";

std::string RowRefusal(int64_t max_rows) {
  return "It holds a table with more than the " + std::to_string(max_rows) +
         " rows that a file at level 4 may have";
}

// Takes the next line off the front; LF, CRLF, CR and form feed end one.
std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find_first_of("\n\r\f"), text->size());
  const std::string_view line = text->substr(0, end);
  const bool crlf = text->substr(end).starts_with("\r\n");
  text->remove_prefix(std::min(end + (crlf ? 2 : 1), text->size()));
  return line;
}

// White space and '|' (as Stata and Markdown draw tables) separate the words of a printed table.
std::string_view TakeWord(std::string_view* line) {
  constexpr std::string_view kSeparators = " \t|";
  line->remove_prefix(std::min(line->find_first_not_of(kSeparators), line->size()));
  const size_t end = std::min(line->find_first_of(kSeparators), line->size());
  const std::string_view word = line->substr(0, end);
  line->remove_prefix(end);
  return word;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsInteger(std::string_view value) {
  if (value.starts_with('+') || value.starts_with('-')) value.remove_prefix(1);
  return !value.empty() && std::all_of(value.begin(), value.end(), IsDigit);
}

// A number, a date or a time.
bool IsNumeric(std::string_view value) {
  return std::any_of(value.begin(), value.end(), IsDigit) &&
         value.find_first_not_of("0123456789+-./:eETZ") == std::string_view::npos &&
         value[0] != 'e' && value[0] != 'E' && value[0] != 'T' && value[0] != 'Z';
}

struct LineShape {
  int64_t fields = 1;
  bool data = false;
};

// A line of a table with this delimiter: mostly short single words with a number among them, or
// what looks like an identifier and then labels. Lines of a program's log are neither: their time
// has a blank in it, their message several.
LineShape ShapeOf(std::string_view line, char delimiter) {
  LineShape shape{0};
  int64_t values = 0;
  bool numeric = false, all_short = true, first_is_id = false;
  for (bool more = true; more; ++shape.fields) {
    const size_t end = line.find(delimiter);
    const std::string_view field = TrimField(line.substr(0, end));
    more = end != std::string_view::npos;
    if (more) line.remove_prefix(end + 1);
    if (shape.fields == 0) first_is_id = LooksLikeIdentifierValue(field);
    all_short = all_short && field.size() <= kMaxLabel;
    if (field.size() > kMaxValue || field.find_first_of(" \t") != std::string_view::npos) continue;
    ++values;
    numeric = numeric || IsNumeric(field);
  }
  shape.data = shape.fields > 1 &&
               ((3 * values >= 2 * shape.fields && numeric) || (first_is_id && all_short));
  return shape;
}

// A line of a table that is set with blanks: a whole number first, and at least half numbers; or a
// single number or identifier alone.
bool IsPrintedRow(std::string_view line) {
  int64_t words = 0, numbers = 0;
  while (true) {
    std::string_view word = TrimField(TakeWord(&line));
    if (word.empty() && line.empty()) break;
    if (words == 0) {
      if (word.ends_with('.')) word.remove_suffix(1);
      if (!IsInteger(word) && !LooksLikeIdentifierValue(word)) return false;
    }
    ++words;
    if (IsNumeric(word) || LooksLikeIdentifierValue(word)) ++numbers;
  }
  return words > 0 && 2 * numbers >= words;
}

Refusal CheckLineCounts(std::string_view text, int64_t max_rows, bool long_lines) {
  int64_t rows = 0;
  while (!text.empty()) {
    const std::string_view line = TakeLine(&text);
    bool data = false;
    for (char delimiter : kDelimiters) {
      if (line.find(delimiter) == std::string_view::npos) continue;
      const LineShape shape = ShapeOf(line, delimiter);
      if (!long_lines && shape.fields > max_rows)
        return "A line has more than the " + std::to_string(max_rows) +
               " fields that a table at level 4 may have";
      data = data || shape.data;
    }
    if (data || IsPrintedRow(line)) ++rows;
    if (rows > max_rows + 1) return RowRefusal(max_rows);  // one may be the header
  }
  return std::nullopt;
}

// The field at `column` of a line, trimmed.
std::string_view FieldAt(std::string_view line, char delimiter, size_t column) {
  for (; column > 0; --column) {
    const size_t end = line.find(delimiter);
    if (end == std::string_view::npos) return {};
    line.remove_prefix(end + 1);
  }
  return TrimField(line.substr(0, line.find(delimiter)));
}

// `line` is the header of a delimited table if a field of it names identifiers and one of the next
// lines has a value like one in the same place.
bool IsDelimitedHeader(std::string_view line, std::string_view following) {
  for (char delimiter : kDelimiters) {
    std::string_view rest = line;
    size_t found = 0;
    for (size_t column = 0;; ++column) {
      const size_t end = rest.find(delimiter);
      if (IsPatientIdentifier(rest.substr(0, end)) && ++found <= kMaxHeaders) {
        std::string_view next = following;
        for (size_t i = 0; i < kFollowingLines && !next.empty(); ++i)
          if (LooksLikeIdentifierValue(FieldAt(TakeLine(&next), delimiter, column))) return true;
      }
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return false;
}

// The same for a printed table: words between blanks. A header has no numbers in it; its rows may
// have one more word in front (their number).
bool IsPrintedHeader(std::string_view line, std::string_view following) {
  size_t words = 0, column = 0;
  bool found = false;
  while (true) {
    const std::string_view word = TrimField(TakeWord(&line));
    if (word.empty() && line.empty()) break;
    if (IsNumeric(word)) return false;
    if (IsPatientIdentifier(word)) {
      found = true;
      column = words;
    }
    ++words;
  }
  for (size_t i = 0; found && i < kFollowingLines && !following.empty(); ++i) {
    std::string_view next = TakeLine(&following), at_column, after;
    size_t count = 0;
    while (true) {
      const std::string_view word = TrimField(TakeWord(&next));
      if (word.empty() && next.empty()) break;
      if (count == column) at_column = word;
      if (count == column + 1) after = word;
      ++count;
    }
    const auto is_id = [](std::string_view w) {
      return w.find('.') == std::string_view::npos && LooksLikeIdentifierValue(w);
    };
    if (count == words && is_id(at_column)) return true;
    if (count == words + 1 && is_id(after)) return true;
  }
  return false;
}

// Counts "patient_id: 123" and "patient_id": [1, 2 in a line: records written as text.
int CountKeyValues(std::string_view line) {
  int found = 0;
  for (size_t at = line.find_first_of(":="); at != std::string_view::npos;
       at = line.find_first_of(":=", at + 1)) {
    // A name is short: looking further back would cost the square of a line's length.
    const size_t from = at > kMaxName ? at - kMaxName : 0;
    std::string_view before = line.substr(from, at - from), after = line.substr(at + 1);
    while (!before.empty() && std::string_view(" \t\"'\\").find(before.back()) != std::string::npos)
      before.remove_suffix(1);
    const size_t start = before.find_last_of("{[(,;\"'\t|:$");
    if (!IsPatientIdentifier(before.substr(start + 1))) continue;
    bool list = false;
    after = after.substr(0, kMaxName);
    while (!after.empty() && std::string_view(" \t\"'\\[(c").find(after[0]) != std::string::npos) {
      list = list || after[0] == '[' || after[0] == '(';
      after.remove_prefix(1);
    }
    const size_t end =
        after.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
    if (LooksLikeIdentifierValue(after.substr(0, end))) found += list ? 2 : 1;
  }
  return found;
}

// The first line of a file is a header when it names identifiers among other single words.
bool IsPlainHeader(std::string_view line) {
  for (char delimiter : kDelimiters) {
    std::string_view rest = line;
    bool found = false, words = true, several = false;
    while (true) {
      const size_t end = rest.find(delimiter);
      const std::string_view field = TrimField(rest.substr(0, end));
      found = found || IsPatientIdentifier(field);
      words = words && (field.find(' ') == std::string_view::npos || IsPatientIdentifier(field));
      if (end == std::string_view::npos) break;
      several = true;
      rest.remove_prefix(end + 1);
    }
    if (found && words && several) return true;
  }
  return false;
}

Refusal CheckIdentifiers(std::string_view text) {
  int key_values = 0;
  for (bool first = true; !text.empty();) {
    const std::string_view line = TakeLine(&text);
    if (TrimField(line).empty() || TrimField(line).starts_with('#')) continue;
    const bool is_first = std::exchange(first, false);
    if (!MentionsPatientIdentifier(line)) continue;
    key_values += CountKeyValues(line);
    if (key_values >= 2 || (is_first && IsPlainHeader(line)) || IsDelimitedHeader(line, text) ||
        IsPrintedHeader(line, text))
      return kIdentifierRefusal;
  }
  return std::nullopt;
}

}  // namespace

Refusal CheckEncoding(std::string_view text, bool is_log) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 10> kMagics = {{
      {"\x1f\x8b", "compressed (gzip)"},
      {"\x28\xb5\x2f\xfd", "compressed (zstd)"},
      {"PK\x03\x04", "an archive (zip)"},
      {"\xfd"
       "7zXZ",
       "compressed (xz)"},
      {"BZh", "compressed (bzip2)"},
      {"7z\xbc\xaf\x27\x1c", "an archive (7z)"},
      {"PAR1", "a Parquet file"},
      {"ARROW1", "an Arrow file"},
      {"\xff\xfe", "UTF-16 or UTF-32 text"},
      {"\xfe\xff", "UTF-16 text"},
  }};
  for (const auto& [magic, what] : kMagics)
    if (text.starts_with(magic))
      return std::string("It is ") + what +
             ", which is not what its name says. Text must be UTF-8 and not compressed";
  const std::string_view allowed = is_log ? "\t\n\r\f\b\a\x1b" : "\t\n\r\f";
  for (std::string_view rest = text; !rest.empty();) {
    const CodePoint point = FirstCodePoint(rest);
    if (point.bytes == 0)
      return "It is not UTF-8 text, so that its content cannot be checked. Save it as UTF-8";
    if (point.value == 0 || point.value == 0x7f ||
        (point.value < 0x20 && allowed.find(rest[0]) == std::string_view::npos))
      return "It holds bytes that text does not have (NUL or other control characters)";
    if (point.value == 0x85 || point.value == 0x2028 || point.value == 0x2029)
      return "It holds Unicode line separators (U+0085, U+2028, U+2029); use plain newlines";
    rest.remove_prefix(point.bytes);
  }
  return std::nullopt;
}

Refusal CheckTables(std::string_view text, int64_t max_rows, bool long_lines) {
  if (auto refusal = CheckIdentifiers(text)) return refusal;
  return CheckLineCounts(text, max_rows, long_lines);
}

}  // namespace carrel
