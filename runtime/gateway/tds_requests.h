// What a client asks in TDS: batches and procedure calls, read for the log as they pass.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/tds_values.h"

namespace carrel::gateway::tds {

/// What the reader finds, in order.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// A statement or call begins. `procedure`: of a call, its name; else empty.
  virtual void BeginRequest(const char* how, const std::string& procedure) = 0;
  /// UTF-8 of the statement's text.
  virtual void RequestText(std::string_view utf8) = 0;
  virtual void RequestParameter(const Type& type) = 0;
  /// Bytes of parameters' values, or of a bulk load.
  virtual void RequestBytes(uint64_t bytes) = 0;
  /// The number by which an earlier statement was prepared.
  virtual void RequestHandle(uint32_t handle) = 0;
};

/// Messages of type kBatch, kRpc, kBulk and kTransaction.
class Requests final : private ItemReader {
 public:
  explicit Requests(RequestSink& sink) : sink_(sink) {}

  /// Before the first message: whether headers precede the requests.
  void set_wide(bool wide) { wide_ = wide; }
  /// A message's packet. False: not the protocol; then nothing of the packet may be passed on.
  bool Packet(const tds::Packet& packet);
  /// A message has begun and is not whole.
  bool inside() const { return state_ != State::kNothing; }
  const std::string& why() const { return why_; }

 private:
  enum class State {
    kNothing,
    kHeaders,
    kText,
    kName,
    kFlags,
    kParameter,
    kRest,
    kTransactionKind
  };

  void Begin(uint8_t type);
  State AfterHeaders() const;
  bool End();
  Step Next(std::string_view& bytes) override;
  void Piece(std::string_view bytes) override;
  void ValueEnd(bool null) override;

  Step ReadHeaders(std::string_view& bytes);
  Step ReadName(std::string_view& bytes);
  Step ReadParameter(std::string_view& bytes);
  Step ReadTransaction(std::string_view& bytes);
  Step Refuse(const std::string& why);
  bool IsStatementText(const std::string& name) const;

  RequestSink& sink_;
  bool wide_ = true;
  State state_ = State::kNothing;
  uint8_t type_ = 0;
  std::string why_;

  // The call that is being read.
  uint16_t procedure_ = 0;  ///< its number, or 0
  int parameter_ = 0;
  Type value_type_;
  enum class Take { kNothing, kText, kHandle } take_ = Take::kNothing;
  std::string handle_;
  Utf16Decoder decoder_;
};

}  // namespace carrel::gateway::tds
