#include "job/level4_runs.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace carrel {
namespace {

constexpr size_t kMaxGap = 12;     // characters between two groups
constexpr size_t kLeastGroup = 2;  // digits of a group
constexpr size_t kLeastLine = 40;  // digits of a line that goes on in the next, whatever its length

constexpr Alphabet MakeAlphabet(std::string_view digits, std::string_view also, int first_also) {
  Alphabet values{};
  for (auto& value : values) value = -1;
  int next = 0;
  for (char c : digits) values[static_cast<unsigned char>(c)] = next++;
  for (char c : also) values[static_cast<unsigned char>(c)] = first_also++;
  return values;
}

constexpr Alphabet kHex = MakeAlphabet("0123456789abcdef", "ABCDEF", 10);

// Where the digits go on after the gap at `at`: characters that are none, and the marks of
// programming languages. The end of the text when they do not.
size_t EndOfGap(std::string_view text, size_t at, const Alphabet& alphabet) {
  const bool hex = alphabet['g'] < 0;
  while (at < text.size()) {
    const char c = text[at], next = at + 1 < text.size() ? text[at + 1] : '\0';
    const bool digit = alphabet[static_cast<unsigned char>(c)] >= 0;
    if (digit && !(hex && c == '0' && (next | 0x20) == 'x')) return at;
    at += digit || (c == '\\' && (next == 'n' || next == 'r')) ? 2 : 1;
  }
  return text.size();
}

// Cuts a text into runs. A run goes on over a gap when the groups on both sides have one length,
// and to a shorter last one over the same gap; or over the end of a long line.
class RunCutter {
 public:
  RunCutter(std::string_view text, const Alphabet& alphabet, size_t least, const TakeDigits& take)
      : text_(text), alphabet_(alphabet), least_(least), take_(take) {}

  Refusal Cut() {
    std::string_view gap;
    for (size_t at = EndOfGap(text_, 0, alphabet_); at < text_.size();) {
      const size_t end = EndOfGroup(at);
      if (!GoesOn(end - at, gap))
        if (auto refusal = EndRun()) return refusal;
      group_ = end - at;
      groups_.push_back(text_.substr(at, group_));
      digits_ += group_;
      at = EndOfGap(text_, end, alphabet_);
      gap = text_.substr(end, at - end);
    }
    return EndRun();
  }

 private:
  size_t EndOfGroup(size_t at) const {
    const bool hex = alphabet_['g'] < 0;
    const auto is_mark = [&] {
      return hex && text_[at] == '0' && at + 1 < text_.size() && (text_[at + 1] | 0x20) == 'x';
    };
    while (at < text_.size() && alphabet_[static_cast<unsigned char>(text_[at])] >= 0 && !is_mark())
      ++at;
    return at;
  }

  // Whether a group of `length` belongs to the run so far. `group_` is 0 at the start of the text.
  bool GoesOn(size_t length, std::string_view gap) {
    const bool line = std::all_of(gap.begin(), gap.end(), [](char c) {
      return c == '\n' || c == '\r' || c == '\\' || c == 'n' || c == 'r';
    });
    if (line && group_ >= kLeastLine) return true;
    if (gap.size() > kMaxGap || group_ < kLeastGroup) return false;
    const bool last = repeated_ && length < group_ && gap == gap_;
    repeated_ = length == group_;
    gap_ = gap;
    return repeated_ || last;
  }

  Refusal EndRun() {
    Digits run;
    if (digits_ >= least_) {  // few are
      run.reserve(digits_);
      for (std::string_view group : groups_)
        for (char c : group)
          run.push_back(static_cast<uint8_t>(alphabet_[static_cast<unsigned char>(c)]));
    }
    groups_.clear();
    digits_ = 0;
    repeated_ = false;
    return run.empty() ? std::nullopt : take_(run);
  }

  std::string_view text_;
  const Alphabet& alphabet_;
  size_t least_;
  const TakeDigits& take_;
  std::vector<std::string_view> groups_;  // of the run
  size_t digits_ = 0;                     // in them
  size_t group_ = 0;
  bool repeated_ = false;  // the last two groups have one length
  std::string_view gap_;   // between them
};

}  // namespace

