#include "job/level4_text.h"

#include <algorithm>
#include <array>

#include "job/level4_lines.h"
#include "job/utf8.h"

namespace carrel {
namespace {

// Scripts that are packed for a page (highlight.js in R Markdown's, Plotly) have a control
// character here and there in a string. So few separate no table.
constexpr size_t kStrayControls = 16;
// Characters that nobody sees can say as much as those that everybody sees.
constexpr size_t kMaxUnseen = 200;

struct Range {
  char32_t first, last;
};
constexpr std::array<Range, 19> kUnseen = {{{0xad, 0xad},
                                            {0x34f, 0x34f},
                                            {0x61c, 0x61c},
                                            {0x115f, 0x1160},
                                            {0x17b4, 0x17b5},
                                            {0x180b, 0x180f},
                                            {0x200b, 0x200f},
                                            {0x202a, 0x202e},
                                            {0x2060, 0x206f},
                                            {0x3164, 0x3164},
                                            {0xfdd0, 0xfdef},
                                            {0xfe00, 0xfe0f},
                                            {0xfeff, 0xfeff},
                                            {0xffa0, 0xffa0},
                                            {0xfff0, 0xfffb},
                                            {0xfffe, 0xffff},
                                            {0x1bca0, 0x1bca3},
                                            {0x1d173, 0x1d17a},
                                            {0xe0000, 0xe0fff}}};

bool IsUnseen(char32_t c) {
  return c >= 0xad && std::any_of(kUnseen.begin(), kUnseen.end(), [c](const Range& range) {
           return c >= range.first && c <= range.last;
         });
}

// But for single ones that emoji, Persian and long words have between what is seen.
size_t CountUnseen(std::string_view text) {
  size_t count = 0;
  bool seen = false;
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    const bool joins = seen && (point.value == 0xfe0f || point.value == 0xad ||
                                (point.value >= 0x200b && point.value <= 0x200d));
    seen = !IsUnseen(point.value);
    if (!seen && !joins) ++count;
    text.remove_prefix(point.bytes);
  }
  return count;
}

Refusal CheckLineCounts(std::string_view text, int64_t max_rows, bool long_lines) {
  RowWatch watch;
  int64_t rows = 0;
  while (!text.empty()) {
    if (watch.IsRow(TakeLine(&text))) ++rows;
    if (!long_lines && watch.most_fields() > max_rows)
      return "A line has more than the " + std::to_string(max_rows) +
             " fields that a table at level 4 may have";
    if (rows > max_rows + 1)  // one may be the header
      return "It holds a table with more than the " + std::to_string(max_rows) +
             " rows that a file at level 4 may have";
  }
  return std::nullopt;
}

}  // namespace

Refusal CheckEncoding(std::string_view text, const std::string& type) {
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
  const bool is_log = type == ".txt" || type == ".log";
  const std::string_view allowed = is_log ? "\t\n\r\f\b\a\x1b" : "\t\n\r\f";
  size_t strays = type == ".html" ? kStrayControls : 0;
  for (std::string_view rest = text; !rest.empty();) {
    const CodePoint point = FirstCodePoint(rest);
    if (point.bytes == 0)
      return "It is not UTF-8 text, so that its content cannot be checked. Save it as UTF-8";
    const bool control = point.value == 0x7f || (point.value < 0x20 && point.value != 0 &&
                                                 allowed.find(rest[0]) == std::string_view::npos);
    if (point.value == 0 || (control && strays-- == 0))
      return "It holds bytes that text does not have (NUL or other control characters)";
    if (point.value == 0x85 || point.value == 0x2028 || point.value == 0x2029)
      return "It holds Unicode line separators (U+0085, U+2028, U+2029); use plain newlines";
    rest.remove_prefix(point.bytes);
  }
  if (CountUnseen(text) > kMaxUnseen)
    return "It holds more than " + std::to_string(kMaxUnseen) +
           " characters that cannot be seen (of no width, tags, variation selectors)";
  return std::nullopt;
}

Refusal CheckTables(std::string_view text, int64_t max_rows, bool long_lines) {
  std::string folded;
  if (std::any_of(text.begin(), text.end(), [](char c) { return c < 0; })) {
    folded = FoldSeparators(text);
    text = folded;
  }
  if (auto refusal = CheckIdentifiers(text)) return refusal;
  return CheckLineCounts(text, max_rows, long_lines);
}

}  // namespace carrel
