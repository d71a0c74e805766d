#include "policy/sql_tokens.h"

#include <algorithm>

#include "base/json.h"

namespace carrel {
namespace {

bool IsWordChar(char c) {
  // '#', '@' and '$' are part of names in T-SQL (#temporary, @variable): a name with them is
  // another name. Bytes beyond ASCII count as part of a name too: no look-alike blank splits one.
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z') || byte == '_' || byte == '#' || byte == '@' || byte == '$' ||
         byte >= 0x80;
}

// A character that people do not see, or that some databases take for a blank or the end of a line
// and others for a part of a name.
bool IsUnseen(char32_t c) {
  return c == 0x85 || c == 0xa0 || c == 0xad || c == 0x1680 || c == 0x180e ||
         (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
         (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff;
}

bool EndsALine(char32_t c) { return c == 0x85 || c == 0x2028 || c == 0x2029; }

// The character at `at` of a text that is UTF-8, and its length.
std::pair<char32_t, size_t> CharacterAt(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  char32_t c = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length && at + i < text.size(); ++i)
    c = c << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3f);
  return {c, length};
}

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

class Tokenizer {
 public:
  Tokenizer(std::string_view sql, SqlDialect dialect) : sql_(sql), dialect_(dialect) {}

  Result<std::vector<SqlToken>> Run() {
    CARREL_TRY(CheckCharacters());
    if (StartsWith("\xef\xbb\xbf")) at_ += 3;  // the mark of editors that write UTF-8
    while (at_ < sql_.size()) CARREL_TRY(Next());
    return std::move(tokens_);
  }

 private:
  Error Unreadable(size_t at, const std::string& what) const {
    const auto lines = std::count(sql_.begin(), sql_.begin() + static_cast<ptrdiff_t>(at), '\n');
    return BadInput("line " + std::to_string(lines + 1), what);
  }

  // Databases end lines and texts at different characters (SQLite ends a text at NUL, PostgreSQL a
  // comment at a carriage return): refuse those that they disagree on.
  Result<void> CheckCharacters() const {
    for (size_t i = 0; i < sql_.size(); ++i) {
      const auto byte = static_cast<unsigned char>(sql_[i]);
      if (byte == '\r' && (i + 1 == sql_.size() || sql_[i + 1] != '\n'))
        return Unreadable(i, "a carriage return without a line feed");
      if ((byte < 0x20 && !IsBlank(sql_[i])) || byte == 0x7f)
        return Unreadable(i, "a NUL or control character");
    }
    try {
      (void)Json(std::string(sql_)).dump();
    } catch (const Json::exception&) {
      return BadInput("", "the text is not UTF-8");
    }
    for (size_t i = 0; i < sql_.size();) {
      const auto [c, length] = CharacterAt(sql_, i);
      if (EndsALine(c)) return Unreadable(i, "a line separator that is no line feed");
      i += length;
    }
    return {};
  }

  bool StartsWith(std::string_view text) const { return sql_.substr(at_).starts_with(text); }

  void Push(SqlToken::Kind kind, size_t end) {
    tokens_.push_back({kind, std::string(sql_.substr(at_, end - at_))});
    at_ = end;
  }

  Result<void> Next() {
    const char c = sql_[at_];
    if (IsBlank(c)) {
      ++at_;
      return {};
    }
    if (StartsWith("--")) {
      Push(SqlToken::kComment, std::min(sql_.find('\n', at_), sql_.size()));
      return {};
    }
    if (StartsWith("/*")) return BlockComment();
    if (c == '\'') return Quoted(SqlToken::kString, '\'', BackslashEscapes());
    if (c == '"' && HasUnicodeEscapes()) return Unreadable(at_, "a name with Unicode escapes (U&)");
    if (c == '"') return Quoted(SqlToken::kQuotedName, '"', false);
    if (c == '[' && dialect_ != SqlDialect::kPostgresql)
      // SQLite knows no "]]" in a name, T-SQL does.
      return Quoted(SqlToken::kQuotedName, ']', false);
    if (c == '`' && dialect_ == SqlDialect::kSqlite)
      return Quoted(SqlToken::kQuotedName, '`', false);
    if (c == '$' && dialect_ == SqlDialect::kPostgresql && DollarTag() > 0) return DollarString();
    if (IsWordChar(c)) {
      size_t end = at_;
      while (end < sql_.size() && IsWordChar(sql_[end])) {
        const auto [character, length] = CharacterAt(sql_, end);
        if (IsUnseen(character))
          return Unreadable(end, "a blank or invisible character that is no plain space");
        end += length;
      }
      Push(SqlToken::kWord, std::min(end, sql_.size()));
      return {};
    }
    if (c == '(' && dialect_ == SqlDialect::kSqlite && EndsInAVariable())
      return Unreadable(at_, "a parenthesis right after a variable");
    Push(SqlToken::kSymbol, at_ + 1);
    return {};
  }