const std::array<Encoding, 4>& Encodings() {
  static constexpr std::array<Encoding, 4> kEncodings = {
      {{"base64",
        MakeAlphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "-_", 62),
        6, 4, 64, 8},
       {"base32", MakeAlphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "", 0), 5, 8, 64, 16},
       {"hexadecimal", kHex, 4, 2, 64, 16},
       {"binary digits", MakeAlphabet("01", "", 0), 1, 8, 512, 64}}};
  return kEncodings;
}

const std::array<Alphabet, 3>& Base85Alphabets() {
  static constexpr std::array<Alphabet, 3> kBase85 = {
      MakeAlphabet(
          "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstu",
          "", 0),
      MakeAlphabet(
          "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
          "", 0),
      MakeAlphabet(
          "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
          "", 0)};
  return kBase85;
}

Refusal ForEachRun(std::string_view text, const Alphabet& alphabet, size_t least,
                   const TakeDigits& take) {
  return RunCutter(text, alphabet, least, take).Cut();
}

void ForEachWord(std::string_view text, const Alphabet& alphabet, size_t least,
                 const std::function<void(const Digits&)>& take) {
  const auto is_digit = [&](char c) { return alphabet[static_cast<unsigned char>(c)] >= 0; };
  Digits word;
  for (auto at = text.begin(); at != text.end();) {
    const auto start = std::find_if(at, text.end(), is_digit);
    at = std::find_if_not(start, text.end(), is_digit);
    if (static_cast<size_t>(at - start) < least || at == start) continue;
    word.clear();
    std::transform(start, at, std::back_inserter(word), [&](char c) {
      return static_cast<uint8_t>(alphabet[static_cast<unsigned char>(c)]);
    });
    take(word);
  }
}

std::string DecodeBits(const Digits& digits, size_t from, unsigned bits) {
  std::string decoded;
  decoded.reserve((digits.size() - from) * bits / 8);
  uint32_t pending = 0;
  unsigned count = 0;
  for (size_t i = from; i < digits.size(); ++i) {
    pending = pending << bits | digits[i];
    count += bits;
    if (count < 8) continue;
    count -= 8;
    decoded += static_cast<char>(pending >> count & 0xff);
  }
  return decoded;
}

std::string Decode85(const Digits& digits, size_t from) {
  std::string decoded;
  decoded.reserve((digits.size() - from) * 4 / 5);
  for (size_t i = from; i + 5 <= digits.size(); i += 5) {
    uint64_t group = 0;
    for (size_t k = 0; k < 5; ++k) group = group * 85 + digits[i + k];
    for (int shift : {24, 16, 8, 0}) decoded += static_cast<char>(group >> shift & 0xff);
  }
  return decoded;
}

Refusal ForEachByteList(std::string_view text, size_t least,
                        const std::function<Refusal(const std::string&)>& take) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string bytes;
  size_t gap = 0;
  for (size_t at = 0; at < text.size();) {
    if (!is_digit(text[at])) {
      ++gap;
      ++at;
      continue;
    }
    size_t end = at;
    unsigned value = 0;
    for (; end < text.size() && is_digit(text[end]); ++end)
      value = std::min(value * 10 + static_cast<unsigned>(text[end] - '0'), 256u);
    if (gap > 4 || value > 255) {
      if (bytes.size() >= least)
        if (auto refusal = take(bytes)) return refusal;
      bytes.clear();
    }
    if (value <= 255) bytes += static_cast<char>(value);
    gap = 0;
    at = end;
  }
  return bytes.size() >= least ? take(bytes) : std::nullopt;
}

std::string DecodeUu(std::string_view text) {
  std::string decoded;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] <= ' ' || line[0] > 'M') continue;
    const size_t length = static_cast<size_t>(line[0] - ' ');
    line.remove_prefix(1);
    if (line.size() != (length + 2) / 3 * 4 ||
        std::any_of(line.begin(), line.end(), [](char c) { return c < ' ' || c > '`'; }))
      continue;
    Digits digits;
    for (char c : line) digits.push_back(static_cast<uint8_t>((c - ' ') & 63));
    decoded += DecodeBits(digits, 0, 6).substr(0, length);
  }
  return decoded;
}

