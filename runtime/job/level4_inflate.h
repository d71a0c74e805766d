// Inflating what may be hostile.
#pragma once

#include <zlib.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace carrel {

/// An inflate stream that is always ended.
class Inflater {
 public:
  explicit Inflater(int window_bits) { ok_ = ::inflateInit2(&stream_, window_bits) == Z_OK; }
  ~Inflater() { ::inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// As new.
  void Reset() {
    ok_ = ::inflateReset(&stream_) == Z_OK;
    ended_ = false;
    total_ = 0;
  }

  /// False for corrupt data, more than `max_bytes`, or bytes after the end of the stream. `text`
  /// may be null.
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

/// True when compressed data or a binary table begins anywhere in the data: by its magic number,
/// and where that is short, because it inflates to its end or to a kilobyte. Takes time in
/// proportion to the data: what has far more beginnings than chance gives counts as packed.
bool HoldsPackedData(std::string_view data);

}  // namespace carrel
