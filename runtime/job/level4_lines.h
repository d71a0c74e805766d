// Lines of text as tables have them: cut into fields and words, and what kind of value each is.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace carrel {

/// What CSV-like files are delimited with. Other characters are looked for line by line. No
/// string_view: its begin may be one file's literal and its end another's (clang does so).
inline constexpr std::array kDelimiters = {',', ';', '\t', '|'};

/// Takes the next line off the front; LF, CRLF, CR and form feed end one.
std::string_view TakeLine(std::string_view* text);

/// Takes the next word off the front; words are separated by white space, '|' (as Stata and
/// Markdown draw tables) and `extra` (0: nothing more). Empty at the end of the line.
std::string_view TakeWord(std::string_view* line, char extra = '\0');

/// The character that might delimit this line though few tables do: of "~^!&*@\:/=$`+?#%" the most
/// frequent, or 0 when there is none.
char UnusualDelimiter(std::string_view line);

/// A number with or without sign.
bool IsInteger(std::string_view value);

/// A number, a date or a time.
bool IsNumeric(std::string_view value);

/// The text with everything that is not ASCII and no letter as an ASCII separator: no-break,
/// invisible and other spaces as blanks; dashes as hyphens; punctuation, arrows, lines that draw
/// boxes, currencies and pictures as bars or commas. Lines stay lines.
std::string FoldSeparators(std::string_view text);

/// Decides which lines of a text are rows of data, each in the light of those before.
class RowWatch {
 public:
  /// True for a line of a table: delimited values, or words between blanks (or another delimiter)
  /// that are mostly numbers, or numbers and labels that change from line to line. A program's log
  /// is no table: its labels stay, its time stands in front, its messages are sentences.
  bool IsRow(std::string_view line);

  /// The most fields that one delimiter, or numbers that blanks, gave in a line so far.
  int64_t most_fields() const { return most_fields_; }

 private:
  /// A line's words: how many, which are numbers, and a digest of the labels with their places.
  struct Shape {
    int64_t words = 0, numbers = 0, labels = 0;
    uint64_t mask = 0, label_digest = 0;
    bool first_is_id = false;
  };
  static Shape ShapeOf(std::string_view line, char extra);
  bool IsDelimitedRow(std::string_view line);
  bool IsPrintedRow(const Shape& shape, const Shape& before);
  bool SameLabels(const Shape& shape);

  int64_t most_fields_ = 0;
  Shape blanks_, unusual_;  // of the last line that was not blank, cut at blanks, and anywhere
  std::unordered_map<uint64_t, uint64_t> labels_;  // of the first line of each shape
  std::string_view last_;                          // the line before
};

}  // namespace carrel
