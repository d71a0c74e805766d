#include "job/level4_checks.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/fs.h"
#include "job/csv_sniff.h"
#include "job/level4_image.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

constexpr uint64_t kMaxInspected = 256u << 20;
constexpr int64_t kLinesPerRow = 4;

Refusal CheckName(const std::string& type, const Level4Rules& rules) {
  if (std::find(rules.file_types.begin(), rules.file_types.end(), type) != rules.file_types.end())
    return std::nullopt;
  std::string list;
  for (const std::string& known : rules.file_types) list += (list.empty() ? "" : ", ") + known;
  return "Files of type " + (type.empty() ? "\"\" (no extension)" : "\"" + type + "\"") +
         " are not permitted at level 4; permitted are: " + list;
}

Refusal CheckCsv(std::string_view text, int64_t max_rows, Level4Verdict* verdict) {
  const CsvShape shape = SniffCsv(text);
  verdict->row_count = shape.rows;
  verdict->col_count = shape.columns;
  if (shape.unbalanced) return "A quote in it never ends, so that its rows cannot be counted";
  // A cell of several lines is one row; a cell of a whole table is not. CheckTables finds most of
  // those; this finds them whatever they hold.
  const int64_t rows = shape.most_rows > kLinesPerRow * max_rows ? shape.most_rows : shape.rows;
  if (rows > max_rows)
    return "It has " + std::to_string(rows) + " rows, more than the " + std::to_string(max_rows) +
           " that a table at level 4 may have";
  if (shape.identifiers)
    return "It has a column of patient identifiers (such as patient_id). Files at level 4 must "
           "hold "
           "aggregated results only";
  return std::nullopt;
}

Refusal CheckText(std::string_view text, const std::string& type, const Level4Rules& rules,
                  Level4Verdict* verdict) {
  const int64_t rows = rules.max_csv_rows;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (auto refusal = CheckEncoding(text, type)) return refusal;
  const bool is_page = type == ".html" || type == ".svg" || type == ".json";
  if (auto refusal = CheckEmbedded(text, rows, is_page)) return refusal;
  if (type == ".csv")
    if (auto refusal = CheckCsv(text, rows, verdict)) return refusal;
  if (auto refusal = CheckCiphers(text)) return refusal;
  if (type == ".json") return CheckJson(text, rows);
  if (type == ".svg")
    if (auto refusal = CheckSvg(text)) return refusal;
  if (auto refusal = CheckMarkup(text, rows)) return refusal;
  if (type != ".html" && type != ".svg") return CheckTables(text, rows, false);
  return CheckTables(WithoutGeometry(text), rows, true);
}

Refusal CheckContent(std::string_view data, const std::string& type, const Level4Rules& rules,
                     Level4Verdict* verdict) {
  if (type == ".png") return CheckPng(data);
  if (type == ".jpg" || type == ".jpeg") return CheckJpeg(data);
  if (type == ".svgz") {
    std::string text;
    if (auto refusal = InflateSvgz(data, std::min(rules.max_filesize, kMaxInspected), &text))
      return refusal;
    return CheckText(text, ".svg", rules, verdict);
  }
  for (const char* text : {".csv", ".txt", ".log", ".json", ".md", ".html", ".svg"})
    if (type == text) return CheckText(data, type, rules, verdict);
  return "There is no check for files of type \"" + type + "\", so none can go to level 4";
}

}  // namespace

std::string LowerSuffix(std::string_view path) {
  const size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size()) return "";
  std::string suffix(name.substr(dot));
  for (char& c : suffix)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return suffix;
}

Result<Level4Verdict> CheckLevel4(int fd, std::string_view path, const Level4Rules& rules) {
  Level4Verdict verdict;
  const std::string type = LowerSuffix(path);
  if ((verdict.refusal = CheckName(type, rules))) return verdict;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SysFault(std::string(path), "fstat");
  const uint64_t limit = std::min(rules.max_filesize, kMaxInspected);
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) > limit) {
    verdict.refusal = "It has " + std::to_string(info.st_size) + " bytes, more than the " +
                      std::to_string(limit) + " that a file at level 4 may have";
    return verdict;
  }
  if (::lseek(fd, 0, SEEK_SET) != 0) return SysFault(std::string(path), "lseek");
  auto data = ReadFd(fd, limit);
  if (!data) {
    data.error().where = path;
    return std::move(data).error();
  }
  verdict.refusal = CheckContent(*data, type, rules, &verdict);
  return verdict;
}

std::optional<std::string> Level4Refusal(int fd, std::string_view path, const Level4Rules& rules) {
  auto verdict = CheckLevel4(fd, path, rules);
  if (!verdict) return "It could not be read for its check: " + verdict.error().ToString();
  return verdict->refusal;
}

}  // namespace carrel
