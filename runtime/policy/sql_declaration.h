// SQL Runner's declaration: does a query say whether it uses opted-out patients' records? Read
// with a tokenizer of the dialect that will run the query, so that what carrel takes for a
// statement is not a comment or a string to the database.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

enum class Declaration {
  kNone,
  kRefersToTable,      ///< a statement reads from PatientsWithTypeOneDissent
  kExplicitlyAllowed,  ///< a comment says AllowedPatientsWithTypeOneDissent
};

/// "none", "refers to PatientsWithTypeOneDissent", "says AllowedPatientsWithTypeOneDissent".
std::string DeclarationName(Declaration declaration);

enum class SqlDialect {
  kMssql,       ///< comments nest; [name] and "name" quote
  kPostgresql,  ///< comments nest; "name" quotes; $tag$strings$tag$, E'strings'
  kSqlite,      ///< comments do not nest; [name], "name" and `name` quote
};

/// By DatabaseGrant::kind; what is unknown is read as production's (kMssql).
SqlDialect DialectOf(std::string_view database_kind);

/// What the query declares. An explicit declaration counts before a reference. kBadInput, with the
/// line, for what no two readers need read alike: an unterminated comment or string, a control
/// character, a carriage return alone, invalid UTF-8.
Result<Declaration> ReadDeclaration(std::string_view sql, SqlDialect dialect);

/// The same, where kNone is kRefused with what to do; `file` names the query.
Result<Declaration> RequireDeclaration(std::string_view sql, SqlDialect dialect,
                                       const std::string& file);

/// The same for a database of this kind (DatabaseGrant::kind). What is relayed unread can be of any
/// dialect: the query must declare itself to the reader of each.
Result<Declaration> RequireDeclarationTo(std::string_view database_kind, std::string_view sql,
                                         const std::string& file);

}  // namespace carrel
