#include "audit/text.h"

namespace carrel {
namespace {

// Bytes of the UTF-8 sequence at the start of `text`, or 0 when it is none. `point` is its value.
size_t SequenceLength(std::string_view text, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return *point = first, 1;
  size_t length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (first >= 0xf5 || length == 0 || text.size() < length) return 0;
  uint32_t value = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff) return 0;
  *point = value;
  return length;
}

// What a terminal or a reader's eye could be misled by: controls and changes of direction.
bool Misleads(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e ||
         point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// A backslash that would read as an escape of this module is escaped itself: "\x5cx1b".
bool LooksEscaped(std::string_view text) {
  return text.size() >= 4 && text[0] == '\\' && text[1] == 'x' && IsHex(text[2]) && IsHex(text[3]);
}

void AppendHex(uint32_t value, int digits, std::string& out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out += "0123456789abcdef"[(value >> shift) & 15];
}

std::string Escape(std::string_view text, bool for_terminal) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    uint32_t point = 0;
    size_t length = SequenceLength(text, &point);
    const bool plain =
        length != 0 && !(for_terminal && Misleads(point)) && !(point == '\\' && LooksEscaped(text));
    if (length == 0) length = 1;
    if (plain) {
      out += text.substr(0, length);
    } else {
      for (char c : text.substr(0, length)) {
        out += "\\x";
        AppendHex(static_cast<uint8_t>(c), 2, out);
      }
    }
    text.remove_prefix(length);
  }
  return out;
}

void AppendCodeUnit(uint32_t unit, std::string& out) {
  out += "\\u";
  AppendHex(unit, 4, out);
}

// East Asian wide characters and emoji take two columns; combining marks take none.
size_t ColumnsOf(uint32_t point) {
  if ((point >= 0x300 && point < 0x370) || (point >= 0x200b && point < 0x200e)) return 0;
  const bool wide = (point >= 0x1100 && point < 0x1160) || (point >= 0x2e80 && point < 0xa4d0) ||
                    (point >= 0xac00 && point < 0xd7a4) || (point >= 0xf900 && point < 0xfb00) ||
                    (point >= 0xfe30 && point < 0xfe70) || (point >= 0xff00 && point < 0xff61) ||
                    (point >= 0x1f300 && point < 0x20000) || (point >= 0x20000 && point < 0x40000);
  return wide ? 2 : 1;
}

// Bytes from the start of `text` that fit into `columns`.
size_t PrefixThatFits(std::string_view text, size_t columns) {
  size_t at = 0;
  for (size_t used = 0; at < text.size();) {
    uint32_t point = '?';
    const size_t length = SequenceLength(text.substr(at), &point);
    used += ColumnsOf(point);
    if (used > columns) break;
    at += length == 0 ? 1 : length;
  }
  return at;
}

}  // namespace

std::string Printable(std::string_view text) { return Escape(text, true); }
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : Printable(text)) quoted += c == '"' ? "\\x22" : std::string(1, c);
  return quoted + '"';
}
std::string Utf8(std::string_view bytes) { return Escape(bytes, false); }

void AppendJsonString(std::string_view bytes, std::string& out) {
  out += '"';
  while (!bytes.empty()) {
    uint32_t point = 0;
    const size_t length = SequenceLength(bytes, &point);
    if (length == 0 || (point == '\\' && LooksEscaped(bytes))) {
      // The backslash of an escape is a character of the string.
      out += "\\\\x";
      AppendHex(static_cast<uint8_t>(bytes[0]), 2, out);
      bytes.remove_prefix(1);
      continue;
    }
    if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point >= 0x20 && point < 0x7f) {
      out += static_cast<char>(point);
    } else if (point < 0x10000) {
      AppendCodeUnit(point, out);
    } else {
      AppendCodeUnit(0xd800 + ((point - 0x10000) >> 10), out);
      AppendCodeUnit(0xdc00 + ((point - 0x10000) & 0x3ff), out);
    }
    bytes.remove_prefix(length);
  }
  out += '"';
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    uint32_t point = '?';
    const size_t length = SequenceLength(text, &point);
    width += ColumnsOf(point);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return width;
}

std::string Fit(std::string_view text, size_t columns) {
  if (PrefixThatFits(text, columns) == text.size()) return std::string(text);
  return std::string(text.substr(0, PrefixThatFits(text, columns - 3))) + "...";
}

}  // namespace carrel
