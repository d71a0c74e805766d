// Tables that hide in encodings (declared in level4_text.h).
#include <algorithm>
#include <bitset>

#include "job/level4_image.h"
#include "job/level4_inflate.h"
#include "job/level4_runs.h"
#include "job/level4_text.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kLeastRun85 = 80;
constexpr size_t kLeastDifferent85 = 16;  // digits; numbers with commas, points and signs have less
constexpr size_t kLeastBytes = 64;        // numbers in a list of bytes
constexpr size_t kLeastEscapes = 16;      // fewer are somebody's format strings
constexpr size_t kLeastText = 32;  // bytes of text in decoded data that are not there by chance
constexpr size_t kLeastUnknown = 2048;  // decoded bytes that are refused when nothing knows them
constexpr size_t kManyDifferent = 200;  // different bytes in as many: compressed, or encrypted
// Bytes of text within encodings that are looked at again: what base64 of a file of 16 MiB holds. A
// page of R Markdown has each library's script so, and Plotly's alone is of 4 MB.
constexpr size_t kMaxNested = 12u << 20;
constexpr int kMaxNesting = 2;  // encodings within encodings
constexpr size_t kMaxInflated = 256u << 10;
constexpr size_t kMuchInflated = 4u << 10;  // more than chance gives
constexpr int kMaxInflations = 64;

bool IsText(const CodePoint& point) {
  return point.bytes != 0 &&
         (point.value >= 0x20 || point.value == '\n' || point.value == '\r' || point.value == '\t');
}

// Numbers, which are digits of these encodings as well: the bytes that those alone make have no
// line end among them (in base32 and base64 they are no text at all), and no compressed data comes
// without a letter.
bool IsNumbers(const Digits& run, const Encoding& encoding) {
  if (encoding.bits == 1) return false;
  const int first = encoding.digits[encoding.bits == 5 ? '2' : '0'];
  return std::all_of(run.begin(), run.end(),
                     [first](uint8_t digit) { return digit >= first && digit < first + 10; });
}

bool IsFont(std::string_view data) {
  return data.starts_with("wOFF") || data.starts_with("wOF2") || data.starts_with("OTTO") ||
         data.starts_with(std::string_view("\0\1\0\0", 4));
}

bool IsUnknown(std::string_view data) {
  std::bitset<256> seen;
  for (char c : data) seen.set(static_cast<unsigned char>(c));
  return data.size() >= kLeastUnknown && seen.count() >= kManyDifferent;
}

std::string CannotBeChecked(const std::string& what, const char* encoding) {
  return "It holds " + what + " in " + encoding + ", which cannot be checked";
}

class EmbeddedCheck {
 public:
  EmbeddedCheck(int64_t max_rows, bool is_page) : max_rows_(max_rows), is_page_(is_page) {}

  Refusal Check(std::string_view text, int nesting) {
    for (const Encoding& encoding : Encodings()) {
      if (auto refusal = CheckWords(text, encoding)) return refusal;
      auto refusal = ForEachRun(text, encoding.digits, encoding.least_run, [&](const Digits& run) {
        return CheckRun(run, encoding, nesting);
      });
      if (refusal) return refusal;
    }
    for (const Alphabet& alphabet : Base85Alphabets()) {
      auto refusal = ForEachRun(text, alphabet, kLeastRun85,
                                [&](const Digits& run) { return CheckRun85(run, nesting); });
      if (refusal) return refusal;
    }
    auto refusal = ForEachByteList(text, kLeastBytes, [&](const std::string& bytes) {
      return CheckDecoded(bytes, "a list of bytes", nesting);
    });
    if (refusal) return refusal;
    if (refusal = CheckDecoded(DecodeUu(text), "uuencode", nesting); refusal) return refusal;
    if (refusal = CheckDump(DecodeDump(text), nesting); refusal) return refusal;
    return CheckEscaped(text);
  }

  Refusal CheckEscaped(std::string_view text) {
    for (char mark : {'%', '\\', '='}) {
      const std::string plain = WithoutEscapes(text, mark, kLeastEscapes);
      // Programs that read archives have the first bytes of such in their strings.
      auto refusal = is_page_ ? CheckTextIn(plain, 0) : CheckDecoded(plain, "escapes", 0);
      if (refusal) return refusal;
    }
    return std::nullopt;
  }

 private:
  // Short runs that are text: a table that was encoded line by line.
  Refusal CheckWords(std::string_view text, const Encoding& encoding) {
    std::string lines;
    ForEachWord(text, encoding.digits, encoding.least_word, [&](const Digits& word) {
      if (encoding.bits > 4 && IsNumbers(word, encoding)) return;  // no text
      const std::string plain = DecodeBits(word, 0, encoding.bits);
      if (std::all_of(plain.begin(), plain.end(), [](char c) { return c >= 0x20 && c < 0x7f; }))
        lines += plain + "\n";
    });
    return CheckTables(lines, max_rows_, true);
  }

