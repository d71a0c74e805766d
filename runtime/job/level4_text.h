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
/// characters (a log may hold those that terminals know, a page a few in its scripts), many
/// characters that cannot be seen, invalid UTF-8. `type` is the file's suffix.
Refusal CheckEncoding(std::string_view text, const std::string& type);

/// Refuses a header that names patient identifiers with values below it, in any delimited or
/// printed table, such a header in the first line, and records ("patient_id: 123"). Takes time in
/// proportion to the text.
Refusal CheckIdentifiers(std::string_view text);

/// Refuses more than `max_rows` lines of data, a line of more than `max_rows` fields (unless
/// `long_lines` are normal: minified scripts, drawings), and tables with patient identifiers.
Refusal CheckTables(std::string_view text, int64_t max_rows, bool long_lines);

/// Refuses a table of patient identifiers whose letters are shifted in the alphabet (rot13), whose
/// lines are turned round, or which is turned round as a whole. Other ciphers are not known here.
Refusal CheckCiphers(std::string_view text);

/// Reads HTML and SVG as a reader sees them: refuses what CheckTables refuses in their text (rows
/// may be elements of any kind, with character references, or comments), more than `max_rows` table
/// rows, drawn texts or comments, and a cell that names patient identifiers. Takes time in
/// proportion to the text.
Refusal CheckMarkup(std::string_view text, int64_t max_rows);

/// Refuses what is neither a JSON value nor JSON lines (NaN and Infinity are accepted, as Python
/// writes them), a member or list element that names patient identifiers, any list, object or
/// number of lines beyond `max_rows`, and more than `max_rows` rows at one depth of the whole
/// document: lists and objects in lists, or members of different names.
Refusal CheckJson(std::string_view text, int64_t max_rows);

/// Refuses what is encoded in base64, base32, base85, hexadecimal, uuencode, as a list of bytes, as
/// a dump (xxd, hexdump, od), in quoted-printable or by escapes, from any offset, also one within
/// the other, and holds a table or compressed data anywhere. Long runs of data that nothing knows
/// are refused as well, unless `is_page`: the scripts of pages and charts bring such. Pictures must
/// be what CheckPng and CheckJpeg accept; fonts pass. Takes time in proportion to the text.
Refusal CheckEmbedded(std::string_view text, int64_t max_rows, bool is_page);

/// The part of CheckEmbedded that is for escapes (%2C, \n, \x2c).
Refusal CheckEscapes(std::string_view text, int64_t max_rows, bool is_page);

/// Refuses what isn't an SVG document from its root element to the end, that defines entities, or
/// that has paths or points which are not coordinates and commands.
Refusal CheckSvg(std::string_view text);

/// The text without the paths and points that are coordinates and commands: lines of a drawing are
/// no rows.
std::string WithoutGeometry(std::string_view text);

}  // namespace carrel
