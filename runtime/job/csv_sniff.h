// Delimited text, looked at with suspicion: how many rows it has whatever its dialect, and whether
// a column identifies patients.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace carrel {

/// True for a value that looks like somebody's identifier: letters, digits, '-' and '_', at least
/// half of them digits, or 16 and more hexadecimal digits.
bool LooksLikeIdentifierValue(std::string_view value);

/// Without white space and one pair of quotes around it.
std::string_view TrimField(std::string_view field);

struct CsvShape {
  int64_t rows = 0;          ///< records after the header that are not blank, by `delimiter`
  int64_t columns = 0;       ///< fields of the header, by `delimiter`
  int64_t most_rows = 0;     ///< the same as `rows`, by whichever delimiter gives most
  char delimiter = ',';      ///< of "," ";" tab "|": the one with most fields in the header
  bool unbalanced = false;   ///< a quote that never ends: the rows can't be counted
  bool identifiers = false;  ///< the header, or a later record, names patient identifiers
};

/// Reads CSV as Python's csv module does (a quote counts at the start of a field; "" within one),
/// once for each delimiter: a quote that hides rows in one dialect shows them in another. Newlines
/// are LF, CRLF or CR. `text` has no byte-order mark.
CsvShape SniffCsv(std::string_view text);

}  // namespace carrel