  // A picture must be one to its end; other data may begin anywhere in the run.
  Refusal CheckRun(const Digits& run, const Encoding& encoding, int nesting) {
    if (IsNumbers(run, encoding)) return std::nullopt;
    for (size_t phase = 0; phase < encoding.phases; ++phase) {
      const std::string decoded = DecodeBits(run, phase, encoding.bits);
      if (phase == 0 && decoded.starts_with("\x89PNG")) return CheckPng(decoded);
      if (phase == 0 && decoded.starts_with("\xff\xd8\xff")) return CheckJpeg(decoded);
      if (phase == 0 && !is_page_ && !IsFont(decoded) && IsUnknown(decoded))
        return CannotBeChecked("a long run of data", encoding.name);
      if (auto refusal = CheckDecoded(decoded, encoding.name, nesting)) return refusal;
    }
    return std::nullopt;
  }

  Refusal CheckRun85(const Digits& run, int nesting) {
    std::bitset<85> seen;
    for (uint8_t digit : run) seen.set(digit);
    if (seen.count() < kLeastDifferent85) return std::nullopt;
    for (size_t phase = 0; phase < 5; ++phase)
      if (auto refusal = CheckDecoded(Decode85(run, phase), "base85", nesting)) return refusal;
    return std::nullopt;
  }

  // hexdump writes words of two bytes, the second first.
  Refusal CheckDump(std::string bytes, int nesting) {
    if (auto refusal = CheckDecoded(bytes, "a hexadecimal dump", nesting)) return refusal;
    for (size_t i = 0; i + 1 < bytes.size(); i += 2) std::swap(bytes[i], bytes[i + 1]);
    return CheckDecoded(bytes, "a hexadecimal dump", nesting);
  }

  // Deflated data without a header cannot be told from others but by what comes out of it.
  Refusal CheckDeflated(std::string_view data, int nesting) {
    const int kind = data[0] >> 1 & 3;  // of its first block
    if (kind != 1 && kind != 2) return std::nullopt;
    std::string text;
    raw_.Reset();
    (void)raw_.Feed(data, kMaxInflated, &text);
    if (text.size() < kLeastText) return std::nullopt;
    if (text.size() > kMuchInflated) {
      if (inflations_left_ == 0) return CannotBeChecked("compressed data", "many places");
      --inflations_left_;
    }
    return CheckTextIn(text, nesting);
  }

  Refusal CheckDecoded(std::string_view data, const char* encoding, int nesting) {
    if (data.size() < kLeastText) return std::nullopt;
    if (auto refusal = CheckTextIn(data, nesting)) return refusal;
    if (auto refusal = CheckDeflated(data, nesting)) return refusal;
    if (!IsFont(data) && HoldsPackedData(data)) return CannotBeChecked("compressed data", encoding);
    return std::nullopt;
  }

  // Text that stands anywhere in decoded data, checked as a file of its own would be.
  Refusal CheckTextIn(std::string_view data, int nesting) {
    if (4 * std::count(data.begin(), data.end(), '\0') > static_cast<std::ptrdiff_t>(data.size())) {
      std::string narrow;  // of UTF-16 and UTF-32
      std::copy_if(data.begin(), data.end(), std::back_inserter(narrow),
                   [](char c) { return c != '\0'; });
      if (auto refusal = CheckTextIn(narrow, nesting)) return refusal;
    }
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
        if (auto refusal = CheckTables(body.substr(0, newline + 1), max_rows_, true))
          return refusal;
      if (body.size() >= kLeastText && nesting > 0)
        if (auto refusal = CheckNested(body, nesting - 1)) return refusal;
      data = rest.substr(std::min<size_t>(rest.size(), 1));
    }
    return std::nullopt;
  }

  // One text can be decoded in dozens of ways, and each result again: there is an end to it.
  Refusal CheckNested(std::string_view body, int nesting) {
    if (body.size() > nested_left_) return CannotBeChecked("encoded data", "encoded data");
    nested_left_ -= body.size();
    return Check(body, nesting);
  }

  int64_t max_rows_;
  bool is_page_;
  size_t nested_left_ = kMaxNested;
  int inflations_left_ = kMaxInflations;
  Inflater raw_{-15};
};

}  // namespace

Refusal CheckEmbedded(std::string_view text, int64_t max_rows, bool is_page) {
  return EmbeddedCheck(max_rows, is_page).Check(text, kMaxNesting);
}

Refusal CheckEscapes(std::string_view text, int64_t max_rows, bool is_page) {
  return EmbeddedCheck(max_rows, is_page).CheckEscaped(text);
}

}  // namespace carrel
