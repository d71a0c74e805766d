#include "cli/docker_output.h"

#include <algorithm>

#include "oci/go_template.h"

namespace carrel {
namespace {

void PrintTable(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths;
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], line[i].size());
    }
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      text += line[i];
      if (i + 1 < line.size()) text.append(widths[i] - line[i].size() + 3, ' ');
    }
    printf("%s\n", text.c_str());
  }
}

}  // namespace

Result<int> InspectEach(const std::vector<std::string>& names, const std::string& format,
                        const std::function<Result<OrderedJson>(const std::string&)>& inspect) {
  if (names.empty()) return BadInput("", "\"docker inspect\" requires at least 1 argument.");
  OrderedJson all = OrderedJson::array();
  Result<int> status = 0;
  for (const std::string& name : names) {
    auto document = inspect(name);
    if (!document) {
      if (status) status = std::move(document).error();
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
                      const std::vector<std::pair<std::string, std::string>>& columns) {
  constexpr std::string_view kTable = "table ";
  if (!format.empty() && !format.starts_with(kTable)) {
    for (const OrderedJson& row : rows) {
      CARREL_ASSIGN(const std::string line,
                    RenderGoTemplate(format == "json" ? "{{json .}}" : format, row));
      printf("%s\n", line.c_str());
    }
    return 0;
  }
  std::vector<std::vector<std::string>> lines;
  if (format.empty()) {
    lines.emplace_back();
    for (const auto& [heading, member] : columns) lines[0].push_back(heading);
  }
  for (const OrderedJson& row : rows) {
    std::vector<std::string> line;
    if (format.empty()) {
      for (const auto& [heading, member] : columns) line.push_back(row.at(member));
    } else {
      CARREL_ASSIGN(const std::string text, RenderGoTemplate(format.substr(kTable.size()), row));
      for (size_t start = 0; start <= text.size();) {
        const size_t end = std::min(text.find('\t', start), text.size());
        line.push_back(text.substr(start, end - start));
        start = end + 1;
      }
    }
    lines.push_back(std::move(line));
  }
  PrintTable(lines);
  return 0;
}

}  // namespace carrel
