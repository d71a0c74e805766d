// UTF-8, decoded strictly: what others wrote is checked before it is shown, matched or published.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace carrel {

struct CodePoint {
  char32_t value = 0;
  uint8_t bytes = 0;  ///< 0: the first byte of `text` starts no valid sequence
};

/// The same for text that does not begin with an ASCII character.
CodePoint FirstCodePointBeyondAscii(std::string_view text);

/// The code point at the start of `text` (not empty). Overlong forms, surrogates and values beyond
/// U+10FFFF are invalid.
inline CodePoint FirstCodePoint(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  return lead < 0x80 ? CodePoint{lead, 1} : FirstCodePointBeyondAscii(text);
}

bool IsValidUtf8(std::string_view text);

/// Every byte that is not UTF-8 becomes one code point of its own (U+DC80 to U+DCFF, as Python's
/// surrogateescape has it).
std::u32string DecodeUtf8Lossy(std::string_view text);

/// Text for people to read: control characters, invalid bytes, bidirectional overrides, invisible
/// characters and line separators in a visible notation ("\x1b", "\u202e"). Tab stays.
std::string MakeVisible(std::string_view text);

}  // namespace carrel