  // SQLite's variables can have an end in parentheses, "$a(')": what stands there is no string.
  bool EndsInAVariable() const {
    for (size_t i = at_; i > 0 && (IsWordChar(sql_[i - 1]) || sql_[i - 1] == ':'); --i)
      if (std::string_view("$@#:").find(sql_[i - 1]) != std::string_view::npos) return true;
    return false;
  }

  // PostgreSQL's U&"..." has escapes in a name: it can be any name.
  bool HasUnicodeEscapes() const {
    if (dialect_ != SqlDialect::kPostgresql || at_ < 2 || tokens_.size() < 2) return false;
    const SqlToken& word = tokens_[tokens_.size() - 2];
    return sql_[at_ - 1] == '&' && (sql_[at_ - 2] | 0x20) == 'u' && word.kind == SqlToken::kWord &&
           word.text.size() == 1;
  }

  Result<void> BlockComment() {
    int depth = 0;
    for (size_t i = at_; i + 1 < sql_.size();) {
      const std::string_view two = sql_.substr(i, 2);
      if (two == "/*" && (depth == 0 || dialect_ != SqlDialect::kSqlite)) {
        ++depth;
        i += 2;
      } else if (two == "*/") {
        i += 2;
        if (--depth == 0) {
          Push(SqlToken::kComment, i);
          return {};
        }
      } else {
        ++i;
      }
    }
    return Unreadable(at_, "a comment that does not end");
  }

  // PostgreSQL: a quote right after E or e takes backslash escapes.
  bool BackslashEscapes() const {
    if (dialect_ != SqlDialect::kPostgresql || at_ == 0 || tokens_.empty()) return false;
    const SqlToken& last = tokens_.back();
    return last.kind == SqlToken::kWord && (last.text == "E" || last.text == "e") &&
           (sql_[at_ - 1] | 0x20) == 'e';
  }

  Result<void> Quoted(SqlToken::Kind kind, char close, bool backslashes) {
    const bool doubling = close != ']' || dialect_ == SqlDialect::kMssql;
    std::string text;
    for (size_t i = at_ + 1; i < sql_.size(); ++i) {
      // Whether '...\' ends there depends on standard_conforming_strings, and on whether it goes on
      // from an E'...' of the line before.
      if (dialect_ == SqlDialect::kPostgresql && kind == SqlToken::kString && !backslashes &&
          sql_.substr(i, 2) == "\\'")
        return Unreadable(i, "a backslash before a quote in a string that is no E'...'");
      if (backslashes && sql_[i] == '\\' && i + 1 < sql_.size()) {
        text += sql_[++i];
      } else if (sql_[i] != close) {
        text += sql_[i];
      } else if (doubling && i + 1 < sql_.size() && sql_[i + 1] == close) {
        text += sql_[i++];
      } else {
        tokens_.push_back({kind, std::move(text)});
        at_ = i + 1;
        return {};
      }
    }
    return Unreadable(at_, kind == SqlToken::kString ? "a string that does not end"
                                                     : "a quoted name that does not end");
  }

  // The length of "$tag$" at the present place, or 0.
  size_t DollarTag() const {
    size_t end = at_ + 1;
    while (end < sql_.size() && sql_[end] != '$' && IsWordChar(sql_[end])) ++end;
    const bool digit = end > at_ + 1 && sql_[at_ + 1] >= '0' && sql_[at_ + 1] <= '9';
    return end < sql_.size() && sql_[end] == '$' && !digit ? end + 1 - at_ : 0;
  }

  Result<void> DollarString() {
    const std::string_view tag = sql_.substr(at_, DollarTag());
    const size_t end = sql_.find(tag, at_ + tag.size());
    if (end == std::string_view::npos) return Unreadable(at_, "a string that does not end");
    Push(SqlToken::kString, end + tag.size());
    return {};
  }

  std::string_view sql_;
  SqlDialect dialect_;
  size_t at_ = 0;
  std::vector<SqlToken> tokens_;
};

}  // namespace

Result<std::vector<SqlToken>> TokenizeSql(std::string_view sql, SqlDialect dialect) {
  return Tokenizer(sql, dialect).Run();
}

}  // namespace carrel
