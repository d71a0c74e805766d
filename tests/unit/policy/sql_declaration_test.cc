#include "policy/sql_declaration.h"

#include <gtest/gtest.h>

#include <random>

namespace carrel {
namespace {

constexpr SqlDialect kAll[] = {SqlDialect::kMssql, SqlDialect::kPostgresql, SqlDialect::kSqlite};

Declaration Read(std::string_view sql, SqlDialect dialect = SqlDialect::kMssql) {
  auto declaration = ReadDeclaration(sql, dialect);
  EXPECT_TRUE(declaration.has_value()) << sql << ": " << declaration.error().ToString();
  return declaration.value_or(Declaration::kNone);
}

TEST(SqlDeclaration, ReferencesThatCount) {
  for (const char* sql :
       {"SELECT * FROM p WHERE id NOT IN (SELECT Patient_ID FROM PatientsWithTypeOneDissent)",
        "select * from patientswithtypeonedissent",
        "SELECT * FROM p LEFT JOIN dbo.PatientsWithTypeOneDissent t ON t.id = p.id",
        "SELECT * FROM a, PatientsWithTypeOneDissent",
        "SELECT * FROM \"PatientsWithTypeOneDissent\"",
        "SELECT * FROM /* why */ PatientsWithTypeOneDissent -- so",
        "SELECT 'it''s' FROM a JOIN (b CROSS JOIN PatientsWithTypeOneDissent) ON 1=1",
        "SELECT 1;\nSELECT * FROM p EXCEPT SELECT * FROM PatientsWithTypeOneDissent"})
    for (SqlDialect dialect : kAll)
      EXPECT_EQ(Read(sql, dialect), Declaration::kRefersToTable) << sql;
  EXPECT_EQ(Read("SELECT * FROM [PatientsWithTypeOneDissent]"), Declaration::kRefersToTable);
  EXPECT_EQ(Read("SELECT * FROM [db].[dbo].[PatientsWithTypeOneDissent] (NOLOCK)"),
            Declaration::kRefersToTable);
  EXPECT_EQ(Read("SELECT * FROM p a WITH (NOLOCK), PatientsWithTypeOneDissent t WITH (NOLOCK)"),
            Declaration::kRefersToTable);
  EXPECT_EQ(Read("SELECT * FROM `PatientsWithTypeOneDissent`", SqlDialect::kSqlite),
            Declaration::kRefersToTable);
}

// Where brackets quote nothing, what they seem to close here is the middle of a string.
TEST(SqlDeclaration, AnUnknownDialectMustNotReadItOtherwise) {
  const std::string sql = "SELECT ARRAY[' ] FROM PatientsWithTypeOneDissent -- '] FROM patients";
  EXPECT_EQ(Read(sql, SqlDialect::kMssql), Declaration::kRefersToTable);
  EXPECT_TRUE(RequireDeclarationTo("mssql", sql, "q.sql").has_value());
  EXPECT_FALSE(RequireDeclarationTo("relay", sql, "q.sql").has_value());
  EXPECT_TRUE(RequireDeclarationTo("relay", "SELECT 1 FROM PatientsWithTypeOneDissent", "q.sql")
                  .has_value());
}

TEST(SqlDeclaration, ExplicitDeclarationInAComment) {
  for (const char* sql : {"-- AllowedPatientsWithTypeOneDissent: counts for T1OO checks\nSELECT 1",
                          "/* x\nAllowedPatientsWithTypeOneDissent */ SELECT 1",
                          "SELECT 1 --AllowedPatientsWithTypeOneDissent"})
    for (SqlDialect dialect : kAll)
      EXPECT_EQ(Read(sql, dialect), Declaration::kExplicitlyAllowed) << sql;
}

TEST(SqlDeclaration, AnExplicitDeclarationCountsBeforeAReference) {
  EXPECT_EQ(Read("-- AllowedPatientsWithTypeOneDissent\nSELECT * FROM PatientsWithTypeOneDissent"),
            Declaration::kExplicitlyAllowed);
}

TEST(SqlDeclaration, Evasions) {
  for (const char* sql :
       {"", "SELECT * FROM p",
        // in comments and strings
        "SELECT * FROM p -- FROM PatientsWithTypeOneDissent",
        "SELECT * FROM p /* FROM PatientsWithTypeOneDissent */",
        "SELECT 'FROM PatientsWithTypeOneDissent' FROM p",
        "SELECT ' '' FROM PatientsWithTypeOneDissent' FROM p",
        "SELECT 'AllowedPatientsWithTypeOneDissent' FROM p",
        "SELECT AllowedPatientsWithTypeOneDissent FROM p",
        "SELECT \"x\"\" FROM PatientsWithTypeOneDissent\" FROM p",
        "SELECT * FROM p WHERE x = '--' -- ' FROM PatientsWithTypeOneDissent",
        // longer and shorter names
        "SELECT * FROM PatientsWithTypeOneDissents", "SELECT * FROM NotPatientsWithTypeOneDissent",
        "SELECT * FROM #PatientsWithTypeOneDissent", "SELECT * FROM @PatientsWithTypeOneDissent",
        "SELECT * FROM PatientsWithTypeOneDissent_old",
        "-- NotAllowedPatientsWithTypeOneDissent\nSELECT * FROM p",
        "-- allowedpatientswithtypeonedissent\nSELECT * FROM p",
        // the name, but not as a table
        "SELECT 1 AS PatientsWithTypeOneDissent FROM p",
        "SELECT p.x PatientsWithTypeOneDissent FROM p",
        "SELECT * FROM p PatientsWithTypeOneDissent",
        "SELECT * FROM p AS PatientsWithTypeOneDissent",
        "SELECT a, PatientsWithTypeOneDissent FROM p", "SELECT * FROM PatientsWithTypeOneDissent.p",
        "SELECT * FROM f(PatientsWithTypeOneDissent)",
        "SELECT * FROM PatientsWithTypeOneDissent(1)",
        "SELECT * FROM p WHERE a IS DISTINCT FROM PatientsWithTypeOneDissent",
        "SELECT * FROM p ORDER BY x, PatientsWithTypeOneDissent",
        "SELECT * FROM a JOIN b ON x, PatientsWithTypeOneDissent",
        "WITH PatientsWithTypeOneDissent AS (SELECT 1) SELECT * FROM PatientsWithTypeOneDissent",
        "WITH a AS (SELECT 1), \"PatientsWithTypeOneDissent\" (x) AS (SELECT 1) "
        "SELECT * FROM PatientsWithTypeOneDissent",
        "SELECT 1 AS x INTO PatientsWithTypeOneDissent; SELECT * FROM PatientsWithTypeOneDissent",
        "SELECT 1 AS x INTO tempdb.dbo.PatientsWithTypeOneDissent; "
        "SELECT * FROM PatientsWithTypeOneDissent",
        "CREATE TABLE \"PatientsWithTypeOneDissent\" (x INT); "
        "SELECT * FROM PatientsWithTypeOneDissent",
        "CREATE VIEW IF NOT EXISTS PatientsWithTypeOneDissent (x) AS SELECT 1; "
        "SELECT * FROM PatientsWithTypeOneDissent",
        "SELECT N'FROM PatientsWithTypeOneDissent' FROM p",
        "EXEC('SELECT * FROM PatientsWithTypeOneDissent')",
        "WITH PatientsWithTypeOneDissent AS MATERIALIZED (SELECT 1) "
        "SELECT * FROM PatientsWithTypeOneDissent"})
    for (SqlDialect dialect : kAll) EXPECT_EQ(Read(sql, dialect), Declaration::kNone) << sql;
  EXPECT_EQ(Read("SELECT [x]] FROM PatientsWithTypeOneDissent] FROM p"), Declaration::kNone);
  // Cyrillic P.
  EXPECT_EQ(Read("SELECT * FROM \xd0\xa0"
                 "atientsWithTypeOneDissent"),
            Declaration::kNone);
}

// The name is in the place of a table for a reader that knows no more than the words.
TEST(SqlDeclaration, WordsThatAreNotTheClause) {
  for (const char* sql : {"SELECT extract(year FROM PatientsWithTypeOneDissent) FROM q",
                          "SELECT trim(both ' ' from PatientsWithTypeOneDissent), 1 FROM q",
                          "SELECT substring(a FROM PatientsWithTypeOneDissent) FROM q",
                          "SELECT 1 AS from, PatientsWithTypeOneDissent FROM q",
                          "SELECT q.from, PatientsWithTypeOneDissent FROM q",
                          "SELECT 1 AS join, apply PatientsWithTypeOneDissent FROM q",
                          "DECLARE PatientsWithTypeOneDissent CURSOR FOR SELECT 1; "
                          "FETCH NEXT FROM PatientsWithTypeOneDissent",
                          "SELECT 1 FETCH NEXT FROM PatientsWithTypeOneDissent",
                          "SELECT 1; MOVE FROM PatientsWithTypeOneDissent",
                          "SELECT 1 REVOKE SELECT ON q FROM PatientsWithTypeOneDissent",
                          "SELECT 1 RESTORE DATABASE q FROM PatientsWithTypeOneDissent",
                          "SELECT 1 AS x INTO TEMPORARY PatientsWithTypeOneDissent; "
                          "SELECT * FROM PatientsWithTypeOneDissent",
                          "ALTER TABLE q RENAME TO PatientsWithTypeOneDissent; "
                          "SELECT * FROM PatientsWithTypeOneDissent"})
    for (SqlDialect dialect : kAll) EXPECT_EQ(Read(sql, dialect), Declaration::kNone) << sql;
  for (const char* sql :
       {"SELECT extract(year FROM d) FROM PatientsWithTypeOneDissent",
        "SELECT max((SELECT x FROM PatientsWithTypeOneDissent)) FROM q",
        "WITH a AS (SELECT 1), b AS (SELECT x FROM PatientsWithTypeOneDissent) SELECT * FROM a",
        "SELECT 1 AS from FROM PatientsWithTypeOneDissent",
        "SELECT x FROM q ORDER BY x OFFSET 0 ROWS FETCH NEXT 5 ROWS ONLY; "
        "SELECT * FROM PatientsWithTypeOneDissent",
        "DELETE FROM q WHERE x IN (SELECT x FROM PatientsWithTypeOneDissent)",
        "SELECT * FROM q LEFT JOIN r ON q.a = r.a JOIN PatientsWithTypeOneDissent p ON p.a = q.a",
        "SELECT * FROM q CROSS APPLY PatientsWithTypeOneDissent",
        "CREATE VIEW v AS SELECT * FROM PatientsWithTypeOneDissent"})
    for (SqlDialect dialect : kAll)
      EXPECT_EQ(Read(sql, dialect), Declaration::kRefersToTable) << sql;
  const char* in = "SELECT * FROM p WHERE id NOT IN PatientsWithTypeOneDissent";
  EXPECT_EQ(Read(in, SqlDialect::kSqlite), Declaration::kRefersToTable);
  EXPECT_EQ(Read(in, SqlDialect::kPostgresql), Declaration::kNone);
}

// To a collation that ignores width a name in wide letters is the same name.
TEST(SqlDeclaration, LookAlikesMakeTheNameSomethingElse) {
  const std::string wide =
      "\xef\xbc\xb0"
      "atientsWithTypeOneDissent";
  const std::string then = " SELECT * FROM PatientsWithTypeOneDissent";
  for (const std::string& sql :
       {"WITH " + wide + " AS (SELECT 1)" + then, "WITH [" + wide + "] (x) AS (SELECT 1)" + then,
        "SELECT 1 AS x INTO " + wide + ";" + then, "CREATE TABLE " + wide + " (x int);" + then})
    EXPECT_EQ(Read(sql, SqlDialect::kMssql), Declaration::kNone) << sql;
  EXPECT_EQ(Read("SELECT 'gr\xc3\xb6\xc3\x9f"
                 "e' AS \"gr\xc3\xb6\xc3\x9f"
                 "e\"" +
                 then.substr(9)),
            Declaration::kRefersToTable);
}

TEST(SqlDeclaration, BlanksThatAreNoneToEverybody) {
  for (const char* blank : {"\xc2\xa0", "\xe2\x80\x8b", "\xe3\x80\x80", "\xef\xbb\xbf"})
    for (SqlDialect dialect : kAll) {
      const std::string sql = std::string("SELECT 1\nWITH") + blank +
                              "PatientsWithTypeOneDissent AS (SELECT 1) "
                              "SELECT * FROM PatientsWithTypeOneDissent";
      auto declaration = ReadDeclaration(sql, dialect);
      ASSERT_FALSE(declaration.has_value()) << blank;
      EXPECT_EQ(declaration.error().where, "line 2");
      EXPECT_EQ(Read(std::string("-- a") + blank + "b\nSELECT 1", dialect), Declaration::kNone);
    }
  for (const char* line : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
    EXPECT_FALSE(
        ReadDeclaration(std::string("-- ") + line + "/*\n", SqlDialect::kMssql).has_value());
  EXPECT_EQ(Read("\xef\xbb\xbfSELECT * FROM PatientsWithTypeOneDissent"),
            Declaration::kRefersToTable);
}

// To SQLite "$a(')" is one variable, and the string begins later.
TEST(SqlDeclaration, VariablesOfSqlite) {
  for (const char* variable : {"$a", "@a", ":a", "#a", "$a::b", "SELECT@a"}) {
    const std::string sql =
        std::string("SELECT ") + variable + "('), x FROM p -- ', 1 FROM PatientsWithTypeOneDissent";
    EXPECT_FALSE(ReadDeclaration(sql, SqlDialect::kSqlite).has_value()) << sql;
  }
  EXPECT_EQ(Read("SELECT f($a), max(:b) FROM PatientsWithTypeOneDissent", SqlDialect::kSqlite),
            Declaration::kRefersToTable);
}

TEST(SqlDeclaration, NamesWithEscapesOfPostgresql) {
  const char* sql =
      "WITH U&\"\\0070atientswithtypeonedissent\" AS (SELECT 1) "
      "SELECT * FROM PatientsWithTypeOneDissent";
  EXPECT_FALSE(ReadDeclaration(sql, SqlDialect::kPostgresql).has_value());
  EXPECT_EQ(Read("SELECT col_u&\"x\" FROM PatientsWithTypeOneDissent", SqlDialect::kPostgresql),
            Declaration::kRefersToTable);
}

TEST(SqlDeclaration, CommentsAreReadAsTheDatabaseReadsThem) {
  // Where comments nest, the first "*/" does not end it.
  const char* nested = "SELECT * FROM p /* /* */ JOIN PatientsWithTypeOneDissent */";
  EXPECT_EQ(Read(nested, SqlDialect::kMssql), Declaration::kNone);
  EXPECT_EQ(Read(nested, SqlDialect::kPostgresql), Declaration::kNone);
  // To SQLite this is one comment, then a string with the name in it; to T-SQL a statement.
  const char* split = "SELECT /* /* */ ' */ 1 FROM PatientsWithTypeOneDissent -- '";
  EXPECT_EQ(Read(split, SqlDialect::kSqlite), Declaration::kNone);
  EXPECT_EQ(Read(split, SqlDialect::kMssql), Declaration::kRefersToTable);
}

TEST(SqlDeclaration, StringsOfPostgresql) {
  EXPECT_EQ(Read("SELECT $$ FROM PatientsWithTypeOneDissent $$ FROM p", SqlDialect::kPostgresql),
            Declaration::kNone);
  EXPECT_EQ(
      Read("SELECT $a$ $$ FROM PatientsWithTypeOneDissent $a$ FROM p", SqlDialect::kPostgresql),
      Declaration::kNone);
  EXPECT_EQ(Read("SELECT E'\\' FROM PatientsWithTypeOneDissent ' FROM p", SqlDialect::kPostgresql),
            Declaration::kNone);
  EXPECT_EQ(Read("SELECT E'\\'' FROM PatientsWithTypeOneDissent", SqlDialect::kPostgresql),
            Declaration::kRefersToTable);
}

// A string that may end at its backslash or after it, as a setting of the server says.
TEST(SqlDeclaration, StringsThatEndInABackslash) {
  EXPECT_FALSE(
      ReadDeclaration("SELECT '\\' FROM PatientsWithTypeOneDissent '", SqlDialect::kPostgresql)
          .has_value());
  EXPECT_FALSE(ReadDeclaration("SELECT E'a'\n'\\' FROM PatientsWithTypeOneDissent '",
                               SqlDialect::kPostgresql)
                   .has_value());
  EXPECT_EQ(Read("SELECT 'c:\\' FROM PatientsWithTypeOneDissent", SqlDialect::kMssql),
            Declaration::kRefersToTable);
}

TEST(SqlDeclaration, WhatReadersDisagreeOnIsAnErrorWithItsLine) {
  for (std::string_view sql : {std::string_view("SELECT 1\n/* FROM PatientsWithTypeOneDissent"),
                               std::string_view("SELECT 1\n'FROM PatientsWithTypeOneDissent"),
                               std::string_view("SELECT 1\n\"x FROM PatientsWithTypeOneDissent"),
                               std::string_view("SELECT 1\n -- x\rFROM PatientsWithTypeOneDissent"),
                               std::string_view("SELECT 1\n\0FROM PatientsWithTypeOneDissent", 38),
                               std::string_view("SELECT 1\n\x0b")})
    for (SqlDialect dialect : kAll) {
      auto declaration = ReadDeclaration(sql, dialect);
      ASSERT_FALSE(declaration.has_value()) << sql;
      EXPECT_EQ(declaration.error().where, "line 2") << sql;
    }
  EXPECT_FALSE(ReadDeclaration("SELECT \xff", SqlDialect::kSqlite).has_value());
}

TEST(SqlDeclaration, NoneIsRefusedWithWhatToDo) {
  auto refused = RequireDeclaration("SELECT 1", SqlDialect::kSqlite, "analysis/q.sql");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::kRefused);
  EXPECT_EQ(refused.error().where, "analysis/q.sql");
  EXPECT_NE(refused.error().hint.find("PatientsWithTypeOneDissent"), std::string::npos);
  EXPECT_EQ(DialectOf("sqlite"), SqlDialect::kSqlite);
  EXPECT_EQ(DialectOf("mssql"), SqlDialect::kMssql);
}

// Pieces in any order: never a crash (the sanitizers watch), no reference without FROM or JOIN
// before the name, no explicit declaration without a comment.
TEST(SqlDeclaration, GeneratedTexts) {
  const std::vector<std::string> pieces = {"PatientsWithTypeOneDissent",
                                           "AllowedPatientsWithTypeOneDissent",
                                           "FROM",
                                           "JOIN",
                                           "SELECT",
                                           "WITH",
                                           "AS",
                                           "(",
                                           ")",
                                           ",",
                                           ".",
                                           ";",
                                           "'",
                                           "\"",
                                           "[",
                                           "]",
                                           "`",
                                           "--",
                                           "/*",
                                           "*/",
                                           "\n",
                                           "\r\n",
                                           " ",
                                           "x",
                                           "$$",
                                           "$a$",
                                           "E'",
                                           "\\",
                                           "#",
                                           "\xc2\xa0",
                                           "1",
                                           "DISTINCT"};
  std::mt19937 random(2026);
  std::map<Declaration, int> seen;
  int unreadable = 0;
  for (int round = 0; round < 30000; ++round) {
    std::string sql;
    for (size_t i = 1 + random() % 12; i > 0; --i)
      sql += pieces[random() % pieces.size()] + (random() % 2 == 0 ? " " : "");
    for (SqlDialect dialect : kAll) {
      auto declaration = ReadDeclaration(sql, dialect);
      if (!declaration) {
        ++unreadable;
        continue;
      }
      ++seen[*declaration];
      if (*declaration == Declaration::kRefersToTable) {
        const size_t at = sql.find("PatientsWithTypeOneDissent");
        ASSERT_NE(at, std::string::npos) << sql;
        EXPECT_TRUE(sql.find("FROM") < at || sql.find("JOIN") < at ||
                    sql.find("PatientsWithTypeOneDissent", at + 1) != std::string::npos)
            << sql;
      }
      if (*declaration == Declaration::kExplicitlyAllowed) {
        EXPECT_TRUE(sql.find("--") != std::string::npos || sql.find("/*") != std::string::npos)
            << sql;
      }
    }
  }
  EXPECT_GT(seen[Declaration::kRefersToTable], 50);
  EXPECT_GT(seen[Declaration::kExplicitlyAllowed], 50);
  EXPECT_GT(unreadable, 1000);
}

}  // namespace
}  // namespace carrel
