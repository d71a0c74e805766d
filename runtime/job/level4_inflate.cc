#include "job/level4_inflate.h"

#include <bit>

namespace carrel {
namespace {

constexpr uint64_t kEnough = 1024;  // bytes that do not inflate by chance

bool Inflates(std::string_view data, int window_bits) {
  Inflater inflater(window_bits);
  (void)inflater.Feed(data.substr(0, 4 * kEnough), kEnough, nullptr);
  return inflater.ended() || inflater.total() > kEnough;
}

// bzip2's is "BZh9" and the digits of pi.
constexpr std::array<std::string_view, 9> kMagics = {
    "PK\x03\x04",         "\x28\xb5\x2f\xfd", "\xfd\x37zXZ",
    "7z\xbc\xaf\x27\x1c", "ARROW1",           "SQLite format 3",
    "\x93NUMPY",          "\x89HDF\r\n",      "1AY&SY"};

// The header of an LZMA stream by itself, with the settings that everybody leaves as they are: a
// dictionary of 4 KiB or more that is a power of two or one and a half, an unknown size or one
// below 4 GiB, and the zero that each stream begins with.
bool IsLzma(std::string_view data) {
  if (data.size() < 18 || !data.starts_with(std::string_view("\x5d\0\0", 3))) return false;
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(data[at]); };
  const unsigned dictionary = byte(3) | unsigned{byte(4)} << 8;  // in units of 64 KiB
  const unsigned top = std::bit_floor(dictionary), rest = dictionary - top;
  const std::string_view size = data.substr(5, 8);
  const bool known = size.ends_with(std::string_view("\0\0\0\0", 4));
  return (rest == 0 || 2 * rest == top) && data[13] == '\0' &&
         (known || size == std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff"));
}

// Looks at each byte once: there are many runs to look through, each from several offsets.
bool HasMagic(std::string_view data) {
  static constexpr auto kFirst = [] {
    std::array<bool, 256> first{};
    for (std::string_view magic : kMagics) first[static_cast<unsigned char>(magic[0])] = true;
    return first;
  }();
  for (size_t i = 0; i < data.size(); ++i) {
    if (data[i] == '\x5d' && IsLzma(data.substr(i))) return true;
    if (kFirst[static_cast<unsigned char>(data[i])])
      for (std::string_view magic : kMagics)
        if (data.substr(i).starts_with(magic)) return true;
  }
  return data.starts_with("PAR1") && data.size() > 8;  // Parquet has it at both ends
}

}  // namespace

bool HoldsPackedData(std::string_view data) {
  if (HasMagic(data)) return true;
  // In random bytes one in sixteen thousand begins such a stream.
  size_t attempts = 64 + data.size() / 256;
  const auto is_packed = [&](size_t at, int window_bits) {
    return attempts-- == 0 || Inflates(data.substr(at), window_bits);
  };
  for (size_t at = data.find("\x1f\x8b\x08"); at != std::string_view::npos;
       at = data.find("\x1f\x8b\x08", at + 1))
    if (is_packed(at, 15 + 16)) return true;
  for (size_t at = data.find('\x78'); at != std::string_view::npos && at + 1 < data.size();
       at = data.find('\x78', at + 1))
    if ((0x7800 + static_cast<unsigned char>(data[at + 1])) % 31 == 0 && is_packed(at, 15))
      return true;
  return false;
}

}  // namespace carrel
