#include "policy/sql_declaration.h"

#include <algorithm>
#include <set>

#include "policy/names.h"
#include "policy/sql_tokens.h"

namespace carrel {
namespace {

constexpr std::string_view kTable = "patientswithtypeonedissent";
constexpr std::string_view kAllowed = "AllowedPatientsWithTypeOneDissent";

bool IsKeyword(const SqlToken& token, const std::set<std::string>& keywords) {
  return token.kind == SqlToken::kWord && keywords.contains(Lower(token.text));
}

bool IsSymbol(const SqlToken& token, char symbol) {
  return token.kind == SqlToken::kSymbol && token.text[0] == symbol;
}

bool IsName(const SqlToken& token) {
  return token.kind == SqlToken::kWord || token.kind == SqlToken::kQuotedName;
}

// Names of tables stand after FROM, JOIN and APPLY, and after a comma of a FROM list. A column, an
// alias or a common table expression of the same name is not the table.
class TableReferences {
 public:
  explicit TableReferences(std::vector<SqlToken> tokens) : tokens_(std::move(tokens)) {}

  bool HasOptOutTable() {
    if (IsRedefined()) return false;
    for (size_t i = 0; i < tokens_.size(); ++i)
      if (Step(i)) return true;
    return false;
  }

 private:
  struct Clause {
    bool from = false;     ///< inside a FROM list
    bool expects = false;  ///< the next name is a table's
  };

  // "WITH PatientsWithTypeOneDissent AS (" (or "... (columns) AS [NOT MATERIALIZED] (") makes the
  // name mean something else.
  bool IsRedefined() const {
    for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (!IsName(tokens_[i]) || Lower(tokens_[i].text) != kTable) continue;
      if (IsMadeHere(i)) return true;
      size_t next = i + 1;
      if (IsSymbol(tokens_[next], '('))
        while (next < tokens_.size() && !IsSymbol(tokens_[next], ')')) ++next;
      if (next < tokens_.size() && IsSymbol(tokens_[next], ')')) ++next;
      if (next + 1 < tokens_.size() && IsKeyword(tokens_[next], {"as"}) &&
          (IsSymbol(tokens_[next + 1], '(') ||
           IsKeyword(tokens_[next + 1], {"materialized", "not"})))
        return true;
    }
    return false;
  }

  // "SELECT ... INTO x.name", "CREATE TABLE name", "CREATE VIEW [IF NOT EXISTS] name": from there
  // on the name may mean the study's own table.
  bool IsMadeHere(size_t at) const {
    while (at >= 2 && IsSymbol(tokens_[at - 1], '.') && IsName(tokens_[at - 2])) at -= 2;
    return at > 0 && IsKeyword(tokens_[at - 1],
                               {"into", "table", "view", "synonym", "exists", "temp", "procedure"});
  }

  // Takes one token; true when it is the table, in the place of a table.
  bool Step(size_t i) {
    static const std::set<std::string> kBegins = {"from", "join", "apply"};
    static const std::set<std::string> kEnds = {
        "select", "where",  "group",     "having", "order",  "on",     "using",
        "union",  "except", "intersect", "limit",  "offset", "window", "set",
        "values", "into",   "option",    "for",    "with",   "fetch",  "returning"};
    const SqlToken& token = tokens_[i];
    Clause& clause = clauses_.back();
    if (IsSymbol(token, '(')) {
      // "FROM (a JOIN b ON ..)": the parenthesis stands where a table is expected.
      clauses_.push_back({clause.expects, clause.expects});
      clauses_[clauses_.size() - 2].expects = false;
    } else if (IsSymbol(token, ')')) {
      if (clauses_.size() > 1) clauses_.pop_back();
      clauses_.back().expects = false;
    } else if (IsSymbol(token, ';')) {
      clauses_ = {Clause{}};
    } else if (IsSymbol(token, ',')) {
      clause.expects = clause.from;
    } else if (IsKeyword(token, kBegins)) {
      // T-SQL's "IS DISTINCT FROM" is an operator, not the clause.
      const bool operator_of = i > 0 && IsKeyword(tokens_[i - 1], {"distinct"});
      if (!operator_of) clause = {true, true};
    } else if (IsKeyword(token, kEnds)) {
      clause = {};
    } else if (IsName(token) && clause.expects) {
      if (IsKeyword(token, {"lateral", "only"})) return false;
      if (i + 1 < tokens_.size() && IsSymbol(tokens_[i + 1], '.')) return false;
      // "name(" is a function's call.
      const bool call = i + 1 < tokens_.size() && IsSymbol(tokens_[i + 1], '(') && !Hint(i + 1);
      clause.expects = false;
      return !call && Lower(token.text) == kTable;
    } else if (!IsSymbol(token, '.')) {
      clause.expects = false;
    }
    return false;
  }

  // T-SQL's old table hints: "name (NOLOCK)".
  bool Hint(size_t open) const {
    return open + 2 < tokens_.size() && IsKeyword(tokens_[open + 1], {"nolock"}) &&
           IsSymbol(tokens_[open + 2], ')');
  }

  std::vector<SqlToken> tokens_;
  std::vector<Clause> clauses_ = {Clause{}};
};

bool HasWholeWord(std::string_view text, std::string_view word) {
  auto is_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end])))
      return true;
  }
  return false;
}

}  // namespace

std::string DeclarationName(Declaration declaration) {
  switch (declaration) {
    case Declaration::kRefersToTable:
      return "refers to PatientsWithTypeOneDissent";
    case Declaration::kExplicitlyAllowed:
      return "says AllowedPatientsWithTypeOneDissent";
    case Declaration::kNone:
      break;
  }
  return "none";
}

SqlDialect DialectOf(std::string_view database_kind) {
  if (database_kind == "sqlite") return SqlDialect::kSqlite;
  if (database_kind == "postgresql") return SqlDialect::kPostgresql;
  return SqlDialect::kMssql;
}

Result<Declaration> ReadDeclaration(std::string_view sql, SqlDialect dialect) {
  CARREL_ASSIGN(auto tokens, TokenizeSql(sql, dialect));
  for (const SqlToken& token : tokens)
    if (token.kind == SqlToken::kComment && HasWholeWord(token.text, kAllowed))
      return Declaration::kExplicitlyAllowed;
  std::erase_if(tokens, [](const SqlToken& token) { return token.kind == SqlToken::kComment; });
  if (TableReferences(std::move(tokens)).HasOptOutTable()) return Declaration::kRefersToTable;
  return Declaration::kNone;
}

Result<Declaration> RequireDeclaration(std::string_view sql, SqlDialect dialect,
                                       const std::string& file) {
  auto declaration = ReadDeclaration(sql, dialect);
  if (!declaration) {
    Error error = std::move(declaration).error();
    error.where = file + (error.where.empty() ? "" : ", " + error.where);
    return error;
  }
  if (*declaration != Declaration::kNone) return declaration;
  return Refused(file,
                 "the query does not declare whether it uses records of patients with a type-one "
                 "opt-out",
                 "Exclude them by referring to the table PatientsWithTypeOneDissent in the "
                 "statement, or say AllowedPatientsWithTypeOneDissent, and why, in a comment");
}

Result<Declaration> RequireDeclarationTo(std::string_view database_kind, std::string_view sql,
                                         const std::string& file) {
  if (database_kind == "relay")
    for (const SqlDialect dialect : {SqlDialect::kPostgresql, SqlDialect::kSqlite})
      CARREL_TRY(RequireDeclaration(sql, dialect, file));
  return RequireDeclaration(sql, DialectOf(database_kind), file);
}

}  // namespace carrel
