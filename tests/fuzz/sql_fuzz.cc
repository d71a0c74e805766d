// SQL of any content, in all dialects: tokens cover the text, and a declaration needs its words.
#include <cstdlib>

#include "policy/sql_declaration.h"
#include "policy/sql_tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  std::string lower(sql);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  for (auto dialect :
       {carrel::SqlDialect::kMssql, carrel::SqlDialect::kPostgresql, carrel::SqlDialect::kSqlite}) {
    auto tokens = carrel::TokenizeSql(sql, dialect);
    auto declaration = carrel::ReadDeclaration(sql, dialect);
    if (tokens.has_value() != declaration.has_value()) abort();
    if (!tokens) continue;
    size_t bytes = 0;
    for (const auto& token : *tokens) bytes += token.text.size();
    if (bytes > sql.size()) abort();
    if (*declaration == carrel::Declaration::kRefersToTable &&
        lower.find("patientswithtypeonedissent") == lower.npos)
      abort();
    if (*declaration == carrel::Declaration::kExplicitlyAllowed &&
        sql.find("AllowedPatientsWithTypeOneDissent") == sql.npos)
      abort();
  }
  return 0;
}
