// PostgreSQL's messages, protocol 3.0: a type, a length that counts itself, a body.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace carrel::gateway::pg {

inline constexpr uint32_t kSslRequest = 80877103;
inline constexpr uint32_t kGssRequest = 80877104;
inline constexpr uint32_t kCancelRequest = 80877102;
inline constexpr uint32_t kVersion3 = 196608;
inline constexpr uint32_t kMaxStartup = 10'000;    ///< as the server's own limit
inline constexpr uint32_t kMaxBody = 0x3fffffff;   ///< the server's own limit
inline constexpr uint32_t kMaxSmallBody = 10'000;  ///< of messages that are short by nature
inline constexpr uint32_t kMaxLoginBody = 64u << 10;

inline uint32_t ReadU32(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}
inline uint16_t ReadU16(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  return static_cast<uint16_t>(p[0] << 8 | p[1]);
}
inline std::string U32(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string Message(char type, std::string_view body) {
  return type + U32(static_cast<uint32_t>(body.size() + 4)) + std::string(body);
}

/// A FATAL error, as the server would send it before it closes.
std::string FatalError(std::string_view sqlstate, std::string_view text);

/// A field of an ErrorResponse's body ('C': SQLSTATE, 'M': text), or "".
std::string_view ErrorField(std::string_view body, char field);

/// Takes "text\0" off the front of `body`; false when no NUL is there.
inline bool TakeString(std::string_view& body, std::string_view& text) {
  const size_t end = body.find('\0');
  if (end == body.npos) return false;
  text = body.substr(0, end);
  body.remove_prefix(end + 1);
  return true;
}

/// Splits a stream into messages as it comes, with five bytes of state. The handler has
///   bool Begin(char type, uint32_t body_size)   false: not the protocol
///   bool Wants() const                          whether this message's body is of interest
///   void Piece(std::string_view)                a part of the body, in order
///   bool End()                                  after the body; false: not the protocol
/// Piece and End come only for messages that it wants.
class MessageReader {
 public:
  template <typename Handler>
  bool Feed(std::string_view bytes, Handler& handler) {
    while (!bytes.empty()) {
      if (!inside_ && !ReadHeader(bytes, handler)) return false;
      if (!inside_) continue;
      const size_t take = std::min<size_t>(left_, bytes.size());
      if (wanted_ && take > 0) handler.Piece(bytes.substr(0, take));
      left_ -= static_cast<uint32_t>(take);
      bytes.remove_prefix(take);
      if (left_ > 0) return true;
      inside_ = false;
      if (wanted_ && !handler.End()) return false;
    }
    return true;
  }

 private:
  // Leaves inside_ false when the header is not whole yet, or the message has no body.
  template <typename Handler>
  bool ReadHeader(std::string_view& bytes, Handler& handler) {
    const size_t take = std::min(sizeof header_ - have_, bytes.size());
    std::memcpy(header_ + have_, bytes.data(), take);
    have_ += take;
    bytes.remove_prefix(take);
    if (have_ < sizeof header_) return true;
    have_ = 0;
    const uint32_t length = ReadU32({header_ + 1, 4});
    if (length < 4 || length - 4 > kMaxBody) return false;
    left_ = length - 4;
    if (!handler.Begin(header_[0], left_)) return false;
    wanted_ = handler.Wants();
    inside_ = left_ > 0;
    return inside_ || !wanted_ || handler.End();
  }

  char header_[5] = {};
  size_t have_ = 0;
  uint32_t left_ = 0;
  bool inside_ = false, wanted_ = false;
};

}  // namespace carrel::gateway::pg
