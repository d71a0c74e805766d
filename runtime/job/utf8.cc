#include "job/utf8.h"

#include <cstdio>

namespace carrel {
namespace {

// Characters that show nothing or that change how others are shown: a terminal or a viewer would
// present a line that differs from what is in the file.
bool IsTreacherous(char32_t c) {
  if (c < 0x20) return c != '\t';
  if (c >= 0x7f && c <= 0x9f) return true;      // DEL and C1 controls
  if (c == 0x61c || c == 0xfeff) return true;   // Arabic letter mark, byte-order mark
  if (c >= 0x200b && c <= 0x200f) return true;  // zero width, direction marks
  if (c >= 0x2028 && c <= 0x202e) return true;  // line separators, bidirectional overrides
  if (c >= 0x2060 && c <= 0x206f) return true;  // invisible operators, isolates
  if (c >= 0xfff9 && c <= 0xfffb) return true;  // interlinear annotation
  return c >= 0xe0000 && c <= 0xe0fff;          // tags, variation selectors beyond the BMP
}

void AppendNotation(std::string* out, char32_t c) {
  char notation[16];
  snprintf(notation, sizeof notation,
           c < 0x80      ? "\\x%02x"
           : c < 0x10000 ? "\\u%04x"
                         : "\\U%08x",
           static_cast<unsigned>(c));
  *out += notation;
}

}  // namespace

CodePoint FirstCodePointBeyondAscii(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  char32_t value = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3f);
  }
  static constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, static_cast<uint8_t>(length)};
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    if (point.bytes == 0) return false;
    text.remove_prefix(point.bytes);
  }
  return true;
}

std::u32string DecodeUtf8Lossy(std::string_view text) {
  std::u32string decoded;
  decoded.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    decoded += point.bytes != 0 ? point.value : 0xdc00 + static_cast<unsigned char>(text[0]);
    text.remove_prefix(point.bytes != 0 ? point.bytes : 1);
  }
  return decoded;
}

std::string MakeVisible(std::string_view text) {
  std::string visible;
  visible.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    if (point.bytes == 0) {
      char notation[8];
      snprintf(notation, sizeof notation, "\\x%02x", static_cast<unsigned char>(text[0]));
      visible += notation;
    } else if (IsTreacherous(point.value)) {
      AppendNotation(&visible, point.value);
    } else {
      visible += text.substr(0, point.bytes);
    }
    text.remove_prefix(point.bytes != 0 ? point.bytes : 1);
  }
  return visible;
}

}  // namespace carrel
