#include "job/level4_lines.h"

#include <algorithm>
#include <array>
#include <functional>

#include "job/csv_sniff.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kMaxValue = 40;  // a value of a table is short and one word
constexpr size_t kMaxLabel = 64;  // a label may have several words
constexpr size_t kMaxShapes = 4096;
constexpr uint64_t kPrime = 1099511628211u;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}

// Values come in brackets (R's [1]), with a comma behind, with the head of an arrow.
std::string_view WithoutPunctuation(std::string_view word) {
  const size_t from = word.find_first_not_of("([<>\"'");
  if (from == std::string_view::npos) return {};
  const size_t to = word.find_last_not_of(")]<>,;:.\"'");
  return to == std::string_view::npos || to < from ? std::string_view()
                                                   : word.substr(from, to + 1 - from);
}

// A name of something: "F", "White", "2nd-dose" is none (it begins with a digit).
bool IsLabel(std::string_view word) {
  return !word.empty() && word.size() <= kMaxValue && (IsLetter(word[0]) || word[0] == '_') &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return IsLetter(c) || IsDigit(c) || std::string_view("_-.+'&/").find(c) < 7;
         });
}

bool IsPrintedValue(std::string_view word) {
  if (word.ends_with('%')) word.remove_suffix(1);
  return IsNumeric(word) || LooksLikeIdentifierValue(word);
}

// A program's log has the time in front of its messages: "2026-08-01 10:00:00,123", "[10:00:00]".
std::string_view WithoutTime(std::string_view line) {
  const auto is_time = [](std::string_view word) {
    word = WithoutPunctuation(word);
    const size_t colon = word.find(':');
    return colon != std::string_view::npos && colon > 0 && IsDigit(word[colon - 1]) &&
           word.find_first_not_of("0123456789:.,+-TZ") == std::string_view::npos;
  };
  std::string_view rest = line, first = TakeWord(&rest);
  if (is_time(first)) return rest;
  if (!IsNumeric(first) || first.find_first_of("-/") == std::string_view::npos) return line;
  return is_time(TakeWord(&rest)) ? rest : line;
}

struct FieldShape {
  int64_t fields = 0;
  bool data = false;
  bool labels = false;  // words and nothing else
};

// A line of a table with this delimiter: mostly short single words with a number among them; three
// labels and more; or what looks like an identifier and then labels. Lines of a program's log are
// none: their time has a blank in it, their message several.
FieldShape FieldsOf(std::string_view line, char delimiter) {
  FieldShape shape;
  int64_t values = 0, labels = 0;
  bool numeric = false, all_short = true, first_is_id = false;
  for (bool more = true; more; ++shape.fields) {
    const size_t end = line.find(delimiter);
    const std::string_view field = TrimField(line.substr(0, end));
    more = end != std::string_view::npos;
    if (more) line.remove_prefix(end + 1);
    if (shape.fields == 0) first_is_id = LooksLikeIdentifierValue(field);
    all_short = all_short && field.size() <= kMaxLabel;
    if (field.size() > kMaxValue ||
        std::any_of(field.begin(), field.end(), [](char c) { return c == ' ' || c == '\t'; }))
      continue;
    ++values;
    if (IsLabel(field)) ++labels;
    numeric = numeric || IsNumeric(field);
  }
  shape.data = shape.fields > 1 &&
               ((3 * values >= 2 * shape.fields && numeric) || (first_is_id && all_short));
  shape.labels = labels > 2 && values == shape.fields;
  return shape;
}

struct Fold {
  char32_t first, last;
  char as;
};

