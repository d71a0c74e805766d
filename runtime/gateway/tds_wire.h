// TDS (Microsoft SQL Server's protocol, MS-TDS 7.1 to 7.4): packets and texts.
//
//   packet:  type 1 | status 1 | length 2 (with this header) | spid 2 | number 1 | window 1 |
//   payload message: packets of one type; the last has the status bit kEndOfMessage
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace carrel::gateway::tds {

// Types of packets.
inline constexpr uint8_t kBatch = 0x01;
inline constexpr uint8_t kRpc = 0x03;
inline constexpr uint8_t kResult = 0x04;
inline constexpr uint8_t kAttention = 0x06;
inline constexpr uint8_t kBulk = 0x07;
inline constexpr uint8_t kTransaction = 0x0e;
inline constexpr uint8_t kLogin7 = 0x10;
inline constexpr uint8_t kPrelogin = 0x12;

inline constexpr uint8_t kEndOfMessage = 0x01;
inline constexpr uint8_t kIgnore = 0x02;  ///< with kEndOfMessage: the client has thought again
inline constexpr size_t kHeaderBytes = 8;
inline constexpr size_t kLoginPacket = 4096;  ///< the largest before a size is agreed

/// First byte of a version as LOGINACK has it: from here on headers precede requests, and numbers
/// of rows take eight bytes.
inline constexpr uint8_t kWideVersion = 0x72;

/// Reads numbers off the front of bytes; after a read beyond the end `good` is false and all are 0.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool good() const { return good_; }
  size_t left() const { return bytes_.size(); }
  uint8_t U8() { return static_cast<uint8_t>(Little(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Little(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Little(4)); }
  uint64_t U64() { return Little(8); }
  uint16_t BigU16() {
    const std::string_view two = Bytes(2);
    return two.size() < 2 ? 0
                          : static_cast<uint16_t>(static_cast<uint8_t>(two[0]) << 8 |
                                                  static_cast<uint8_t>(two[1]));
  }
  std::string_view Bytes(size_t size) {
    if (size > bytes_.size()) {
      good_ = false;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  /// UTF-16 texts whose length in characters stands before them.
  std::string_view ShortText() { return Bytes(size_t{2} * U8()); }
  std::string_view LongText() { return Bytes(size_t{2} * U16()); }

 private:
  uint64_t Little(size_t size) {
    const std::string_view taken = Bytes(size);
    uint64_t value = 0;
    for (size_t i = taken.size(); i > 0; --i)
      value = value << 8 | static_cast<uint8_t>(taken[i - 1]);
    return value;
  }
  std::string_view bytes_;
  bool good_ = true;
};

/// The little-endian bytes of a number.
std::string Little(uint64_t value, size_t size);
std::string Big16(uint16_t value);

/// Names of databases, which the server compares without case.
bool SameName(std::string_view a, std::string_view b);

/// UTF-8 to UTF-16LE and back; what is not well formed becomes U+FFFD.
std::string ToUtf16(std::string_view utf8);
std::string FromUtf16(std::string_view utf16);

/// FromUtf16 of pieces that end anywhere.
class Utf16Decoder {
 public:
  void Append(std::string_view piece, std::string& utf8);
  /// What a text ended in the middle of.
  void Finish(std::string& utf8);

 private:
  std::string held_;  ///< up to three bytes
};

/// `payload` in packets of at most `packet` bytes.
std::string Packets(uint8_t type, std::string_view payload, size_t packet = kLoginPacket);

/// An error message and the end of the reply: what a server says before it closes.
std::string ErrorReply(uint32_t number, std::string_view text, bool wide);

struct Packet {
  uint8_t type = 0;
  uint8_t status = 0;
  std::string_view payload;
  std::string_view whole;
  bool last() const { return (status & kEndOfMessage) != 0; }
  bool ignored() const { return (status & kIgnore) != 0; }
};

/// Splits a stream into whole packets. The views of a packet are valid during the call.
class PacketReader {
 public:
  /// `take(packet)` returns false to stop. False: it did, or a header is none.
  template <typename Take>
  bool Feed(std::string_view bytes, Take take) {
    while (!bytes.empty()) {
      if (held_.empty() && Whole(bytes)) {
        const size_t size = SizeOf(bytes);
        if (!take(Make(bytes.substr(0, size)))) return false;
        bytes.remove_prefix(size);
        continue;
      }
      const size_t wanted = held_.size() < kHeaderBytes ? kHeaderBytes : SizeOf(held_);
      const size_t more = wanted - held_.size();
      held_.append(bytes.substr(0, more));
      bytes.remove_prefix(more < bytes.size() ? more : bytes.size());
      if (held_.size() >= kHeaderBytes && !IsHeader(held_)) return false;
      if (held_.size() < kHeaderBytes || held_.size() < SizeOf(held_)) continue;
      const bool go_on = take(Make(held_));
      held_.clear();
      if (!go_on) return false;
    }
    return true;
  }
  /// A packet has begun and is not whole.
  bool inside() const { return !held_.empty(); }
  std::string& held() { return held_; }

 private:
  static size_t SizeOf(std::string_view bytes) {
    return static_cast<size_t>(static_cast<uint8_t>(bytes[2])) << 8 |
           static_cast<uint8_t>(bytes[3]);
  }
  // Another protocol's bytes end it at once, not when a packet's worth of them is there.
  static bool IsHeader(std::string_view bytes) {
    constexpr std::string_view kTypes = "\x01\x03\x04\x06\x07\x08\x0e\x10\x11\x12";
    return kTypes.find(bytes[0]) != kTypes.npos && SizeOf(bytes) >= kHeaderBytes;
  }
  static bool Whole(std::string_view bytes) {
    return bytes.size() >= kHeaderBytes && IsHeader(bytes) && SizeOf(bytes) <= bytes.size();
  }
  static Packet Make(std::string_view whole) {
    return {static_cast<uint8_t>(whole[0]), static_cast<uint8_t>(whole[1]),
            whole.substr(kHeaderBytes), whole};
  }
  std::string held_;  ///< up to 65535 bytes
};

}  // namespace carrel::gateway::tds
