#include "gateway/tds_wire.h"

#include <algorithm>

namespace carrel::gateway::tds {
namespace {

constexpr char32_t kReplacement = 0xfffd;

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

// The next character of UTF-8, or U+FFFD and one byte.
char32_t NextUtf8(std::string_view& text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  char32_t c = length == 1   ? first
               : length == 2 ? first & 31u
               : length == 3 ? first & 15u
                             : first & 7u;
  bool good = length > 0 && length <= text.size();
  for (size_t i = 1; good && i < length; ++i) {
    const auto next = static_cast<uint8_t>(text[i]);
    good = (next & 0xc0) == 0x80;
    c = c << 6 | (next & 63u);
  }
  good = good && !(length == 3 && c < 0x800) && !(length == 4 && (c < 0x10000 || c > 0x10ffff)) &&
         !(c >= 0xd800 && c < 0xe000);
  text.remove_prefix(good ? length : 1);
  return good ? c : kReplacement;
}

char32_t UnitAt(std::string_view utf16, size_t at) {
  return static_cast<char32_t>(static_cast<uint8_t>(utf16[at])) |
         static_cast<char32_t>(static_cast<uint8_t>(utf16[at + 1])) << 8;
}

bool IsHigh(char32_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool IsLow(char32_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

}  // namespace

std::string Little(uint64_t value, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string Big16(uint16_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

bool SameName(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::string ToUtf16(std::string_view utf8) {
  std::string out;
  while (!utf8.empty()) {
    const char32_t c = NextUtf8(utf8);
    if (c < 0x10000) {
      out += Little(c, 2);
    } else {
      out += Little(0xd800 + ((c - 0x10000) >> 10), 2);
      out += Little(0xdc00 + ((c - 0x10000) & 0x3ff), 2);
    }
  }
  return out;
}

void Utf16Decoder::Append(std::string_view piece, std::string& utf8) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_ + std::string(piece);
    piece = joined;
    held_.clear();
  }
  size_t at = 0;
  while (at + 1 < piece.size()) {
    const char32_t unit = UnitAt(piece, at);
    if (IsHigh(unit) && at + 3 >= piece.size()) break;
    at += 2;
    if (IsHigh(unit) && IsLow(UnitAt(piece, at))) {
      AppendUtf8(0x10000 + ((unit - 0xd800) << 10) + (UnitAt(piece, at) - 0xdc00), utf8);
      at += 2;
    } else {
      AppendUtf8(IsHigh(unit) || IsLow(unit) ? kReplacement : unit, utf8);
    }
  }
  held_ = std::string(piece.substr(at));
}

void Utf16Decoder::Finish(std::string& utf8) {
  if (!held_.empty()) AppendUtf8(kReplacement, utf8);
  held_.clear();
}

std::string FromUtf16(std::string_view utf16) {
  Utf16Decoder decoder;
  std::string out;
  decoder.Append(utf16, out);
  decoder.Finish(out);
  return out;
}

std::string Packets(uint8_t type, std::string_view payload, size_t packet) {
  std::string out;
  uint8_t number = 0;
  do {
    const size_t take = std::min(payload.size(), packet - kHeaderBytes);
    const bool last = take == payload.size();
    out += static_cast<char>(type);
    out += static_cast<char>(last ? kEndOfMessage : 0);
    out += Big16(static_cast<uint16_t>(take + kHeaderBytes));
    out += {'\0', '\0', static_cast<char>(++number), '\0'};
    out.append(payload.substr(0, take));
    payload.remove_prefix(take);
  } while (!payload.empty());
  return out;
}

std::string ErrorReply(uint32_t number, std::string_view text, bool wide) {
  const std::string message = ToUtf16(text);
  const std::string name = ToUtf16("carrel");
  std::string body = Little(number, 4);
  body += {'\x01', '\x0e'};  // state, class: a login that failed
  body += Little(message.size() / 2, 2) + message;
  body += Little(name.size() / 2, 1) + name;
  body += '\0';  // no procedure
  body += Little(1, wide ? 4 : 2);
  std::string reply = "\xaa" + Little(body.size(), 2) + body;
  reply += "\xfd" + Little(2, 2) + Little(0, 2) + Little(0, wide ? 8 : 4);  // DONE with an error
  return Packets(kResult, reply);
}

}  // namespace carrel::gateway::tds
