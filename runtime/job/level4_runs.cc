#include "job/level4_runs.h"

#include <algorithm>

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
    const std::string_view rest = text.substr(at);
    if (hex && (rest.starts_with("0x") || rest.starts_with("0X")))
      at += 2;
    else if (alphabet['\\'] < 0 && (rest.starts_with("\\n") || rest.starts_with("\\r")))
      at += 2;
    else if (alphabet[static_cast<unsigned char>(text[at])] >= 0)
      return at;
    else
      ++at;
  }
  return at;
}

// Cuts a text into runs. A run goes on over a gap when the groups on both sides have one length,
// and to a shorter last one over the same gap; or over the end of a long line.
class RunCutter {
 public:
  RunCutter(std::string_view text, const Alphabet& alphabet, const TakeDigits& take)
      : text_(text), alphabet_(alphabet), take_(take) {}

  Refusal Cut() {
    std::string_view gap;
    for (size_t at = EndOfGap(text_, 0, alphabet_); at < text_.size();) {
      const size_t end = EndOfGroup(at);
      if (!GoesOn(end - at, gap))
        if (auto refusal = EndRun()) return refusal;
      for (size_t i = at; i < end; ++i)
        run_.push_back(static_cast<uint8_t>(alphabet_[static_cast<unsigned char>(text_[i])]));
      group_ = end - at;
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
    auto refusal = run_.empty() ? std::nullopt : take_(run_);
    run_.clear();
    repeated_ = false;
    return refusal;
  }

  std::string_view text_;
  const Alphabet& alphabet_;
  const TakeDigits& take_;
  Digits run_;
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

Refusal ForEachRun(std::string_view text, const Alphabet& alphabet, const TakeDigits& take) {
  return RunCutter(text, alphabet, take).Cut();
}

void ForEachWord(std::string_view text, const Alphabet& alphabet,
                 const std::function<void(const Digits&)>& take) {
  Digits word;
  for (char c : text) {
    const int value = alphabet[static_cast<unsigned char>(c)];
    if (value >= 0) {
      word.push_back(static_cast<uint8_t>(value));
    } else if (!word.empty()) {
      take(word);
      word.clear();
    }
  }
  if (!word.empty()) take(word);
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

struct Escape {
  int value = -1;  // -1: none
  size_t length = 1;
};

Escape EscapeAt(std::string_view text) {
  if (text[0] == '%') return {NumberAt(text.substr(1), 2, 16), 3};
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
  size_t escapes = 0;
  while (!text.empty()) {
    const size_t ordinary = std::min(text.find(mark), text.size());
    plain += text.substr(0, ordinary);
    text.remove_prefix(ordinary);
    if (text.empty()) break;
    const Escape escape = EscapeAt(text);
    const bool known = escape.value >= 0 && escape.value <= 0xff;
    plain += known ? static_cast<char>(escape.value) : text[0];
    text.remove_prefix(known ? escape.length : 1);
    escapes += known ? 1 : 0;
  }
  return escapes < least ? std::string() : plain;
}

}  // namespace carrel
