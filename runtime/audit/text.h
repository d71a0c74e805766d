// Bytes of a job as text that can be shown: on a terminal, in JSON, in a table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace carrel {

/// `text` with everything escaped that a terminal could act on, or that is not UTF-8: "\x1b".
std::string Printable(std::string_view text);

/// Printable in quotation marks; those within become "\x22": a name cannot look like its call's
/// next argument.
std::string Quoted(std::string_view text);

/// `bytes` as UTF-8: what is not becomes "\xNN".
std::string Utf8(std::string_view bytes);

/// Appends `bytes` as a JSON string of ASCII characters only.
void AppendJsonString(std::string_view bytes, std::string& out);

/// Columns that `text` (as `Printable` gives it) takes on a terminal.
size_t DisplayWidth(std::string_view text);

/// `text` cut to `columns`, with "..." at its end when something was cut off. columns > 3.
std::string Fit(std::string_view text, size_t columns);

}  // namespace carrel
