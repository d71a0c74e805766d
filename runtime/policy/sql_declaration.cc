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

// The table, or what a database may take for it: collations ignore the width of letters, and
// characters that have no weight.
bool MayBeTheTable(const SqlToken& token) {
  return IsName(token) && (Lower(token.text) == kTable ||
                           std::any_of(token.text.begin(), token.text.end(), [](char c) {
                             return static_cast<unsigned char>(c) >= 0x80;
                           }));
}

// Names of tables stand after FROM, JOIN and APPLY, and after a comma of a FROM list. A column, an
// alias or a common table expression of the same name is not the table.
class TableReferences {
 public:
  TableReferences(std::vector<SqlToken> tokens, SqlDialect dialect)
      : tokens_(std::move(tokens)), dialect_(dialect) {}

  bool HasOptOutTable() {
    if (IsRedefined()) return false;
    for (size_t i = 0; i < tokens_.size(); ++i)
      if (Step(i)) return true;
    return false;
  }

 private:
  struct Clause {
    bool query = false;    ///< of a statement that can have a FROM list
    bool from = false;     ///< inside a FROM list
    bool expects = false;  ///< the next name is a table's
  };

  // "WITH PatientsWithTypeOneDissent AS (" (or "... (columns) AS [NOT MATERIALIZED] (") makes the
  // name mean something else.
  bool IsRedefined() const {
    for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (!MayBeTheTable(tokens_[i])) continue;
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
    return at > 0 &&
           IsKeyword(tokens_[at - 1], {"into", "table", "view", "synonym", "exists", "temp",
                                       "temporary", "unlogged", "sequence", "to", "procedure"});
  }

  // "AS from" and "q.from" are names, whatever the word is elsewhere.
  bool IsLabel(size_t i) const {
    return i > 0 && (IsKeyword(tokens_[i - 1], {"as"}) || IsSymbol(tokens_[i - 1], '.'));
  }

  bool Follows(size_t i, const std::set<std::string>& keywords) const {
    return i > 0 && IsKeyword(tokens_[i - 1], keywords);
  }

  // Whether a table's name comes next. FROM is also an operator (IS DISTINCT FROM), a word within a
  // function's arguments (EXTRACT(YEAR FROM x)), and one of statements that read no table.
  bool BeginsTables(size_t i, const Clause& clause) const {
    if (IsLabel(i)) return false;
    const SqlToken& token = tokens_[i];
    if (IsKeyword(token, {"join"})) return true;
    if (IsKeyword(token, {"apply"})) return Follows(i, {"cross", "outer"});
    return IsKeyword(token, {"from"}) && clause.query && !Follows(i, {"distinct"});
  }

  // Takes a word that ends or begins a clause; false when it is none.
  bool TakeKeyword(size_t i, Clause& clause) {
    static const std::set<std::string> kQueries = {"select", "delete", "update", "insert", "merge"};
    static const std::set<std::string> kOthers = {"fetch",  "restore", "backup",
                                                  "create", "alter",   "drop"};
    static const std::set<std::string> kRights = {"grant", "revoke", "deny"};
    static const std::set<std::string> kEnds = {"where",  "group",  "having", "order",     "on",
                                                "using",  "union",  "except", "intersect", "limit",
                                                "offset", "window", "set",    "values",    "into",
                                                "option", "for",    "with",   "returning"};
    const SqlToken& token = tokens_[i];
    if (IsKeyword(token, kQueries) && !rights_) {
      clause = {.query = true};
      return true;
    }
    if (IsLabel(i)) return false;
    if (IsKeyword(token, kRights) || IsKeyword(token, kOthers)) {
      // "REVOKE SELECT ON t FROM name": a role's.
      rights_ = rights_ || IsKeyword(token, kRights);
      clause = {};
    } else if (IsKeyword(token, {"with"}) && i + 1 < tokens_.size() &&
               IsSymbol(tokens_[i + 1], '(')) {
      clause.expects = false;  // a table's hints: the list goes on
    } else if (IsKeyword(token, kEnds)) {
      clause = {.query = clause.query};
    } else {
      return false;
    }
    return true;
  }

  void Open() {
    // "FROM (a JOIN b ON ..)": the parenthesis stands where a table is expected.
    const bool expects = clauses_.back().expects;
    clauses_.back().expects = false;
    clauses_.push_back({.from = expects, .expects = expects});
  }

  void Close() {
    if (clauses_.size() > 1) clauses_.pop_back();
    clauses_.back().expects = false;
  }

  // Takes one token; true when it is the table, in the place of a table.
  bool Step(size_t i) {
    const SqlToken& token = tokens_[i];
    Clause& clause = clauses_.back();
    if (IsSymbol(token, '(')) {
      Open();
    } else if (IsSymbol(token, ')')) {
      Close();
    } else if (IsSymbol(token, ';')) {
      clauses_ = {Clause{}};
      rights_ = false;
    } else if (IsSymbol(token, ',')) {
      clause.expects = clause.from;
    } else if (BeginsTables(i, clause)) {
      clause.from = clause.expects = true;
    } else if (dialect_ == SqlDialect::kSqlite && IsKeyword(token, {"in"}) && !IsLabel(i)) {
      clause.expects = i + 1 < tokens_.size() && !IsSymbol(tokens_[i + 1], '(');  // "x IN table"
    } else if (TakeKeyword(i, clause)) {
      return false;
    } else if (IsName(token) && clause.expects) {
      return IsTableNamed(i, clause);
    } else if (!IsSymbol(token, '.')) {
      clause.expects = false;
    }
    return false;
  }

  // A name where a table's is expected.
  bool IsTableNamed(size_t i, Clause& clause) const {
    if (IsKeyword(tokens_[i], {"lateral", "only"})) return false;
    if (i + 1 < tokens_.size() && IsSymbol(tokens_[i + 1], '.')) return false;
    // "name(" is a function's call.
    const bool call = i + 1 < tokens_.size() && IsSymbol(tokens_[i + 1], '(') && !Hint(i + 1);
    clause.expects = false;
    return !call && Lower(tokens_[i].text) == kTable;
  }

  // T-SQL's old table hints: "name (NOLOCK)".
  bool Hint(size_t open) const {
    return open + 2 < tokens_.size() && IsKeyword(tokens_[open + 1], {"nolock"}) &&
           IsSymbol(tokens_[open + 2], ')');
  }

  std::vector<SqlToken> tokens_;
  const SqlDialect dialect_;
  std::vector<Clause> clauses_ = {Clause{}};
  bool rights_ = false;  ///< in a statement about rights
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
  if (TableReferences(std::move(tokens), dialect).HasOptOutTable())
    return Declaration::kRefersToTable;
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