namespace {

// A line of a dump: its offset, and the bytes that the groups behind it may be.
struct DumpLine {
  uint64_t offset = 0;
  std::string bytes;
};

bool IsHex(char c) { return kHex[static_cast<unsigned char>(c)] >= 0; }

std::optional<DumpLine> ReadDumpLine(std::string_view line) {
  constexpr size_t kLeastOffset = 6, kMostOffset = 16, kMostGroup = 16;
  const auto end_of_word = [&](size_t at) {
    while (at < line.size() && IsHex(line[at])) ++at;
    return at;
  };
  size_t at = end_of_word(0);
  if (at < kLeastOffset || at > kMostOffset) return std::nullopt;
  DumpLine read;
  for (char c : line.substr(0, at))
    read.offset = read.offset << 4 | static_cast<unsigned>(kHex[static_cast<unsigned char>(c)]);
  if (at < line.size() && line[at] == ':') ++at;
  while (at < line.size() && line[at] == ' ') {
    while (at < line.size() && line[at] == ' ') ++at;
    const size_t end = end_of_word(at);
    if ((end - at) % 2 != 0 || end - at > kMostGroup) break;
    if (end < line.size() && line[end] != ' ') break;
    for (; at < end; at += 2)
      read.bytes += static_cast<char>(kHex[static_cast<unsigned char>(line[at])] << 4 |
                                      kHex[static_cast<unsigned char>(line[at + 1])]);
  }
  return read.bytes.empty() ? std::nullopt : std::optional(std::move(read));
}

}  // namespace

std::string DecodeDump(std::string_view text) {
  constexpr uint64_t kUsual = 16, kMost = 256;
  std::string decoded;
  std::optional<DumpLine> last;
  const auto flush = [&](uint64_t next) {
    if (!last) return;
    // How far the offsets are apart says where the column of text begins.
    const uint64_t apart = next - last->offset;
    last->bytes.resize(std::min<uint64_t>(last->bytes.size(), apart - 1 < kMost ? apart : kUsual));
    decoded += last->bytes;
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    auto line = ReadDumpLine(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line) continue;
    flush(line->offset);
    last = std::move(line);
  }
  flush(0);
  return decoded;
}

namespace {

// The value of so many digits of hexadecimal or octal at the start of `text`, or -1.
int NumberAt(std::string_view text, size_t count, int base) {
  if (text.size() < count) return -1;
  int value = 0;
  for (char c : text.substr(0, count)) {
    const int digit = kHex[static_cast<unsigned char>(c)];
    if (digit < 0 || digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

constexpr int kNothing = 0x100;  // the value of an escape that stands for no byte

struct Escape {
  int value = -1;  // -1: none
  size_t length = 1;
};

Escape EscapeAt(std::string_view text) {
  if (text[0] == '=' && text.size() > 1 && (text[1] == '\n' || text[1] == '\r'))
    return {kNothing, text.starts_with("=\r\n") ? 3u : 2u};
  if (text[0] == '%' || text[0] == '=') return {NumberAt(text.substr(1), 2, 16), 3};
  if (text.size() < 2) return {};
  switch (text[1]) {
    case 'n':
    case 'r':
      return {'\n', 2};
    case 't':
      return {'\t', 2};
    case 'b':
      return {'\b', 2};
    case 'f':
      return {'\f', 2};
    case '\\':
    case '\'':
    case '"':
    case '/':
      return {text[1], 2};
    case 'x':
      return {NumberAt(text.substr(2), 2, 16), 4};
    case 'u':
      return {NumberAt(text.substr(2), 4, 16), 6};
    default:
      return {NumberAt(text.substr(1), 3, 8), 4};
  }
}

}  // namespace

std::string WithoutEscapes(std::string_view text, char mark, size_t least) {
  std::string plain;
  size_t escapes = 0, lettered = 0, others = 0;
  while (!text.empty()) {
    const size_t ordinary = std::min(text.find(mark), text.size());
    plain += text.substr(0, ordinary);
    text.remove_prefix(ordinary);
    if (text.empty()) break;
    const Escape escape = EscapeAt(text);
    if (escape.value == kNothing) {
      text.remove_prefix(escape.length);
      continue;
    }
    const bool known = escape.value >= 0 && escape.value <= 0xff;
    plain += known ? static_cast<char>(escape.value) : text[0];
    lettered += known && (escape.value & 0xf) > 9 ? 1 : 0;
    ++(known ? escapes : others);
    text.remove_prefix(known ? escape.length : 1);
  }
  // "=" is no mark in "age = 45", nor in a log's "step=30", where no digit is a letter.
  if (mark == '=' && (others * 20 > escapes || lettered < least)) return {};
  return escapes < least ? std::string() : plain;
}

}  // namespace carrel
