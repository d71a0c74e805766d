// TDS's types, and a reader of the items that messages are made of: headers are handed over whole,
// values of any length piece by piece, with bounded memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/tds_wire.h"

namespace carrel::gateway::tds {

/// A TYPE_INFO, as far as reading past its values needs it.
struct Type {
  /// How long a value is: known from the type, or said before it.
  enum class Length : uint8_t { kFixed, kOneByte, kTwoBytes, kFourBytes, kTextPointer, kChunks };
  uint8_t id = 0;
  Length length = Length::kFixed;
  uint32_t size = 0;  ///< of kFixed: its bytes; else the largest
  bool is_text() const;
  bool is_utf16() const;
  /// "int", "nvarchar(40)".
  std::string name() const;
};

enum class Where { kColumn, kReturnValue, kParameter };

/// Takes a TYPE_INFO. False: `in` is not good (more bytes may help), or `known` is false: no such
/// type, or one that carrel does not read (table-valued parameters).
bool ReadType(Reader& in, Where where, bool wide, Type& type, bool& known);

class ItemReader {
 public:
  virtual ~ItemReader() = default;

  /// False: not the protocol. Calls Next and Piece.
  bool Feed(std::string_view bytes);
  /// Nothing has begun that is not whole.
  bool AtRest() const { return held_.empty() && value_ == Value::kNone && left_ == 0; }
  void Reset();

 protected:
  enum class Step { kDone, kMore, kBad };
  /// Takes one item off the front; changes nothing when it answers kMore.
  virtual Step Next(std::string_view& bytes) = 0;
  /// Bytes of the value, or of what was skipped.
  virtual void Piece(std::string_view bytes) = 0;
  virtual void ValueEnd(bool null) = 0;

  void BeginValue(const Type& type, Where where);
  /// The next `count` bytes are of no interest, and no value.
  void Skip(uint64_t count);

 private:
  enum class Value { kNone, kLength, kData, kChunkLength, kChunk, kSkipped };
  Step NextPart(std::string_view& bytes);
  Step Length(std::string_view& bytes);
  Step Taken(std::string_view& bytes, size_t head, uint64_t data, bool null);

  std::string held_;
  Value value_ = Value::kNone;
  Type type_;
  Where where_ = Where::kColumn;
  uint64_t left_ = 0;
};

}  // namespace carrel::gateway::tds
