// What a server answers in TDS: the token stream, read for rows, errors and changes of the session.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/tds_values.h"

namespace carrel::gateway::tds {

class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void ReplyRow() = 0;
  virtual void ReplyError(uint32_t number, const std::string& text) = 0;
  /// The end of a statement or call: `rows` when the server counted any. `last`: of its call;
  /// `more`: another result follows in this message.
  virtual void ReplyDone(uint64_t rows, bool counted, bool error, bool last, bool more) = 0;
  /// A prepared statement's number, or another integer that a call gave back.
  virtual void ReplyHandle(uint32_t value) = 0;
  /// `kind`: 1 the database, 20 another server. False ends the connection.
  virtual bool ReplyChange(uint8_t kind, const std::string& value) = 0;
  /// The login is accepted; `version` is the first byte of the protocol's.
  virtual void ReplyLoggedIn(uint8_t version) = 0;
};

class Replies final : private ItemReader {
 public:
  explicit Replies(ReplySink& sink) : sink_(sink) {}

  void set_wide(bool wide) { wide_ = wide; }
  /// False: the sink has ended the connection. A stream that carrel cannot read is passed on; its
  /// rows and errors are not counted, and `unread` says so.
  bool Packet(const tds::Packet& packet);
  bool unread() const { return unread_; }

 private:
  enum class State { kToken, kColumns, kRow, kNullBits, kFeatures };

  Step Next(std::string_view& bytes) override;
  void Piece(std::string_view bytes) override;
  void ValueEnd(bool null) override;

  Step Token(std::string_view& bytes);
  Step Sized(std::string_view& bytes, uint8_t token);
  Step Change(std::string_view body);
  Step Message(std::string_view body, uint8_t token);
  Step Column(std::string_view& bytes);
  Step ReturnValue(std::string_view& bytes);
  Step Done(std::string_view& bytes, uint8_t token);
  Step Feature(std::string_view& bytes);
  void NextColumn();

  ReplySink& sink_;
  bool wide_ = true;
  bool fresh_ = true;  ///< the next packet begins a message
  bool unread_ = false;
  bool refused_ = false;
  State state_ = State::kToken;
  std::vector<Type> columns_;
  size_t column_ = 0;  ///< of COLMETADATA: how many are left; of a row: the next
  size_t expected_ = 0;
  std::string null_bits_;
  bool returning_ = false;  ///< a value of RETURNVALUE is read
  std::string value_;
};

}  // namespace carrel::gateway::tds
