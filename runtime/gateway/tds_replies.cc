#include "gateway/tds_replies.h"

#include <algorithm>

namespace carrel::gateway::tds {
namespace {

// Tokens.
constexpr uint8_t kOffset = 0x78;
constexpr uint8_t kReturnStatus = 0x79;
constexpr uint8_t kColMetadata = 0x81;
constexpr uint8_t kTableName = 0xa4;
constexpr uint8_t kColInfo = 0xa5;
constexpr uint8_t kOrder = 0xa9;
constexpr uint8_t kErrorToken = 0xaa;
constexpr uint8_t kInfo = 0xab;
constexpr uint8_t kReturnValue = 0xac;
constexpr uint8_t kLoginAck = 0xad;
constexpr uint8_t kFeatureAck = 0xae;
constexpr uint8_t kRow = 0xd1;
constexpr uint8_t kNullableRow = 0xd2;
constexpr uint8_t kEnvChange = 0xe3;
constexpr uint8_t kSessionState = 0xe4;
constexpr uint8_t kDone = 0xfd;
constexpr uint8_t kDoneProc = 0xfe;
constexpr uint8_t kDoneInProc = 0xff;

constexpr uint16_t kDoneMore = 0x01;
constexpr uint16_t kDoneError = 0x02;
constexpr uint16_t kDoneCount = 0x10;

constexpr size_t kMaxColumns = 16'384;

}  // namespace

bool Replies::Packet(const tds::Packet& packet) {
  if (fresh_) {
    Reset();
    state_ = State::kToken;
    unread_ = false;
  }
  fresh_ = packet.last();
  // Row counts of what cannot be read are unknown; the statement's end shows in the last packet.
  if (!unread_ && !Feed(packet.payload)) unread_ = true;
  if (packet.last() && !unread_ && !AtRest()) unread_ = true;
  return !refused_;
}

ItemReader::Step Replies::Next(std::string_view& bytes) {
  switch (state_) {
    case State::kToken:
      return Token(bytes);
    case State::kColumns:
      return Column(bytes);
    case State::kNullBits: {
      const size_t size = (columns_.size() + 7) / 8;
      if (bytes.size() < size) return Step::kMore;
      null_bits_ = std::string(bytes.substr(0, size));
      bytes.remove_prefix(size);
      state_ = State::kRow;
      column_ = 0;
      NextColumn();
      return Step::kDone;
    }
    case State::kFeatures:
      return Feature(bytes);
    case State::kRow:
      break;  // values only
  }
  return Step::kBad;
}

ItemReader::Step Replies::Token(std::string_view& bytes) {
  const auto token = static_cast<uint8_t>(bytes[0]);
  switch (token) {
    case kDone:
    case kDoneProc:
    case kDoneInProc:
      return Done(bytes, token);
    case kRow:
    case kNullableRow:
      if (columns_.empty()) return Step::kBad;
      bytes.remove_prefix(1);
      sink_.ReplyRow();
      null_bits_.clear();
      column_ = 0;
      state_ = token == kRow ? State::kRow : State::kNullBits;
      if (token == kRow) NextColumn();
      return Step::kDone;
    case kColMetadata: {
      if (bytes.size() < 3) return Step::kMore;
      const uint16_t count = Reader(bytes.substr(1)).U16();
      bytes.remove_prefix(3);
      if (count == 0xffff) return Step::kDone;
      if (count > kMaxColumns) return Step::kBad;
      columns_.clear();
      expected_ = count;
      state_ = count > 0 ? State::kColumns : State::kToken;
      return Step::kDone;
    }
    case kReturnStatus:
    case kOffset:
      if (bytes.size() < 5) return Step::kMore;
      bytes.remove_prefix(5);
      return Step::kDone;
    case kReturnValue:
      return ReturnValue(bytes);
    case kFeatureAck:
      bytes.remove_prefix(1);
      state_ = State::kFeatures;
      return Step::kDone;
    case kSessionState: {
      if (bytes.size() < 5) return Step::kMore;
      const uint32_t size = Reader(bytes.substr(1)).U32();
      bytes.remove_prefix(5);
      Skip(size);
      return Step::kDone;
    }
    case kTableName:
    case kColInfo:
    case kOrder:
    case kErrorToken:
    case kInfo:
    case kLoginAck:
    case kEnvChange:
      return Sized(bytes, token);
    default:
      return Step::kBad;
  }
}

// Tokens with a length of two bytes, which are read whole.
ItemReader::Step Replies::Sized(std::string_view& bytes, uint8_t token) {
  Reader in(bytes.substr(1));
  const std::string_view body = in.Bytes(in.U16());
  if (!in.good()) return Step::kMore;
  bytes.remove_prefix(bytes.size() - in.left());
  if (token == kEnvChange) return Change(body);
  if (token == kErrorToken || token == kInfo) return Message(body, token);
  if (token == kLoginAck && body.size() >= 5) sink_.ReplyLoggedIn(static_cast<uint8_t>(body[1]));
  return Step::kDone;
}

ItemReader::Step Replies::Change(std::string_view body) {
  Reader in(body);
  const uint8_t kind = in.U8();
  std::string value;
  if (kind == 1) value = FromUtf16(in.ShortText());
  if (!in.good() || !sink_.ReplyChange(kind, value)) {
    refused_ = true;
    return Step::kBad;
  }
  return Step::kDone;
}

ItemReader::Step Replies::Message(std::string_view body, uint8_t token) {
  Reader in(body);
  const uint32_t number = in.U32();
  in.Bytes(2);
  const std::string text = FromUtf16(in.LongText());
  if (!in.good()) return Step::kBad;
  if (token == kErrorToken) sink_.ReplyError(number, text);
  return Step::kDone;
}

ItemReader::Step Replies::Column(std::string_view& bytes) {
  Reader in(bytes);
  in.Bytes(wide_ ? 6 : 4);  // the user's type, flags
  bool known = true;
  Type type;
  if (!in.good() || !ReadType(in, Where::kColumn, wide_, type, known))
    return known ? Step::kMore : Step::kBad;
  if (type.length == Type::Length::kTextPointer) {
    const int parts = wide_ ? in.U8() : 1;
    for (int i = 0; i < parts; ++i) in.LongText();
  }
  in.ShortText();
  if (!in.good()) return Step::kMore;
  bytes.remove_prefix(bytes.size() - in.left());
  columns_.push_back(type);
  if (columns_.size() == expected_) state_ = State::kToken;
  return Step::kDone;
}

// Begins the next value of the row that is there, or ends the row.
void Replies::NextColumn() {
  auto is_null = [this](size_t i) {
    return !null_bits_.empty() && ((static_cast<uint8_t>(null_bits_[i / 8]) >> (i % 8)) & 1) != 0;
  };
  while (column_ < columns_.size() && is_null(column_)) ++column_;
  if (column_ == columns_.size())
    state_ = State::kToken;
  else
    BeginValue(columns_[column_++], Where::kColumn);
}

ItemReader::Step Replies::ReturnValue(std::string_view& bytes) {
  Reader in(bytes.substr(1));
  in.Bytes(2);  // which parameter
  in.ShortText();
  in.Bytes(wide_ ? 7 : 5);  // status, the user's type, flags
  bool known = true;
  Type type;
  if (!in.good() || !ReadType(in, Where::kReturnValue, wide_, type, known))
    return known ? Step::kMore : Step::kBad;
  bytes.remove_prefix(bytes.size() - in.left());
  returning_ = true;
  value_.clear();
  BeginValue(type, Where::kReturnValue);
  return Step::kDone;
}

ItemReader::Step Replies::Done(std::string_view& bytes, uint8_t token) {
  Reader in(bytes.substr(1));
  const uint16_t status = in.U16();
  in.U16();  // which kind of statement
  const uint64_t rows = wide_ ? in.U64() : in.U32();
  if (!in.good()) return Step::kMore;
  bytes.remove_prefix(bytes.size() - in.left());
  sink_.ReplyDone(rows, (status & kDoneCount) != 0, (status & kDoneError) != 0, token == kDoneProc,
                  (status & kDoneMore) != 0);
  return Step::kDone;
}

ItemReader::Step Replies::Feature(std::string_view& bytes) {
  Reader in(bytes);
  if (in.U8() == 0xff) {
    bytes.remove_prefix(1);
    state_ = State::kToken;
    return Step::kDone;
  }
  const uint32_t size = in.U32();
  if (!in.good()) return Step::kMore;
  bytes.remove_prefix(5);
  Skip(size);
  return Step::kDone;
}

void Replies::Piece(std::string_view bytes) {
  if (returning_) value_.append(bytes.substr(0, 8 - std::min<size_t>(8, value_.size())));
}

void Replies::ValueEnd(bool) {
  if (!returning_) return NextColumn();
  returning_ = false;
  if (value_.size() == 4) sink_.ReplyHandle(Reader(value_).U32());
}

}  // namespace carrel::gateway::tds
