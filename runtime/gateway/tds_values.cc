#include "gateway/tds_values.h"

#include <algorithm>
#include <array>

namespace carrel::gateway::tds {
namespace {

using Length = Type::Length;

constexpr size_t kMaxItem = 256u << 10;  // the longest headers are texts of 65535 characters

// What follows the type's byte.
enum class Info : uint8_t {
  kNothing,
  kSize1,      // largest size
  kPrecision,  // size, precision, scale
  kScale,
  kSize2,
  kSize2Collation,
  kSize4,
  kSize4Collation,
  kXml,
  kUdt,
};

struct Row {
  uint8_t id;
  const char* name;
  Length length;
  uint8_t size;  // of kFixed
  Info info;
};

constexpr Row kTypes[] = {
    {0x1f, "null", Length::kFixed, 0, Info::kNothing},
    {0x30, "tinyint", Length::kFixed, 1, Info::kNothing},
    {0x32, "bit", Length::kFixed, 1, Info::kNothing},
    {0x34, "smallint", Length::kFixed, 2, Info::kNothing},
    {0x38, "int", Length::kFixed, 4, Info::kNothing},
    {0x3a, "smalldatetime", Length::kFixed, 4, Info::kNothing},
    {0x3b, "real", Length::kFixed, 4, Info::kNothing},
    {0x3c, "money", Length::kFixed, 8, Info::kNothing},
    {0x3d, "datetime", Length::kFixed, 8, Info::kNothing},
    {0x3e, "float", Length::kFixed, 8, Info::kNothing},
    {0x7a, "smallmoney", Length::kFixed, 4, Info::kNothing},
    {0x7f, "bigint", Length::kFixed, 8, Info::kNothing},
    {0x24, "uniqueidentifier", Length::kOneByte, 0, Info::kSize1},
    {0x26, "int", Length::kOneByte, 0, Info::kSize1},
    {0x68, "bit", Length::kOneByte, 0, Info::kSize1},
    {0x6d, "float", Length::kOneByte, 0, Info::kSize1},
    {0x6e, "money", Length::kOneByte, 0, Info::kSize1},
    {0x6f, "datetime", Length::kOneByte, 0, Info::kSize1},
    {0x25, "varbinary", Length::kOneByte, 0, Info::kSize1},
    {0x27, "varchar", Length::kOneByte, 0, Info::kSize1},
    {0x2d, "binary", Length::kOneByte, 0, Info::kSize1},
    {0x2f, "char", Length::kOneByte, 0, Info::kSize1},
    {0x37, "decimal", Length::kOneByte, 0, Info::kPrecision},
    {0x3f, "numeric", Length::kOneByte, 0, Info::kPrecision},
    {0x6a, "decimal", Length::kOneByte, 0, Info::kPrecision},
    {0x6c, "numeric", Length::kOneByte, 0, Info::kPrecision},
    {0x28, "date", Length::kOneByte, 0, Info::kNothing},
    {0x29, "time", Length::kOneByte, 0, Info::kScale},
    {0x2a, "datetime2", Length::kOneByte, 0, Info::kScale},
    {0x2b, "datetimeoffset", Length::kOneByte, 0, Info::kScale},
    {0xa5, "varbinary", Length::kTwoBytes, 0, Info::kSize2},
    {0xad, "binary", Length::kTwoBytes, 0, Info::kSize2},
    {0xa7, "varchar", Length::kTwoBytes, 0, Info::kSize2Collation},
    {0xaf, "char", Length::kTwoBytes, 0, Info::kSize2Collation},
    {0xe7, "nvarchar", Length::kTwoBytes, 0, Info::kSize2Collation},
    {0xef, "nchar", Length::kTwoBytes, 0, Info::kSize2Collation},
    {0x22, "image", Length::kTextPointer, 0, Info::kSize4},
    {0x23, "text", Length::kTextPointer, 0, Info::kSize4Collation},
    {0x63, "ntext", Length::kTextPointer, 0, Info::kSize4Collation},
    {0x62, "sql_variant", Length::kFourBytes, 0, Info::kSize4},
    {0xf1, "xml", Length::kChunks, 0, Info::kXml},
    {0xf0, "udt", Length::kChunks, 0, Info::kUdt},
};

const Row* Find(uint8_t id) {
  static const std::array<const Row*, 256> kById = [] {
    std::array<const Row*, 256> table{};
    for (const Row& row : kTypes) table[row.id] = &row;
    return table;
  }();
  return kById[id];
}

}  // namespace

bool Type::is_utf16() const { return id == 0xe7 || id == 0xef || id == 0x63; }

bool Type::is_text() const {
  return is_utf16() || id == 0xa7 || id == 0xaf || id == 0x23 || id == 0x27 || id == 0x2f;
}

std::string Type::name() const {
  const Row* row = Find(id);
  if (row == nullptr) return "unknown";
  std::string text = row->name;
  if (length == Length::kTwoBytes)
    text += "(" + std::to_string(is_utf16() ? size / 2 : size) + ")";
  else if (length == Length::kChunks && row->length == Length::kTwoBytes)
    text += "(max)";
  else if (row->info == Info::kSize1 && id == 0x26)
    text = size == 1 ? "tinyint" : size == 2 ? "smallint" : size == 8 ? "bigint" : "int";
  return text;
}

bool ReadType(Reader& in, Where where, bool wide, Type& type, bool& known) {
  known = true;
  type = {};
  type.id = in.U8();
  if (!in.good()) return false;
  const Row* row = Find(type.id);
  known = row != nullptr;
  if (!known) return false;
  type.length = row->length;
  type.size = row->size;
  switch (row->info) {
    case Info::kNothing:
      break;
    case Info::kSize1:
      type.size = in.U8();
      break;
    case Info::kPrecision:
      type.size = in.U8();
      in.Bytes(2);
      break;
    case Info::kScale:
      in.Bytes(1);
      break;
    case Info::kSize2:
    case Info::kSize2Collation:
      type.size = in.U16();
      if (row->info == Info::kSize2Collation) in.Bytes(5);
      if (wide && type.size == 0xffff) type.length = Length::kChunks;
      break;
    case Info::kSize4:
    case Info::kSize4Collation:
      type.size = in.U32();
      if (row->info == Info::kSize4Collation) in.Bytes(5);
      break;
    case Info::kXml:
      if (in.U8() == 0) break;  // no schema
      in.ShortText();
      in.ShortText();
      in.LongText();
      break;
    case Info::kUdt:
      if (where != Where::kParameter) type.size = in.U16();
      for (int i = 0; i < 3; ++i) in.ShortText();
      if (where != Where::kParameter) in.LongText();
      break;
  }
  return in.good();
}

void ItemReader::Reset() {
  held_.clear();
  value_ = Value::kNone;
  left_ = 0;
}

void ItemReader::BeginValue(const Type& type, Where where) {
  type_ = type;
  where_ = where;
  value_ = Value::kLength;
}

void ItemReader::Skip(uint64_t count) {
  left_ = count;
  value_ = count > 0 ? Value::kSkipped : Value::kNone;
}

bool ItemReader::Feed(std::string_view bytes) {
  std::string joined;
  if (!held_.empty()) {
    joined = std::move(held_);
    held_.clear();
    joined.append(bytes);
    bytes = joined;
  }
  // A value of no bytes is there when all bytes are taken.
  auto empty_value = [this] {
    return value_ == Value::kLength && type_.length == Type::Length::kFixed && type_.size == 0;
  };
  while (!bytes.empty() || empty_value()) {
    const Step step = value_ == Value::kNone ? Next(bytes) : NextPart(bytes);
    if (step == Step::kBad) return false;
    if (step == Step::kDone) continue;
    if (bytes.size() > kMaxItem) return false;
    held_ = std::string(bytes);
    return true;
  }
  return true;
}

ItemReader::Step ItemReader::NextPart(std::string_view& bytes) {
  if (value_ == Value::kLength) return Length(bytes);
  if (value_ == Value::kChunkLength) {
    if (bytes.size() < 4) return Step::kMore;
    left_ = Reader(bytes).U32();
    bytes.remove_prefix(4);
    value_ = left_ > 0 ? Value::kChunk : Value::kNone;
    if (left_ == 0) ValueEnd(false);
    return Step::kDone;
  }
  const size_t take = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  if (value_ != Value::kSkipped) Piece(bytes.substr(0, take));
  bytes.remove_prefix(take);
  left_ -= take;
  if (left_ > 0) return Step::kDone;
  const Value was = value_;
  value_ = was == Value::kChunk ? Value::kChunkLength : Value::kNone;
  if (was == Value::kData) ValueEnd(false);
  return Step::kDone;
}

ItemReader::Step ItemReader::Taken(std::string_view& bytes, size_t head, uint64_t data, bool null) {
  bytes.remove_prefix(head);
  left_ = data;
  value_ = data > 0 ? Value::kData : Value::kNone;
  if (data == 0) ValueEnd(null);
  return Step::kDone;
}

ItemReader::Step ItemReader::Length(std::string_view& bytes) {
  Reader in(bytes);
  switch (type_.length) {
    case Type::Length::kFixed:
      return Taken(bytes, 0, type_.size, type_.size == 0);
    case Type::Length::kOneByte: {
      const uint8_t size = in.U8();
      return in.good() ? Taken(bytes, 1, size, size == 0) : Step::kMore;
    }
    case Type::Length::kTwoBytes: {
      const uint16_t size = in.U16();
      if (!in.good()) return Step::kMore;
      return Taken(bytes, 2, size == 0xffff ? 0 : size, size == 0xffff);
    }
    case Type::Length::kTextPointer:
      if (where_ == Where::kColumn) {
        const uint8_t pointer = in.U8();
        if (!in.good()) return Step::kMore;
        if (pointer == 0) return Taken(bytes, 1, 0, true);
        in.Bytes(size_t{pointer} + 8);  // and a time stamp
        const uint32_t size = in.U32();
        return in.good() ? Taken(bytes, size_t{pointer} + 13, size, false) : Step::kMore;
      }
      [[fallthrough]];
    case Type::Length::kFourBytes: {
      const uint32_t size = in.U32();
      if (!in.good()) return Step::kMore;
      return Taken(bytes, 4, size == 0xffffffff ? 0 : size, size == 0 || size == 0xffffffff);
    }
    case Type::Length::kChunks: {
      const uint64_t size = in.U64();
      if (!in.good()) return Step::kMore;
      if (size == UINT64_MAX) return Taken(bytes, 8, 0, true);
      bytes.remove_prefix(8);
      value_ = Value::kChunkLength;
      return Step::kDone;
    }
  }
  return Step::kBad;
}

}  // namespace carrel::gateway::tds
