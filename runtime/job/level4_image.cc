#include "job/level4_image.h"

#include <algorithm>

#include "job/identifier_names.h"
#include "job/level4_inflate.h"

namespace carrel {
namespace {

uint32_t Big32(std::string_view data, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(data[at + i]);
  return value;
}

uint32_t Crc(std::string_view data) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

// The bytes that the rows of one pass take, filter bytes included.
uint64_t PassBytes(uint64_t width, uint64_t height, uint64_t bits) {
  return width == 0 ? 0 : height * (1 + (width * bits + 7) / 8);
}

// What IHDR says of the size of the inflated picture; 0 for a header that is none.
uint64_t PngPictureBytes(std::string_view header) {
  if (header.size() != 13) return 0;
  const uint64_t width = Big32(header, 0), height = Big32(header, 4);
  static constexpr uint64_t kChannels[] = {1, 0, 3, 1, 2, 0, 4};
  const auto depth = static_cast<unsigned char>(header[8]);
  const auto colour = static_cast<unsigned char>(header[9]);
  if (width == 0 || height == 0 || width > 1u << 20 || height > 1u << 20 || colour > 6 ||
      depth == 0 || depth > 16)
    return 0;
  const uint64_t bits = kChannels[colour] * depth;
  if (header[12] == 0) return PassBytes(width, height, bits);
  static constexpr uint64_t kAdam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                            {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  uint64_t total = 0;
  for (const auto& [x, y, dx, dy] : kAdam7)
    if (width > x && height > y)
      total += PassBytes((width - x + dx - 1) / dx, (height - y + dy - 1) / dy, bits);
  return total;
}

// A picture may not cost more to check than this, whatever its header claims.
constexpr uint64_t kMaxPicture = 1u << 30;

// Texts and profiles may be compressed: "keyword NUL method", iTXt with more before its text.
Refusal CheckChunk(std::string_view type, std::string_view body) {
  if (auto refusal = CheckBesidePicture(body)) return refusal;
  if (type != "zTXt" && type != "iTXt" && type != "iCCP") return std::nullopt;
  if (!HoldsPackedData(body)) return std::nullopt;
  std::string text;
  const size_t stream = body.find('\x78');
  Inflater inflater(15);
  if (stream == std::string_view::npos ||
      !inflater.Feed(body.substr(stream), kMaxBesidePicture, &text) || !inflater.ended())
    return "It carries compressed data beside the picture. Save it without metadata";
  return CheckBesidePicture(text);
}

}  // namespace

const char kBesidePicture[] =
    "It carries more than 64 KiB of other data beside the picture. Save it without metadata";

Refusal CheckBesidePicture(std::string_view data) {
  if (MentionsPatientIdentifier(data))
    return "The data beside the picture names patient identifiers";
  const bool text = std::all_of(data.begin(), data.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t' ||
           c == '\0';
  });
  return text ? CheckTables(data, kMaxRowsBesidePicture, true) : std::nullopt;
}

Refusal CheckPng(std::string_view data) {
  const char kNotPng[] = "It is not a PNG picture, though its name says so";
  const char kBroken[] = "Its PNG data is damaged or holds something else, so it cannot be checked";
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
  if (!data.starts_with(kSignature)) return kNotPng;
  data.remove_prefix(kSignature.size());
  Inflater picture(15);
  uint64_t picture_bytes = 0;
  size_t beside = 0;
  for (bool first = true;; first = false) {
    if (data.size() < 12) return kBroken;
    const uint32_t length = Big32(data, 0);
    if (length > data.size() - 12) return kBroken;
    const std::string_view type = data.substr(4, 4), body = data.substr(8, length);
    if (Crc(data.substr(4, 4 + length)) != Big32(data, 8 + length)) return kBroken;
    data.remove_prefix(12 + length);
    if (first != (type == "IHDR")) return kBroken;
    if (type == "IHDR") {
      picture_bytes = PngPictureBytes(body);
      if (picture_bytes == 0 || picture_bytes > kMaxPicture) return kBroken;
    } else if (type == "IDAT") {
      if (!picture.Feed(body, picture_bytes, nullptr)) return kBroken;
    } else if (type == "IEND") {
      if (length != 0 || !picture.ended() || picture.total() != picture_bytes) return kBroken;
      break;
    } else {
      beside += length;
      if (beside > kMaxBesidePicture) return kBesidePicture;
      if (auto refusal = CheckChunk(type, body)) return refusal;
    }
  }
  if (!data.empty()) return "Something follows the end of the picture";
  return std::nullopt;
}

Refusal InflateSvgz(std::string_view data, uint64_t max_bytes, std::string* text) {
  if (!data.starts_with("\x1f\x8b")) return "It is not a compressed SVG, though its name says so";
  // Extra field and comment of the gzip header are places to hide in, and a long name is too.
  constexpr int kExtraOrComment = 0x04 | 0x10, kName = 0x08;
  const int flags = data.size() > 10 ? data[3] : kExtraOrComment;
  if ((flags & kExtraOrComment) != 0 || ((flags & kName) != 0 && data.find('\0', 10) > 10 + 255))
    return "Its gzip header carries other data";
  Inflater gzip(15 + 16);
  if (!gzip.Feed(data, max_bytes, text) || !gzip.ended())
    return "Its compressed data is damaged, is more than one stream, or is longer than " +
           std::to_string(max_bytes) + " bytes when decompressed";
  return std::nullopt;
}

}  // namespace carrel
