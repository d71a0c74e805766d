// What level 4 text must not hold: rows of patients, in whatever text file they come. Each function
// gives the reason for which a file is withheld, in words that hold nothing of its content, or
// nullopt. See level4_checks.h for the choices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace carrel {

using Refusal = std::optional<std::string>;

/// Refuses what is not UTF-8 text: compressed files by name, UTF-16 and UTF-32, NUL, control
/// characters (a log may hold the few that terminals know), invalid UTF-8.
Refusal CheckEncoding(std::string_view text, bool is_log);

/// Refuses a header that names patient identifiers with values below it, in any delimited or
/// printed table, such a header in the first line, and records ("patient_id: 123"). Takes time in
/// proportion to the text.
Refusal CheckIdentifiers(std::string_view text);

/// Refuses more than `max_rows` lines of data, a line of more than `max_rows` fields (unless
/// `long_lines` are normal: minified scripts, drawings), and tables with patient identifiers.
Refusal CheckTables(std::string_view text, int64_t max_rows, bool long_lines);

/// Refuses HTML and SVG with more than `max_rows` table rows or text elements, or a cell that
/// names patient identifiers.
Refusal CheckMarkup(std::string_view text, int64_t max_rows);

/// Refuses what is neither a JSON value nor JSON lines (NaN and Infinity are accepted, as Python
/// writes them), a member or list element that names patient identifiers, and any list, object or
/// number of lines beyond `max_rows`.
Refusal CheckJson(std::string_view text, int64_t max_rows);

/// Refuses runs of base64 (64 characters and more, over newlines too) that decode to compressed
/// data or to a table that CheckTables refuses. Pictures in base64 pass.
Refusal CheckEmbedded(std::string_view text, int64_t max_rows);

/// Refuses what isn't an SVG document from its root element to the end, or that defines entities.
Refusal CheckSvg(std::string_view text);

}  // namespace carrel
