// Growing bytes with LEB128 integers, and their bounded reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace carrel {

/// Small integers of either sign as small unsigned ones: 0, -1, 1, -2...
inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

class ByteWriter {
 public:
  void Byte(uint8_t value) {
    Reserve(1);
    data_[size_++] = value;
  }
  void Varint(uint64_t value) {
    Reserve(10);
    while (value >= 0x80) {
      data_[size_++] = static_cast<uint8_t>(value) | 0x80;
      value >>= 7;
    }
    data_[size_++] = static_cast<uint8_t>(value);
  }
  void Signed(int64_t value) { Varint(ZigZag(value)); }
  void Bytes(std::string_view bytes) {
    Reserve(bytes.size());
    std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  /// Little-endian, `count` bytes.
  void Fixed(uint64_t value, int count) {
    for (int i = 0; i < count; ++i) Byte(static_cast<uint8_t>(value >> (8 * i)));
  }
  void Text(std::string_view text) {
    Varint(text.size());
    Bytes(text);
  }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_.get()), size_}; }
  size_t size() const { return size_; }
  void Clear() { size_ = 0; }

 private:
  void Reserve(size_t more) {
    if (size_ + more <= capacity_) return;
    capacity_ = (size_ + more) * 2 + 64;
    std::unique_ptr<uint8_t[]> grown(new uint8_t[capacity_]);  // not zeroed
    if (size_ != 0) std::memcpy(grown.get(), data_.get(), size_);
    data_ = std::move(grown);
  }
  std::unique_ptr<uint8_t[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

/// Reads what a ByteWriter wrote, or anything else: past the end, everything is zero and `ok` is
/// false.
class ByteReader {
 public:
  ByteReader() = default;
  explicit ByteReader(std::string_view bytes)
      : at_(reinterpret_cast<const uint8_t*>(bytes.data())), end_(at_ + bytes.size()) {}

  bool ok() const { return ok_; }
  bool at_end() const { return at_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }

  uint8_t Byte() {
    if (at_ == end_) return Fail();
    return *at_++;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return Fail();
      const uint8_t byte = *at_++;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Fail();
  }
  int64_t Signed() { return UnZigZag(Varint()); }
  uint64_t Fixed(int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; ++i) value |= static_cast<uint64_t>(Byte()) << (8 * i);
    return value;
  }
  std::string_view Bytes(size_t count) {
    if (count > left()) {
      Fail();
      return {};
    }
    std::string_view bytes(reinterpret_cast<const char*>(at_), count);
    at_ += count;
    return bytes;
  }
  std::string_view Text() { return Bytes(Varint()); }

 private:
  uint8_t Fail() {
    ok_ = false;
    at_ = end_;
    return 0;
  }
  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  bool ok_ = true;
};

}  // namespace carrel
