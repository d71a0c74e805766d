#include "cli/docker_output.h"

#include <algorithm>

#include "cli/docker_commands.h"
#include "job/utf8.h"
#include "oci/go_template.h"

namespace carrel {
namespace {

// As docker's: columns of ten characters or more, three of them blank.
void PrintTable(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths;
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) {
      if (widths.size() <= i) widths.push_back(10);
      widths[i] = std::max(widths[i], DecodeUtf8Lossy(line[i]).size() + 3);
    }
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      text += line[i];
      if (i + 1 < line.size()) text.append(widths[i] - DecodeUtf8Lossy(line[i]).size(), ' ');
    }
    printf("%s\n", text.c_str());
  }
}

// "a\tb" to its cells.
std::vector<std::string> Cells(const std::string& text) {
  std::vector<std::string> cells;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('\t', start), text.size());
    cells.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return cells;
}

}  // namespace

Result<int> InspectEach(const std::vector<std::string>& names, const std::string& format,
                        const std::function<Result<OrderedJson>(const std::string&)>& inspect) {
  if (names.empty()) return BadInput("", "\"docker inspect\" requires at least 1 argument.");
  OrderedJson all = OrderedJson::array();
  int status = 0;
  for (const std::string& name : names) {
    auto document = inspect(name);
    if (!document) {
      status = PrintDockerError("", document.error());
      continue;
    }
    if (format.empty()) {
      all.push_back(std::move(*document));
      continue;
    }
    CARREL_ASSIGN(const std::string line, RenderGoTemplate(format, *document));
    printf("%s\n", line.c_str());
  }
  if (format.empty())
    printf("%s\n", all.dump(4, ' ', false, OrderedJson::error_handler_t::replace).c_str());
  return status;
}

Result<int> PrintRows(const std::vector<OrderedJson>& rows, const std::string& format,
                      const std::vector<std::string>& columns, const OrderedJson& headings) {
  constexpr std::string_view kTable = "table";
  const bool table = format.empty() || format == kTable || format.starts_with("table ");
  std::string line = table ? format.substr(std::min(format.size(), kTable.size() + 1)) : format;
  if (format == "json") line = "{{json .}}";
  if (line.empty())
    for (const std::string& column : columns)
      line += (line.empty() ? "{{." : "\t{{.") + column + "}}";
  // Also where there are no rows: a format that is wrong is told.
  CARREL_ASSIGN(const std::string heading, RenderGoTemplate(line, headings));
  std::vector<std::vector<std::string>> lines = {Cells(heading)};
  for (const OrderedJson& row : rows) {
    CARREL_ASSIGN(const std::string text, RenderGoTemplate(line, row));
    if (table)
      lines.push_back(Cells(text));
    else
      printf("%s\n", text.c_str());
  }
  if (table) PrintTable(lines);
  return 0;
}

}  // namespace carrel
