#include <algorithm>

#include "audit/render.h"
#include "audit/report.h"

namespace carrel {
namespace {

// Rows of each table that go into the page, those that matter most.
constexpr size_t kMaxFiles = 4000, kMaxRows = 2000;

OrderedJson TimeLineJson(const TimeLine& line) {
  OrderedJson classes = OrderedJson::array();
  for (size_t k = 0; k < kCallClasses; ++k) classes.push_back(ClassName(static_cast<CallClass>(k)));
  OrderedJson calls = OrderedJson::array(), errors = calls, denied = calls;
  for (size_t k = 0; k < kCallClasses; ++k) calls.push_back(OrderedJson::array());
  for (const TimeLine::Bin& bin : line.bins()) {
    for (size_t k = 0; k < kCallClasses; ++k) calls[k].push_back(bin.calls[k]);
    errors.push_back(bin.errors);
    denied.push_back(bin.denied);
  }
  return {{"width_ns", line.width_ns()},
          {"classes", classes},
          {"calls", calls},
          {"errors", errors},
          {"denied", denied}};
}

OrderedJson Table(OrderedJson rows, uint64_t all) {
  return {{"rows", std::move(rows)}, {"all", all}};
}

OrderedJson ProcessTable(const ReportData& data) {
  // Depth in the tree; a parent comes before its children.
  std::vector<uint32_t> depth(data.processes.size(), 0);
  std::vector<std::vector<size_t>> children(data.processes.size());
  std::vector<size_t> order, waiting;
  for (size_t i = data.processes.size(); i-- > 0;) {
    const int64_t parent = data.processes[i].parent;
    if (parent >= 0 && static_cast<size_t>(parent) < i)
      children[static_cast<size_t>(parent)].push_back(i);
    else
      waiting.push_back(i);
  }
  while (!waiting.empty()) {
    const size_t i = waiting.back();
    waiting.pop_back();
    order.push_back(i);
    for (size_t child : children[i]) {
      depth[child] = depth[i] + 1;
      waiting.push_back(child);
    }
  }
  OrderedJson rows = OrderedJson::array();
  for (size_t i : order) {
    if (rows.size() == kMaxRows) break;
    const ReportProcess& process = data.processes[i];
    const std::string program =
        process.program.empty() ? '(' + process.comm + ')' : process.program;
    rows.push_back({std::min<uint32_t>(depth[i], 12), process.pid, program.substr(0, 2000),
                    process.ended, process.start_ns, process.end_ns - process.start_ns,
                    process.threads + 1, process.calls, process.errors, process.denied});
  }
  return Table(std::move(rows), data.processes.size() + data.processes_left_out);
}

OrderedJson FileTable(const ReportData& data) {
  std::vector<std::pair<const std::string*, const ReportFile*>> files;
  for (const auto& [path, file] : data.files) files.emplace_back(&path, &file);
  // What was changed first, then what was read, then what was not there.
  auto rank = [](const ReportFile& file) {
    return file.outside ? 4 : file.written > 0 ? 3 : file.changed > 0 ? 2 : file.read > 0 ? 1 : 0;
  };
  std::stable_sort(files.begin(), files.end(), [&](const auto& a, const auto& b) {
    const int left = rank(*a.second), right = rank(*b.second);
    return left != right ? left > right : a.second->first_ns < b.second->first_ns;
  });
  OrderedJson rows = OrderedJson::array();
  for (const auto& [path, file] : files) {
    if (rows.size() == kMaxFiles) break;
    rows.push_back({*path, file->written, file->changed, file->read, file->failed, file->error,
                    file->comm, file->first_ns, file->outside});
  }
  return Table(std::move(rows), files.size() + data.files_left_out);
}

OrderedJson DeedTable(const std::map<std::string, ReportDeed>& deeds) {
  std::vector<std::pair<const std::string*, const ReportDeed*>> sorted;
  for (const auto& [what, deed] : deeds) sorted.emplace_back(&what, &deed);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second->first_ns < b.second->first_ns;
  });
  OrderedJson rows = OrderedJson::array();
  for (const auto& [what, deed] : sorted) {
    if (rows.size() == kMaxRows) break;
    rows.push_back(
        {what->substr(0, 2000), deed->outcome, deed->count, deed->comm, deed->pid, deed->first_ns});
  }
  return Table(std::move(rows), deeds.size());
}