constexpr std::array<Fold, 45> kFolds = {{
    {0xa0, 0xa0, ' '},       {0xa1, 0xa9, '|'},     {0xab, 0xac, '|'},     {0xad, 0xad, ' '},
    {0xae, 0xb1, '|'},       {0xb4, 0xb4, '|'},     {0xb6, 0xb8, '|'},     {0xbb, 0xbb, '|'},
    {0xbf, 0xbf, '|'},       {0xd7, 0xd7, '|'},     {0xf7, 0xf7, '|'},     {0x60c, 0x60c, ','},
    {0x61b, 0x61b, ';'},     {0x66a, 0x66d, '|'},   {0x115f, 0x1160, ' '}, {0x1680, 0x1680, ' '},
    {0x180e, 0x180e, ' '},   {0x2000, 0x200d, ' '}, {0x2010, 0x2013, '-'}, {0x2014, 0x2017, '|'},
    {0x2020, 0x2027, '|'},   {0x202f, 0x202f, ' '}, {0x2030, 0x205e, '|'}, {0x205f, 0x2064, ' '},
    {0x20a0, 0x20cf, '|'},   {0x2190, 0x2211, '|'}, {0x2212, 0x2212, '-'}, {0x2213, 0x245f, '|'},
    {0x2500, 0x27ff, '|'},   {0x2800, 0x2800, ' '}, {0x2801, 0x2bff, '|'}, {0x3000, 0x3000, ' '},
    {0x3001, 0x3001, ','},   {0x3002, 0x3003, '|'}, {0x3008, 0x3020, '|'}, {0x3164, 0x3164, ' '},
    {0xfe10, 0xfe6f, '|'},   {0xfeff, 0xfeff, ' '}, {0xff01, 0xff0f, ','}, {0xff1a, 0xff1e, ';'},
    {0xff3b, 0xff3e, '|'},   {0xff40, 0xff40, '|'}, {0xff5b, 0xff65, '|'}, {0xffa0, 0xffa0, ' '},
    {0x1f000, 0x1faff, '|'},
}};

// The zeros of ten digits each: of other scripts, of mathematics, small and full-width ones.
constexpr std::array<char32_t, 37> kZeros = {
    0x660,  0x6f0,  0x7c0,  0x966,  0x9e6,  0xa66,   0xae6,  0xb66,  0xbe6,  0xc66,
    0xce6,  0xd66,  0xde6,  0xe50,  0xed0,  0xf20,   0x1040, 0x1090, 0x17e0, 0x1810,
    0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0,  0x1c40, 0x1c50, 0x2070, 0x2080,
    0xa620, 0xa8d0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x1fbf0};

// The ASCII digit that a character is read as, or 0.
char DigitReadAs(char32_t c) {
  if (c == 0xb9) return '1';
  if (c == 0xb2 || c == 0xb3) return static_cast<char>('2' + (c - 0xb2));
  if (c >= 0x2460 && c <= 0x2468) return static_cast<char>('1' + (c - 0x2460));  // circled
  if (c == 0x24ea) return '0';
  if (c >= 0x1d7ce && c <= 0x1d7ff) return static_cast<char>('0' + (c - 0x1d7ce) % 10);
  const auto zero =
      std::find_if(kZeros.begin(), kZeros.end(), [c](char32_t z) { return c >= z && c < z + 10; });
  return zero == kZeros.end() ? '\0' : static_cast<char>('0' + (c - *zero));
}

}  // namespace

std::string_view TakeLine(std::string_view* text) {
  const auto ends = [](char c) { return c == '\n' || c == '\r' || c == '\f'; };
  const auto end =
      static_cast<size_t>(std::find_if(text->begin(), text->end(), ends) - text->begin());
  const std::string_view line = text->substr(0, end);
  const bool crlf = text->substr(end).starts_with("\r\n");
  text->remove_prefix(std::min(end + (crlf ? 2 : 1), text->size()));
  return line;
}

std::string_view TakeWord(std::string_view* line, char extra) {
  const char also = extra != '\0' ? extra : ' ';
  const auto separates = [also](char c) { return c == ' ' || c == '\t' || c == '|' || c == also; };
  const char* const start = std::find_if_not(line->begin(), line->end(), separates);
  const char* const end = std::find_if(start, line->end(), separates);
  const std::string_view word(start, static_cast<size_t>(end - start));
  line->remove_prefix(static_cast<size_t>(end - line->begin()));
  return word;
}

char UnusualDelimiter(std::string_view line) {
  constexpr std::string_view kUnusual = "~^!&*@\\:/=$`+?#%";
  std::array<size_t, 256> counts{};
  for (char c : line) ++counts[static_cast<unsigned char>(c)];
  char best = '\0';
  size_t most = 0;
  for (char c : kUnusual) {
    const size_t count = counts[static_cast<unsigned char>(c)];
    if (count > most) {
      most = count;
      best = c;
    }
  }
  return best;
}

bool IsInteger(std::string_view value) {
  if (value.starts_with('+') || value.starts_with('-')) value.remove_prefix(1);
  return !value.empty() && std::all_of(value.begin(), value.end(), IsDigit);
}

