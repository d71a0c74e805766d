// Columns and records of patient identifiers in text (declared in level4_text.h).
#include <algorithm>
#include <utility>
#include <vector>

#include "job/csv_sniff.h"
#include "job/identifier_names.h"
#include "job/level4_lines.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

constexpr size_t kFollowingLines = 5;
constexpr size_t kMaxName = 256;        // a column's name, in whatever spelling
constexpr size_t kLeastIdentifier = 4;  // characters of one in a table of one line
constexpr size_t kManyValues = 20;
constexpr size_t kMaxBetween = 24;  // bytes between two lists that belong together
constexpr size_t kMaxHeaders = 64;  // columns of identifiers that one line is followed up for
const char kIdentifierRefusal[] =
    "It has a column of patient identifiers (such as patient_id). Files at level 4 must hold "
    "aggregated results only";

// True when a field of the line, at one of `columns`, looks like an identifier. `fields` are the
// header's: where a line has more or fewer, something stands in front of one of the two (an index
// without a name, "data:text/csv,"), and the columns are the same from the end.
bool HasValueAt(std::string_view line, char delimiter, const std::vector<size_t>& columns,
                size_t fields) {
  const size_t here = static_cast<size_t>(std::count(line.begin(), line.end(), delimiter)) + 1;
  const auto is_wanted = [&](size_t column) {
    return std::binary_search(columns.begin(), columns.end(), column) ||
           std::binary_search(columns.begin(), columns.end(), column + fields - here);
  };
  for (size_t column = 0;; ++column) {
    const size_t end = line.find(delimiter);
    if (LooksLikeIdentifierValue(TrimField(line.substr(0, end))) && is_wanted(column)) return true;
    if (end == std::string_view::npos) return false;
    line.remove_prefix(end + 1);
  }
}