// The digest of each program beside it.
OrderedJson ProgramTable(const ReportData& data) {
  OrderedJson table = DeedTable(data.programs);
  for (OrderedJson& row : table["rows"]) {
    const std::string what = row[0].get<std::string>();
    auto digest = data.digests.find(what.substr(0, what.find('\n')));
    row.push_back(digest == data.digests.end() ? "" : digest->second);
  }
  return table;
}

OrderedJson SyscallRows(const ReportData& data) {
  OrderedJson rows = OrderedJson::array();
  for (const SyscallStats& stats : data.syscalls.Sorted())
    rows.push_back({stats.name, stats.count, stats.errors, stats.denied, stats.time_ns});
  const size_t all = rows.size();
  return Table(std::move(rows), all);
}

// Members as people read them: strings without controls.
Json Shown(const Json& value) {
  if (value.is_string()) return Printable(value.get<std::string>());
  if (!value.is_structured()) return value;
  Json out = value.is_array() ? Json::array() : Json::object();
  for (auto& [key, member] : value.items()) {
    if (value.is_array())
      out.push_back(Shown(member));
    else
      out[Printable(key)] = Shown(member);
  }
  return out;
}

OrderedJson RecordList(const std::vector<ReportRecord>& records) {
  OrderedJson list = OrderedJson::array();
  for (const ReportRecord& record : records)
    list.push_back({{"at", record.at_ns},
                    {"kind", Printable(record.kind)},
                    {"members", OrderedJson(Shown(record.members))}});
  return list;
}

OrderedJson FindingList(const std::vector<ReportFinding>& findings) {
  OrderedJson list = OrderedJson::array();
  for (const ReportFinding& finding : findings)
    list.push_back({{"level", finding.level},
                    {"title", finding.title},
                    {"detail", Printable(finding.detail)},
                    {"count", finding.count},
                    {"find", finding.find}});
  return list;
}

}  // namespace

OrderedJson ReportJson(const ReportData& data, const LogVerdict& verdict,
                       std::optional<uint64_t> public_index) {
  OrderedJson report;
  report["job"] = Printable(data.job);
  report["start_ns"] = data.start_ns;
  report["end_ns"] = data.end_ns;
  report["verdict"] = {
      {"finding", FindingName(verdict.finding)},
      {"why", Printable(verdict.why)},
      {"head", verdict.head},
      {"blocks", verdict.blocks},
      {"bytes", verdict.bytes},
      {"public_index", public_index ? OrderedJson(*public_index) : OrderedJson(nullptr)}};
  report["counts"] = {{"rows", data.rows},
                      {"calls", data.calls},
                      {"errors", data.errors},
                      {"denied", data.denied},
                      {"tasks", data.tasks},
                      {"stops", data.stops},
                      {"files", data.files.size() + data.files_left_out},
                      {"processes", data.processes.size() + data.processes_left_out},
                      {"unfinished", data.unfinished}};
  report["findings"] = FindingList(FindUnusual(data, verdict));
  report["time_line"] = TimeLineJson(data.time_line);
  report["processes"] = ProcessTable(data);
  report["files"] = FileTable(data);
  report["denied"] = DeedTable(data.denied_calls);
  report["connections"] = DeedTable(data.connections);
  report["programs"] = ProgramTable(data);
  report["syscalls"] = SyscallRows(data);
  report["records"] = RecordList(data.records);
  report["database"] = RecordList(data.database);
  report["database_left_out"] = data.database_left_out;
  report["deeds_left_out"] = data.deeds_left_out;
  report["events"] = Table(data.sample, data.rows);
  return report;
}

}  // namespace carrel
