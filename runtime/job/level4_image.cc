#include "job/level4_image.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "job/csv_sniff.h"

namespace carrel {
namespace {

constexpr size_t kMaxBeside = 64u << 10;
const char kBeside[] =
    "It carries more than 64 KiB of other data beside the picture. Save it without metadata";
const char kIdentifiers[] = "The data beside the picture names patient identifiers";

uint32_t Big32(std::string_view data, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(data[at + i]);
  return value;
}

uint32_t Crc(std::string_view data) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

// An inflate stream that is always ended.
class Inflater {
 public:
  explicit Inflater(int window_bits) { ok_ = ::inflateInit2(&stream_, window_bits) == Z_OK; }
  ~Inflater() { ::inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // False for corrupt data, more than `max_bytes`, or bytes after the end of the stream. `text`
  // may be null.
  bool Feed(std::string_view input, uint64_t max_bytes, std::string* text) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    std::array<char, 32u << 10> buffer;
    while (ok_ && !ended_) {
      stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream_.avail_out = buffer.size();
      const int status = ::inflate(&stream_, Z_NO_FLUSH);
      const size_t made = buffer.size() - stream_.avail_out;
      total_ += made;
      ended_ = status == Z_STREAM_END;
      ok_ = (ended_ || status == Z_OK || status == Z_BUF_ERROR) && total_ <= max_bytes;
      if (text != nullptr) text->append(buffer.data(), made);
      if (!ended_ && stream_.avail_in == 0 && stream_.avail_out != 0) return ok_;
      if (status == Z_BUF_ERROR && made == 0) return ok_;
    }
    return ok_ && stream_.avail_in == 0;
  }
  bool ended() const { return ended_; }
  uint64_t total() const { return total_; }

 private:
  z_stream stream_{};
  bool ok_ = false;
  bool ended_ = false;
  uint64_t total_ = 0;
};

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

bool HasIdentifiers(std::string_view data) { return MentionsPatientIdentifier(data); }

}  // namespace

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
      if (beside > kMaxBeside) return kBeside;
      if (HasIdentifiers(body)) return kIdentifiers;
    }
  }
  if (!data.empty()) return "Something follows the end of the picture";
  return std::nullopt;
}

const char kBrokenJpeg[] =
    "Its JPEG data is damaged or holds something else, so it cannot be checked";

// Readable text in compressed data is no picture: 32 printable characters in a row happen by chance
// once in ten thousand pictures of the largest size.
bool HasReadableRun(std::string_view data) {
  size_t run = 0;
  for (char c : data) {
    const bool readable = (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';
    run = readable ? run + 1 : 0;
    if (run >= 32) return true;
  }
  return false;
}

// The segments of one JPEG, in the order in which they come.
class JpegSegments {
 public:
  Refusal Add(unsigned char marker, std::string_view body) {
    if (marker >= 0xe0) return AddBeside(body);  // application data and comments
    if (marker == 0xc4 || marker == 0xdb) {      // Huffman and quantisation tables
      tables_ += body.size();
      // Four of each, as often as a progressive picture's scans can want them anew.
      return tables_ > kMaxTables || HasReadableRun(body) ? Refusal(kBrokenJpeg) : std::nullopt;
    }
    if (marker == 0xdd) return body.size() == 4 ? Refusal() : kBrokenJpeg;  // restart interval
    if (marker == 0xda) return frame_bytes_ != 0 && body.size() <= 14 ? Refusal() : kBrokenJpeg;
    // One frame: baseline, extended or progressive; nothing rarer, which few readers know.
    if (marker > 0xc2 || frame_bytes_ != 0 || body.size() < 8 || body.size() > 20)
      return kBrokenJpeg;
    const uint64_t height = Byte(body, 3) << 8 | Byte(body, 4);
    const uint64_t width = Byte(body, 5) << 8 | Byte(body, 6);
    frame_bytes_ = height * width * Byte(body, 7);
    return frame_bytes_ == 0 ? Refusal(kBrokenJpeg) : std::nullopt;
  }

  // A scan longer than the pixels themselves carries something else.
  Refusal AddScan(std::string_view data) {
    scanned_ += data.size();
    return scanned_ > frame_bytes_ + 4096 || HasReadableRun(data) ? Refusal(kBrokenJpeg)
                                                                  : std::nullopt;
  }

  bool scanned() const { return scanned_ > 0; }

 private:
  static constexpr size_t kMaxTables = 32u << 10;
  static uint64_t Byte(std::string_view data, size_t at) {
    return static_cast<unsigned char>(data[at]);
  }
  Refusal AddBeside(std::string_view body) {
    beside_ += body.size();
    if (beside_ > kMaxBeside) return kBeside;
    return HasIdentifiers(body) ? Refusal(kIdentifiers) : std::nullopt;
  }

  size_t beside_ = 0, tables_ = 0;
  uint64_t frame_bytes_ = 0, scanned_ = 0;
};

// Where a scan ends: at a marker that is neither a stuffed zero nor a restart.
size_t ScanEnd(std::string_view data) {
  size_t at = data.find('\xff');
  while (at != std::string_view::npos && at + 1 < data.size() &&
         (data[at + 1] == 0 || (static_cast<unsigned char>(data[at + 1]) & 0xf8) == 0xd0))
    at = data.find('\xff', at + 2);
  return at;
}

Refusal CheckJpeg(std::string_view data) {
  if (!data.starts_with("\xff\xd8\xff")) return "It is not a JPEG picture, though its name says so";
  data.remove_prefix(2);
  JpegSegments segments;
  size_t fill = 0;
  for (;;) {
    if (data.size() < 2 || data[0] != '\xff') return kBrokenJpeg;
    const auto marker = static_cast<unsigned char>(data[1]);
    if (marker == 0xff) {  // a fill byte
      data.remove_prefix(1);
      if (++fill > kMaxBeside) return kBeside;
      continue;
    }
    data.remove_prefix(2);
    if (marker == 0xd9) break;
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8) || data.size() < 2) return kBrokenJpeg;
    const size_t length = Big32(std::string("\0\0", 2) + std::string(data.substr(0, 2)), 0);
    if (length < 2 || length > data.size()) return kBrokenJpeg;
    if (auto refusal = segments.Add(marker, data.substr(0, length))) return refusal;
    data.remove_prefix(length);
    if (marker != 0xda) continue;
    const size_t end = ScanEnd(data);
    if (end == std::string_view::npos) return kBrokenJpeg;
    if (auto refusal = segments.AddScan(data.substr(0, end))) return refusal;
    data.remove_prefix(end);
  }
  if (!segments.scanned()) return kBrokenJpeg;
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