bool IsNumeric(std::string_view value) {
  static constexpr auto kNumeric = [] {
    std::array<bool, 256> is{};
    for (char c : std::string_view("0123456789+-./:eETZ")) is[static_cast<unsigned char>(c)] = true;
    return is;
  }();
  bool digits = false;
  for (char c : value) {
    if (!kNumeric[static_cast<unsigned char>(c)]) return false;
    digits = digits || IsDigit(c);
  }
  return digits && value[0] != 'e' && value[0] != 'E' && value[0] != 'T' && value[0] != 'Z';
}

std::string FoldSeparators(std::string_view text) {
  std::string folded;
  folded.reserve(text.size());
  while (!text.empty()) {
    const size_t ascii = static_cast<size_t>(
        std::find_if(text.begin(), text.end(), [](char c) { return c < 0; }) - text.begin());
    folded += text.substr(0, ascii);
    text.remove_prefix(ascii);
    if (text.empty()) break;
    const CodePoint point = FirstCodePoint(text);
    const size_t bytes = std::max<size_t>(point.bytes, 1);
    const auto fold = std::find_if(kFolds.begin(), kFolds.end(), [&](const Fold& f) {
      return point.value >= f.first && point.value <= f.last;
    });
    if (fold != kFolds.end())
      folded += fold->as;
    else if (const char digit = DigitReadAs(point.value); digit != '\0')
      folded += digit;
    else
      folded += text.substr(0, bytes);
    text.remove_prefix(bytes);
  }
  return folded;
}

RowWatch::Shape RowWatch::ShapeOf(std::string_view line, char extra) {
  Shape shape;
  shape.mask = static_cast<unsigned char>(extra);
  while (true) {
    std::string_view word = TakeWord(&line, extra);
    if (word.empty()) break;
    word = WithoutPunctuation(word);
    if (shape.words == 0) shape.first_is_id = IsInteger(word) || LooksLikeIdentifierValue(word);
    shape.mask = shape.mask * kPrime;
    shape.label_digest = shape.label_digest * kPrime;
    if (IsPrintedValue(word)) {
      ++shape.numbers;
      ++shape.mask;
    } else if (IsLabel(word)) {
      ++shape.labels;
      shape.label_digest ^= std::hash<std::string_view>{}(word);
    }
    ++shape.words;
  }
  return shape;
}

bool RowWatch::IsDelimitedRow(std::string_view line) {
  bool data = false;
  for (char delimiter : kDelimiters) {
    if (line.find(delimiter) == std::string_view::npos) continue;
    const FieldShape shape = FieldsOf(line, delimiter);
    most_fields_ = std::max(most_fields_, shape.fields);
    data = data || shape.data || (shape.labels && line != last_);
  }
  return data;
}

// True when the labels are those of the first line of this shape: a template with numbers in it.
bool RowWatch::SameLabels(const Shape& shape) {
  if (shape.labels == 0) return false;
  const uint64_t key = shape.mask * kPrime + static_cast<uint64_t>(shape.words);
  const auto known = labels_.find(key);
  if (known != labels_.end()) return known->second == shape.label_digest;
  if (labels_.size() < kMaxShapes) labels_.emplace(key, shape.label_digest);
  return labels_.contains(key);
}

// Words between blanks. Without an index in front the labels decide: those of a log stay the same
// while its numbers count on; those of a table ("F 23 London") change.
bool RowWatch::IsPrintedRow(const Shape& shape, const Shape& before) {
  if (shape.words < 2) return shape.numbers == 1;
  if (shape.numbers == 0 || SameLabels(shape)) return false;
  if (4 * (shape.numbers + shape.labels) < 3 * shape.words) return false;
  return 2 * shape.numbers >= shape.words ||
         (shape.words == before.words && shape.mask == before.mask);
}

bool RowWatch::IsRow(std::string_view line) {
  const bool delimited = IsDelimitedRow(line);
  const std::string_view rest = WithoutTime(line);
  const Shape blanks = ShapeOf(rest, '\0');
  const char delimiter = UnusualDelimiter(rest);
  const Shape unusual = delimiter == '\0' ? Shape() : ShapeOf(rest, delimiter);
  most_fields_ = std::max({most_fields_, blanks.numbers, unusual.numbers});
  bool printed = blanks.first_is_id && 2 * blanks.numbers >= blanks.words;
  if (!printed && line != last_)
    printed =
        IsPrintedRow(blanks, blanks_) || (unusual.words > 1 && IsPrintedRow(unusual, unusual_));
  last_ = line;
  if (blanks.words > 0) {
    blanks_ = blanks;
    unusual_ = unusual;
  }
  return delimited || printed;
}

}  // namespace carrel