// `line` is the header of a delimited table if a field of it names identifiers and one of the next
// lines has a value like one in the same place.
bool IsDelimitedHeader(std::string_view line, std::string_view following, char delimiter) {
  std::vector<size_t> columns;
  size_t fields = 0;
  while (true) {
    const size_t end = line.find(delimiter);
    if (columns.size() < kMaxHeaders && IsPatientIdentifier(line.substr(0, end)))
      columns.push_back(fields);
    ++fields;
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  int others = 0;
  for (size_t i = 0; !columns.empty() && i < kFollowingLines && !following.empty(); ++i) {
    const std::string_view next = TakeLine(&following);
    if (!HasValueAt(next, delimiter, columns, fields)) continue;
    // Below a name that stands alone, one line of several fields can be of anything.
    if (fields > 1 || next.find(delimiter) == next.npos || ++others == 2) return true;
  }
  return false;
}

// The first of the names has something in front ("const rows = `patient_id,age"). A log has its
// columns so, with a line of numbers below: here there are two, with as many fields.
bool IsHeaderBehindText(std::string_view line, std::string_view following, char delimiter) {
  const std::string_view first = line.substr(0, line.find(delimiter));
  if (!IsPatientIdentifier(first.substr(first.find_last_of("`'\"(=>:[{") + 1))) return false;
  const auto fields = std::count(line.begin(), line.end(), delimiter);
  int rows = 0;
  for (size_t i = 0; fields > 0 && i < kFollowingLines && !following.empty(); ++i) {
    const std::string_view next = TakeLine(&following);
    if (std::count(next.begin(), next.end(), delimiter) == fields &&
        LooksLikeIdentifierValue(TrimField(next.substr(0, next.find(delimiter)))))
      ++rows;
  }
  return rows > 1;
}

// The first of a line: more columns than any table has.
constexpr size_t kMaxWords = 65536;

std::vector<std::string_view> WordsIn(std::string_view line) {
  std::vector<std::string_view> words;
  while (words.size() < kMaxWords) {
    const std::string_view word = TrimField(TakeWord(&line));
    if (word.empty() && line.empty()) break;
    words.push_back(word);
  }
  return words;
}

// The same for a printed table: words between blanks. A header has no numbers in it; its rows may
// have one more word in front (their number), and more where a value is of several words: what
// stands before such keeps its place. A single 0 below a name is a count (of what is missing). One
// line does not make a table of what reads as a sentence, or a command: Joining, by = "patient_id".
bool IsPrintedHeader(std::string_view line, std::string_view following) {
  const std::vector<std::string_view> header = WordsIn(line);
  if (std::any_of(header.begin(), header.end(), IsNumeric)) return false;
  const auto last = std::find_if(header.rbegin(), header.rend(), IsPatientIdentifier);
  if (last == header.rend()) return false;
  const size_t column = static_cast<size_t>(header.rend() - last) - 1;
  const bool sentence = std::any_of(header.begin(), header.end(), [](std::string_view word) {
    return word == "=" || word == "." || word.ends_with(',') || word.ends_with(':');
  });
  int rows = 0, longer = 0;
  for (size_t i = 0; i < kFollowingLines && !following.empty(); ++i) {
    const std::vector<std::string_view> row = WordsIn(TakeLine(&following));
    const auto is_id = [&row](size_t at) {
      return row[at] != "0" && row[at].find('.') == std::string_view::npos &&
             LooksLikeIdentifierValue(row[at]);
    };
    rows += (row.size() == header.size() && is_id(column)) ||
            (!sentence && row.size() == header.size() + 1 && is_id(column + 1));
    if (rows > (sentence ? 1 : 0)) return true;
    if (row.size() > header.size() && header.size() > 1 && IsPatientIdentifier(header[0]) &&
        IsInteger(row[0]) && ++longer == 2)
      return true;
  }
  return false;
}

// True when what follows the name of an identifier is a value of one; `list` when it is the first
// of several.
bool IsValueOf(std::string_view after, bool* list) {
  after = after.substr(0, kMaxName);
  while (!after.empty() && std::string_view(" \t\"'\\[(c").find(after[0]) != std::string::npos) {
    *list = *list || after[0] == '[' || after[0] == '(';
    after.remove_prefix(1);
  }
  const size_t end =
      after.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
  return LooksLikeIdentifierValue(after.substr(0, end));
}

// Counts "patient_id: 123" and "patient_id": [1, 2 in a line: records written as text. Each byte is
// looked at once as part of a name, however many colons there are.
int CountKeyValues(std::string_view line) {
  int found = 0;
  for (size_t at; (at = line.find_first_of(":=")) != std::string_view::npos;) {
    std::string_view name = line.substr(0, at);
    const bool attribute = line[at] == '=' && at + 1 < line.size() && line[at + 1] == '"';
    line.remove_prefix(at + 1);
    name.remove_suffix(name.size() - (name.find_last_not_of(" \t\"'\\") + 1));
    name.remove_prefix(name.find_last_of("{[(,;\"'\t|$") + 1);
    if (attribute) name.remove_prefix(name.find_last_of(" <") + 1);  // <i data-patient-id="5">
    bool list = false;
    if (IsPatientIdentifier(name) && IsValueOf(line, &list)) found += list ? 2 : 1;
  }
  return found;
}

// The first line of a file is a header when it names identifiers among other single words. Between
// unusual delimiters there must be others: `patient_id` and **patient_id** are text.
bool IsPlainHeader(std::string_view line, char delimiter) {
  bool found = false, words = true, several = false, others = false;
  while (true) {
    const size_t end = line.find(delimiter);
    const std::string_view field = TrimField(line.substr(0, end));
    found = found || IsPatientIdentifier(field);
    others = others || (!field.empty() && !IsPatientIdentifier(field));
    words = words && (field.find(' ') == std::string_view::npos || IsPatientIdentifier(field));
    if (end == std::string_view::npos) break;
    several = true;
    line.remove_prefix(end + 1);
  }
  const bool usual =
      std::find(kDelimiters.begin(), kDelimiters.end(), delimiter) != kDelimiters.end();
  return found && words && several && (others || usual);
}

// A table that is written in one line: a field that names identifiers, and many values of such
// between the same delimiter.
bool IsTableInLine(std::string_view line, char delimiter) {
  bool named = false;
  size_t values = 0;
  while (true) {
    const size_t end = line.find(delimiter);
    const std::string_view field = TrimField(line.substr(0, end));
    named = named || IsPatientIdentifier(field);
    const std::string_view last = field.substr(field.find_last_of(" \t") + 1);
    if (last.size() >= kLeastIdentifier && LooksLikeIdentifierValue(last)) ++values;
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  return named && values >= kManyValues;
}

// Characters of the line that could delimit its fields, though nobody's tables do.
std::string RareDelimiters(std::string_view line) {
  std::string found;
  for (char c : std::string_view("<>(){}[]'\"."))
    if (line.find(c) != std::string_view::npos) found += c;
  return found;
}

// Those of the next lines that have the character. Brackets are in many lines that head no table.
std::string LinesWith(char wanted, std::string_view following) {
  std::string lines;
  for (size_t i = 0; i < kFollowingLines && !following.empty(); ++i)
    if (const std::string_view next = TakeLine(&following); next.find(wanted) != next.npos)
      lines.append(next) += '\n';
  return lines;
}

// One word that a letter cuts into the name of an identifier and others, and below it words that
// the same letter cuts, with a value of one in the same place.
bool IsHeaderCutByLetters(std::string_view line, std::string_view following) {
  constexpr std::string_view kNoWord = " \t,;|";
  line = TrimField(line);
  if (line.size() > kMaxName || line.find_first_of(kNoWord) != std::string_view::npos) return false;
  std::string letters(line), below;
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  for (size_t i = 0; i < kFollowingLines && !following.empty(); ++i) {
    const std::string_view next = TrimField(TakeLine(&following));
    if (next.size() <= kMaxName && next.find_first_of(kNoWord) == std::string_view::npos)
      below += std::string(next) + "\n";
  }
  return std::any_of(letters.begin(), letters.end(), [&](char letter) {
    if (std::string_view("abcdefghijklmnopqrstuvwxyz").find(static_cast<char>(letter | 0x20)) ==
        std::string_view::npos)
      return false;
    std::string cut;
    for (std::string_view rest = below; !rest.empty();)
      if (const std::string_view next = TakeLine(&rest); next.find(letter) != next.npos)
        cut += std::string(next) + "\n";
    return IsDelimitedHeader(line, cut, letter);
  });
}

// Whether `line` begins a table, in whatever way it may be delimited.
bool IsHeader(std::string_view line, std::string_view following, bool first) {
  std::string delimiters(kDelimiters.begin(), kDelimiters.end());
  if (const char unusual = UnusualDelimiter(line); unusual != '\0') delimiters += unusual;
  for (char delimiter : delimiters)
    if (IsTableInLine(line, delimiter)) return true;
  for (char delimiter : RareDelimiters(line))
    if (IsDelimitedHeader(line, LinesWith(delimiter, following), delimiter)) return true;
  for (char delimiter : delimiters)
    // "patient_id: 5" and "patient_id = 5" are counted as records, not taken for a header.
    if ((first && delimiter != ':' && delimiter != '=' && IsPlainHeader(line, delimiter)) ||
        IsDelimitedHeader(line, following, delimiter) ||
        IsHeaderBehindText(line, following, delimiter))
      return true;
  return IsPrintedHeader(line, following) || IsHeaderCutByLetters(line, following);
}

// Lists of values behind a list of names: "(patient_id, age) VALUES (18134063, 45), ...",
// "columns": ["patient_id", "age"], "data": [[18134063, 45], ...
class ListWatch {
 public:
  bool watches() const { return fields_ > 0; }
  /// True when enough lists have been seen.
  bool Read(std::string_view line) {
    for (size_t open; (open = line.find_first_of("([{")) != std::string_view::npos;) {
      Pass(open);
      line.remove_prefix(open + 1);
      const size_t end = std::min(line.find_first_of("([{)]}"), line.size());
      ReadList(line.substr(0, end));
      line.remove_prefix(end);
    }
    Pass(line.size() + 1);
    return values_ >= kManyValues;
  }

 private:
  // Other text than lists: where there is much of it, they do not belong together.
  void Pass(size_t bytes) {
    between_ += bytes;
    if (between_ > kMaxBetween) fields_ = 0;
  }
  void ReadList(std::string_view list) {
    between_ = 0;
    size_t fields = 0;
    bool value = false;
    for (bool more = true; more; ++fields) {
      const size_t end = list.find(',');
      const std::string_view field = TrimField(list.substr(0, end));
      more = end != std::string_view::npos;
      if (IsPatientIdentifier(field)) {
        column_ = fields;
        fields_ = 1 + static_cast<size_t>(std::count(list.begin(), list.end(), ',')) + fields;
        return;
      }
      value = value || (fields == column_ && field.size() >= kLeastIdentifier &&
                        LooksLikeIdentifierValue(field));
      if (more) list.remove_prefix(end + 1);
    }
    values_ += value && fields == fields_;
  }
  size_t column_ = 0, fields_ = 0;  // of the list of names; no fields: there was none
  size_t values_ = 0, between_ = 0;
};

// The names of the columns stand below them.
bool IsFooter(std::string_view line, std::string_view before) {
  return std::any_of(kDelimiters.begin(), kDelimiters.end(),
                     [&](char delimiter) { return IsDelimitedHeader(line, before, delimiter); });
}

}  // namespace

Refusal CheckIdentifiers(std::string_view text) {
  int key_values = 0;
  ListWatch lists;
  std::string_view before, line;
  for (bool first = true; !text.empty();) {
    if (!TrimField(line).empty()) before = line;
    line = TakeLine(&text);
    const std::string_view trimmed = TrimField(line);
    if (trimmed.empty()) continue;
    const bool is_first = first && !trimmed.starts_with('#');
    first = first && !is_first;
    const bool mentions = MentionsPatientIdentifier(line);
    if ((mentions || lists.watches()) && lists.Read(line)) return kIdentifierRefusal;
    if (!mentions) continue;
    key_values += CountKeyValues(line);
    if (key_values >= 2 || IsHeader(line, text, is_first) || IsFooter(line, before))
      return kIdentifierRefusal;
  }
  return std::nullopt;
}

}  // namespace carrel
