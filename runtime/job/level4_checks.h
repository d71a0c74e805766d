// Whether a file may go to level 4. It fails closed: what cannot be checked is withheld.
//
// The adversary is an action that copies patient-level rows into a file which its output spec calls
// moderately sensitive. The honest researcher has tables of a few hundred rows, charts, reports and
// long logs. So:
// - the name decides which check applies, and the content must agree with the name: text is UTF-8
//   without NUL; a PNG or JPEG is walked from its first byte to its last and decoded, nothing may
//   follow, and little may stand beside the picture; an .svgz is one gzip member with an SVG of
//   limited size; other types are refused even if the configuration lists them
// - every text file, whatever its name, is searched for tables: delimited by comma, semicolon, tab,
//   bar or whatever else stands between values, printed with blanks, as elements or comments of
//   HTML and SVG, as JSON lists, as "name: value" records; in base64, base32, base85, hexadecimal,
//   uuencode, lists of bytes and escapes, at any offset, in groups and lines, one within the other
// - more lines of data than max_csv_rows are refused in any text; a log's lines don't count,
//   because their fields are sentences. CSV rows are counted as csv readers do, but lines that a
//   quote hides count as lines of data, and more than four lines a row are rows in any case
// - a column named patient_id, pseudo_patient_id or NHS number in any spelling is refused: at the
//   head of a file always; further down if values that look like identifiers stand below, so that a
//   log which only mentions patient_id passes, and one that prints the rows does not
// - what cannot be seen this way (pixels, prose, a column with a misleading name) is limited by
//   size and rows only; a person checks it before release
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carrel {

struct Level4Rules {
  int64_t max_csv_rows = 5000;             ///< data rows: the header is not counted
  uint64_t max_filesize = 16u << 20;       ///< bytes; of an .svgz also when decompressed
  std::vector<std::string> file_types = {  ///< with the dot, lower case
      ".csv", ".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html", ".txt", ".log", ".json", ".md"};
};

struct Level4Verdict {
  std::optional<std::string> refusal;  ///< for the researcher: nothing of the content is in it
  std::optional<int64_t> row_count;    ///< of .csv files, without the header
  std::optional<int64_t> col_count;
};

/// Checks the file behind `fd` (read from its start; the offset is left anywhere). `path` only
/// gives the type. Call it on carrel's own copy: the action's file could change. An Error means
/// that the file could not be read. Memory: up to four times max_filesize, which counts to 256 MiB;
/// a JPEG may take 300 MB. Time in proportion to the size.
Result<Level4Verdict> CheckLevel4(int fd, std::string_view path, const Level4Rules& rules);

/// The reason of CheckLevel4; a file that could not be read is withheld as well.
std::optional<std::string> Level4Refusal(int fd, std::string_view path, const Level4Rules& rules);

/// ".csv" of "output/A.CSV", as pathlib's suffix, in lower case; "" when there is none.
std::string LowerSuffix(std::string_view path);

}  // namespace carrel
