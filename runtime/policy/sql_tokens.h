// The tokens of an SQL text, as far as telling names, comments and strings apart needs them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/sql_declaration.h"

namespace carrel {

struct SqlToken {
  enum Kind {
    kWord,        ///< a bare name, keyword or number
    kQuotedName,  ///< "x", [x] or `x`; `text` is x
    kString,
    kComment,  ///< with its marks
    kSymbol,   ///< one character
  };
  Kind kind;
  std::string text;
};

/// All tokens in order. kBadInput as ReadDeclaration says.
Result<std::vector<SqlToken>> TokenizeSql(std::string_view sql, SqlDialect dialect);

}  // namespace carrel
