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

/// The code point at the start of `text` (not empty). Overlong forms, surrogates and values beyond
/// U+10FFFF are invalid.
CodePoint FirstCodePoint(std::string_view text);

bool IsValidUtf8(std::string_view text);

/// Every byte that is not UTF-8 becomes one code point of its own (U+DC80 to U+DCFF, as Python's
/// surrogateescape has it).
std::u32string DecodeUtf8Lossy(std::string_view text);

/// Text for people to read: control characters, invalid bytes, bidirectional overrides, invisible
/// characters and line separators in a visible notation ("\x1b", "\u202e"). Tab stays.
std::string MakeVisible(std::string_view text);

}  // namespace carrel
