// JPEG at level 4 (declared in level4_image.h).
// jpeglib.h needs what <cstdio> declares.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <csetjmp>

#include "job/level4_image.h"

namespace carrel {
namespace {

constexpr uint64_t kMaxPixels = 50'000'000;

// Decodes every coefficient of every scan, as a reader would. libjpeg warns where the data runs out
// before the picture is whole, where bytes are left over before the next marker, and where they are
// no code: a stream of something else in the place of a scan does all of that.
struct Decoder {
  jpeg_error_mgr errors;
  std::jmp_buf failed;
};

void OnError(j_common_ptr info) {
  std::longjmp(reinterpret_cast<Decoder*>(info->err)->failed, 1);  // errors is its first member
}
void OnMessage(j_common_ptr info, int level) {
  if (level < 0) ++info->err->num_warnings;
}
void NoOutput(j_common_ptr) {}

// Nothing between setjmp and the end has a destructor.
bool Decodes(std::string_view data) {
  jpeg_decompress_struct info{};
  Decoder decoder{};
  info.err = ::jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = &OnError;
  decoder.errors.emit_message = &OnMessage;
  decoder.errors.output_message = &NoOutput;
  volatile bool whole = false;
  if (setjmp(decoder.failed) == 0) {
    jpeg_create_decompress(&info);
    ::jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(data.data()), data.size());
    if (::jpeg_read_header(&info, TRUE) == JPEG_HEADER_OK &&
        ::jpeg_read_coefficients(&info) != nullptr && ::jpeg_finish_decompress(&info) == TRUE)
      whole = decoder.errors.num_warnings == 0;
  }
  ::jpeg_destroy_decompress(&info);
  return whole;
}

const char kBrokenJpeg[] =
    "Its JPEG data is damaged or holds something else, so it cannot be checked";

// Readable text in compressed data is no picture: 32 printable characters in a row happen by chance
// once in ten thousand pictures of the largest size. Tables hold small numbers, which may look
// readable: the standard Huffman tables have 45 such in a row, a quantisation table at most 64.
constexpr size_t kReadableScan = 32;
constexpr size_t kReadableTable = 80;

bool HasReadableRun(std::string_view data, size_t length) {
  size_t run = 0;
  for (char c : data) {
    const bool readable = (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';
    run = readable ? run + 1 : 0;
    if (run >= length) return true;
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
      return tables_ > kMaxTables || HasReadableRun(body, kReadableTable) ? Refusal(kBrokenJpeg)
                                                                          : std::nullopt;
    }
    if (marker == 0xdd) return body.size() == 4 ? Refusal() : kBrokenJpeg;  // restart interval
    if (marker == 0xda) return frame_bytes_ != 0 && body.size() <= 14 ? Refusal() : kBrokenJpeg;
    // One frame: baseline, extended or progressive; nothing rarer, which few readers know.
    if (marker > 0xc2 || frame_bytes_ != 0 || body.size() < 8 || body.size() > 20)
      return kBrokenJpeg;
    const uint64_t height = Byte(body, 3) << 8 | Byte(body, 4);
    const uint64_t width = Byte(body, 5) << 8 | Byte(body, 6);
    frame_bytes_ = height * width * Byte(body, 7);
    if (height * width > kMaxPixels) return "It has more than 50 million pixels";
    return frame_bytes_ == 0 ? Refusal(kBrokenJpeg) : std::nullopt;
  }

  // A scan longer than the pixels themselves carries something else.
  Refusal AddScan(std::string_view data) {
    scanned_ += data.size();
    return scanned_ > frame_bytes_ + 4096 || HasReadableRun(data, kReadableScan)
               ? Refusal(kBrokenJpeg)
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
    if (beside_ > kMaxBesidePicture) return kBesidePicture;
    return CheckBesidePicture(body.substr(2));  // without its length
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

}  // namespace

Refusal CheckJpeg(std::string_view data) {
  const std::string_view whole = data;
  if (!data.starts_with("\xff\xd8\xff")) return "It is not a JPEG picture, though its name says so";
  data.remove_prefix(2);
  JpegSegments segments;
  size_t fill = 0;
  for (;;) {
    if (data.size() < 2 || data[0] != '\xff') return kBrokenJpeg;
    const auto marker = static_cast<unsigned char>(data[1]);
    if (marker == 0xff) {  // a fill byte
      data.remove_prefix(1);
      if (++fill > kMaxBesidePicture) return kBesidePicture;
      continue;
    }
    data.remove_prefix(2);
    if (marker == 0xd9) break;
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8) || data.size() < 2) return kBrokenJpeg;
    const size_t length = static_cast<size_t>(static_cast<unsigned char>(data[0])) << 8 |
                          static_cast<unsigned char>(data[1]);
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
  return Decodes(whole) ? Refusal() : kBrokenJpeg;
}

}  // namespace carrel
