#include "gateway/pg_types.h"

#include <map>

#include "gateway/pg_wire.h"

namespace carrel::gateway::pg {
namespace {

constexpr size_t kMaxTypes = 1000;  // in one record

// The types that most statements have, by name (pg_type.dat).
std::string TypeName(uint32_t oid) {
  static const std::map<uint32_t, const char*> kNames = {
      {0, "unspecified"},    {16, "bool"},      {17, "bytea"},    {20, "int8"},
      {21, "int2"},          {23, "int4"},      {25, "text"},     {114, "json"},
      {700, "float4"},       {701, "float8"},   {705, "unknown"}, {1042, "char"},
      {1043, "varchar"},     {1082, "date"},    {1083, "time"},   {1114, "timestamp"},
      {1184, "timestamptz"}, {1700, "numeric"}, {2950, "uuid"},   {3802, "jsonb"}};
  const auto found = kNames.find(oid);
  return found != kNames.end() ? found->second : "oid " + std::to_string(oid);
}

}  // namespace

std::vector<std::string> TypeNames(std::string_view counted) {
  std::vector<std::string> names;
  if (counted.size() < 2) return names;
  const size_t count = ReadU16(counted);
  counted.remove_prefix(2);
  for (size_t i = 0; i < count && counted.size() >= 4; ++i, counted.remove_prefix(4))
    if (names.size() < kMaxTypes)
      names.push_back(TypeName(ReadU32(counted)));
    else if (i + 1 == count || counted.size() < 8)
      names.push_back("and " + std::to_string(i + 1 - kMaxTypes) + " more");
  return names;
}

}  // namespace carrel::gateway::pg
