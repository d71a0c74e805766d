// Runs of encoded data in text: cut out of it, and decoded. Encoders break lines, or put blanks,
// quotes or marks between groups of the same length; a run goes on over those.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "job/level4_text.h"

namespace carrel {

using Alphabet = std::array<int, 256>;  // the value of a digit; -1: no digit

/// An encoding whose digits are so many bits each.
struct Encoding {
  const char* name;
  Alphabet digits;
  unsigned bits;
  size_t phases;      ///< digits after which a run is at a byte's border again
  size_t least_run;   ///< digits; shorter ones are words and numbers
  size_t least_word;  ///< digits of a line of a table that is encoded by itself
};

/// Base64 (both alphabets), base32, hexadecimal and binary digits.
const std::array<Encoding, 4>& Encodings();

/// Alphabets of base85: Adobe's, RFC 1924's (Python's b85encode), ZeroMQ's.
const std::array<Alphabet, 3>& Base85Alphabets();

using Digits = std::vector<uint8_t>;
using TakeDigits = std::function<Refusal(const Digits&)>;

/// Calls `take` for each run of at least `least` digits, with the groups that belong together
/// joined, until it refuses.
Refusal ForEachRun(std::string_view text, const Alphabet& alphabet, size_t least,
                   const TakeDigits& take);

/// Calls `take` for each word of at least `least` digits: what stands between two characters that
/// are none.
void ForEachWord(std::string_view text, const Alphabet& alphabet, size_t least,
                 const std::function<void(const Digits&)>& take);

/// The bytes of the digits from `from` on, so many bits each.
std::string DecodeBits(const Digits& digits, size_t from, unsigned bits);

/// The same for base85.
std::string Decode85(const Digits& digits, size_t from);

/// Runs of at least `least` numbers from 0 to 255 with little between them, as bytes.
Refusal ForEachByteList(std::string_view text, size_t least,
                        const std::function<Refusal(const std::string&)>& take);

/// What uuencode made: the bytes of the lines that have the length their first character says.
std::string DecodeUu(std::string_view text);

/// The bytes of what xxd, hexdump and od write: an offset, groups of hexadecimal digits, and the
/// same as text in a last column that is passed over.
std::string DecodeDump(std::string_view text);

/// The text with its escapes as the bytes they stand for: with the mark '%' those of URLs (%2C),
/// with '\\' those of programs (\n, \054, \x2c, \u002c), with '=' those of quoted-printable (=2C,
/// and the end of a line that goes on; empty unless nearly every '=' is one). Empty when it has
/// fewer than `least`.
std::string WithoutEscapes(std::string_view text, char mark, size_t least);

}  // namespace carrel
