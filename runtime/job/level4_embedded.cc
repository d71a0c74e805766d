// Tables that hide in base64 and base85 (declared in level4_text.h).
#include <algorithm>
#include <array>
#include <vector>

#include "job/level4_image.h"
#include "job/level4_inflate.h"
#include "job/level4_text.h"
#include "job/utf8.h"

namespace carrel {
namespace {

// Shorter runs are words, digests and identifiers. A run goes on over a newline only after a line
// that is as long as encoders make them.
constexpr size_t kLeastRun = 64;
constexpr size_t kLeastRun85 = 80;
constexpr size_t kLeastLine = 40;
constexpr size_t kLeastWord = 8;   // a line of a table that is encoded by itself
constexpr size_t kLeastText = 32;  // bytes of text in decoded data that are not there by chance

using Alphabet = std::array<int, 256>;  // -1: no digit

constexpr Alphabet MakeAlphabet(std::string_view digits, std::string_view also, int first_also) {
  Alphabet values{};
  for (auto& value : values) value = -1;
  int next = 0;
  for (char c : digits) values[static_cast<unsigned char>(c)] = next++;
  for (char c : also) values[static_cast<unsigned char>(c)] = first_also++;
  return values;
}

constexpr std::string_view kLetters64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr Alphabet kBase64 = MakeAlphabet(kLetters64, "-_", 62);
// Adobe's, RFC 1924's (Python's b85encode) and ZeroMQ's.
constexpr std::array<Alphabet, 3> kBase85 = {
    MakeAlphabet(
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstu",
        "", 0),
    MakeAlphabet(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~", "",
        0),
    MakeAlphabet(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#", "",
        0)};

bool IsText(const CodePoint& point) {
  return point.bytes != 0 &&
         (point.value >= 0x20 || point.value == '\n' || point.value == '\r' || point.value == '\t');
}

// Text that stands anywhere in decoded data, checked as a file of its own would be.
Refusal CheckTextIn(std::string_view data, int64_t max_rows) {
  while (!data.empty()) {
    std::string_view rest = data;
    while (!rest.empty()) {
      const CodePoint point = FirstCodePoint(rest);
      if (!IsText(point)) break;
      rest.remove_prefix(point.bytes);
    }
    const std::string_view body = data.substr(0, data.size() - rest.size());
    const size_t newline = body.find_last_of("\r\n");
    if (body.size() >= kLeastText && newline != std::string_view::npos)
      if (auto refusal = CheckTables(body.substr(0, newline + 1), max_rows, true)) return refusal;
    data = rest.substr(std::min<size_t>(rest.size(), 1));
  }
  return std::nullopt;
}

bool IsFont(std::string_view data) {
  return data.starts_with("wOFF") || data.starts_with("wOF2") || data.starts_with("OTTO") ||
         data.starts_with(std::string_view("\0\1\0\0", 4));
}

Refusal CheckDecoded(std::string_view data, int64_t max_rows, const char* encoding) {
  if (auto refusal = CheckTextIn(data, max_rows)) return refusal;
  if (!IsFont(data) && HoldsPackedData(data))
    return std::string("It holds compressed data in ") + encoding + ", which cannot be checked";
  return std::nullopt;
}

std::string Decode64(const std::vector<uint8_t>& values, size_t from) {
  std::string decoded;
  decoded.reserve((values.size() - from) * 3 / 4);
  uint32_t bits = 0;
  int pending = 0;
  for (size_t i = from; i < values.size(); ++i) {
    bits = bits << 6 | values[i];
    pending += 6;
    if (pending < 8) continue;
    pending -= 8;
    decoded += static_cast<char>(bits >> pending & 0xff);
  }
  return decoded;
}

std::string Decode85(const std::vector<uint8_t>& values, size_t from) {
  std::string decoded;
  decoded.reserve((values.size() - from) * 4 / 5);
  for (size_t i = from; i + 5 <= values.size(); i += 5) {
    uint64_t group = 0;
    for (size_t k = 0; k < 5; ++k) group = group * 85 + values[i + k];
    for (int shift : {24, 16, 8, 0}) decoded += static_cast<char>(group >> shift & 0xff);
  }
  return decoded;
}

// A picture must be one to its end; other data may begin anywhere in the run.
Refusal CheckRun64(const std::vector<uint8_t>& values, int64_t max_rows) {
  for (size_t phase = 0; phase < 4; ++phase) {
    const std::string decoded = Decode64(values, phase);
    if (phase == 0 && decoded.starts_with("\x89PNG")) return CheckPng(decoded);
    if (phase == 0 && decoded.starts_with("\xff\xd8\xff")) return CheckJpeg(decoded);
    if (auto refusal = CheckDecoded(decoded, max_rows, "base64")) return refusal;
  }
  return std::nullopt;
}

Refusal CheckRun85(const std::vector<uint8_t>& values, int64_t max_rows) {
  for (size_t phase = 0; phase < 5; ++phase)
    if (auto refusal = CheckDecoded(Decode85(values, phase), max_rows, "base85")) return refusal;
  return std::nullopt;
}

// Cuts a text into runs of digits of an alphabet. Newlines between long lines belong to a run, and
// so do those that JSON writes as \n.
template <typename EndOfRun>
Refusal ForEachRun(std::string_view text, const Alphabet& alphabet, EndOfRun end_of_run) {
  std::vector<uint8_t> run;
  size_t line = 0;  // digits since the last newline
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    const bool escaped =
        c == '\\' && i + 1 < text.size() && (text[i + 1] == 'n' || text[i + 1] == '/');
    if (escaped && alphabet['\\'] < 0) c = text[++i] == 'n' ? '\n' : '/';
    const int value = alphabet[static_cast<unsigned char>(c)];
    if (value >= 0) {
      run.push_back(static_cast<uint8_t>(value));
      ++line;
      continue;
    }
    const bool wrapped = (c == '\n' || c == '\r') && (line >= kLeastLine || line == 0);
    line = 0;
    if (wrapped) continue;
    if (auto refusal = end_of_run(run)) return refusal;
    run.clear();
  }
  return end_of_run(run);
}

}  // namespace

Refusal CheckEmbedded(std::string_view text, int64_t max_rows) {
  std::string lines;  // short runs that are text: a table that was encoded line by line
  auto refusal = ForEachRun(text, kBase64, [&](const std::vector<uint8_t>& run) -> Refusal {
    if (run.size() >= kLeastRun) return CheckRun64(run, max_rows);
    if (run.size() < kLeastWord) return std::nullopt;
    const std::string word = Decode64(run, 0);
    if (std::all_of(word.begin(), word.end(), [](char c) { return c >= 0x20 && c < 0x7f; }))
      lines += word + "\n";
    return std::nullopt;
  });
  if (!refusal) refusal = CheckTables(lines, max_rows, true);
  for (size_t i = 0; !refusal && i < kBase85.size(); ++i)
    refusal = ForEachRun(text, kBase85[i], [&](const std::vector<uint8_t>& run) -> Refusal {
      return run.size() < kLeastRun85 ? std::nullopt : CheckRun85(run, max_rows);
    });
  return refusal;
}

}  // namespace carrel
