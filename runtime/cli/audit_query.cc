// carrel audit query, export, tail.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "audit/render.h"
#include "audit/report/export_schema.h"
#include "audit/report_data.h"
#include "audit/scan.h"
#include "audit/summary.h"
#include "base/clock.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

enum class Form { kTable, kJson, kCsv, kTrace };

void Render(Form form, size_t columns, const AuditEvent& event, const LogReader& log,
            std::string& out) {
  switch (form) {
    case Form::kTable:
      out += EventLine(event, log, columns);
      break;
    case Form::kJson:
      AppendEventJson(event, log, out);
      break;
    case Form::kCsv:
      out += EventCsv(event, log);
      break;
    case Form::kTrace:
      if (event.kind == EventKind::kExec) {
        AppendTraceName(event, out);
        out += ",\n";
      }
      AppendTraceJson(event, log, out);
      out += ',';
      break;
  }
  out += '\n';
}

void Print(const std::string& text) { fwrite(text.data(), 1, text.size(), stdout); }

// The line above the events of each of several jobs.
std::string JobHead(const JobInfo& job) {
  std::string line = "-- " + Rfc3339(job.start_ns).substr(0, 10) + "  " + job.id;
  if (!job.project.empty()) line += "  " + job.project;
  if (!job.workspace.empty()) line += "  " + job.workspace + '/' + job.action;
  return Printable(line);
}

Result<int> PrintLog(const JobInfo& job, const EventFilter& filter, Form form, bool headed) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(job.path));
  const size_t columns = RowColumns();
  CARREL_TRY(ScanBlocks<std::string>(
      log, filter,
      [&](const AuditEvent& event, std::string& out) { Render(form, columns, event, log, out); },
      [&](const std::string& text) {
        if (!headed && !text.empty()) Print(Fit(JobHead(job), columns) + '\n');
        headed |= !text.empty();
        Print(text);
      }));
  return ReportEnd(log);
}

// A question about many logs goes on after one that is damaged, and its status says so.
int PrintLogs(const AuditOptions& options, const EventFilter& filter, Form form) {
  int status = 0;
  auto jobs = SelectJobs(options, &status);
  if (!jobs) return PrintError(jobs.error());
  if (form == Form::kCsv) puts(EventCsvHead());
  if (form == Form::kTable) puts(EventLineHead(RowColumns()).c_str());
  for (const JobInfo& job : *jobs) {
    auto printed = PrintLog(job, filter, form, form != Form::kTable || options.jobs.size() == 1);
    const int one = printed ? *printed : PrintError(printed.error());
    if (one != 0) status = one;
  }
  return status;
}

// The table of `strace -c`.
void PrintStraceTable(const std::vector<SyscallStats>& all) {
  SyscallStats total;
  for (const SyscallStats& stats : all) {
    total.count += stats.count;
    total.errors += stats.errors;
    total.time_ns += stats.time_ns;
  }
  auto seconds = [](uint64_t ns) { return static_cast<double>(ns) / 1e9; };
  auto errors = [](uint64_t n) { return n == 0 ? std::string() : std::to_string(n); };
  const std::string line = "------ ----------- ----------- --------- --------- ----------------\n";
  Print("% time     seconds  usecs/call     calls    errors syscall\n" + line);
  for (const SyscallStats& stats : all)
    Print(
        fmt::format("{:6.2f} {:11.6f} {:11} {:9} {:>9} {}\n",
                    total.time_ns == 0 ? 0 : 100 * seconds(stats.time_ns) / seconds(total.time_ns),
                    seconds(stats.time_ns), stats.time_ns / 1000 / stats.count, stats.count,
                    errors(stats.errors), stats.name));
  Print(line + fmt::format("100.00 {:11.6f} {:11} {:9} {:>9} total\n", seconds(total.time_ns), "",
                           total.count, errors(total.errors)));
}

int ExportSummary(const AuditOptions& options, EventFilter filter) {
  filter.kinds = KindBit(EventKind::kCall);
  int status = 0;
  auto all = CountJobs(options, filter, &status);
  if (!all) return PrintError(all.error());
  std::sort(all->begin(), all->end(), [](const SyscallStats& a, const SyscallStats& b) {
    return a.time_ns > b.time_ns;  // as strace does
  });
  PrintStraceTable(*all);
  return status;
}

// Prints what a log holds from row `skip` on, as far as it goes.
Result<void> PrintFrom(LogReader& log, const EventFilter& filter, Form form, uint64_t skip) {
  const size_t columns = RowColumns();
  AuditEvent event;
  for (;;) {
    CARREL_ASSIGN(const bool more, log.NextBlock());
    if (!more) return {};
    if (skip >= log.header().rows) {
      skip -= log.header().rows;
      continue;
    }
    std::string text;
    for (;;) {
      CARREL_ASSIGN(const bool row, log.NextEvent(event));
      if (!row) break;
      if (skip > 0)
        --skip;
      else if (Matches(event, log, filter))
        Render(form, columns, event, log, text);
    }
    Print(text);
  }
}

Result<int> Tail(const AuditOptions& options) {
  CARREL_ASSIGN(const EventFilter filter, FilterOf(options));
  CARREL_ASSIGN(const uint64_t rows, CountRows(options.LogPath()));
  CARREL_ASSIGN(LogReader log, LogReader::Open(options.LogPath()));
  const Form form = options.json ? Form::kJson : Form::kTable;
  if (form == Form::kTable) puts(EventLineHead(RowColumns()).c_str());
  CARREL_TRY(PrintFrom(log, filter, form, rows - std::min<uint64_t>(rows, options.lines)));
  const auto goes_on = [&log] {
    const LogStanding standing = log.Standing();
    return standing == LogStanding::kRunning || standing == LogStanding::kWaiting;
  };
  while (options.follow && goes_on()) {
    fflush(stdout);
    ::usleep(100'000);
    log.Resume();
    CARREL_TRY(PrintFrom(log, filter, form, 0));
  }
  return ReportEnd(log);
}

}  // namespace

int AuditQuery(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  if (options.kinds.empty()) filter->kinds = KindBit(EventKind::kCall);
  return PrintLogs(options, *filter,
                   options.csv    ? Form::kCsv
                   : options.json ? Form::kJson
                                  : Form::kTable);
}

int AuditEvents(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  return PrintLogs(options, *filter, options.json ? Form::kJson : Form::kTable);
}

int AuditExport(const AuditOptions& options) {
  if (options.schema) {
    Print(kExportSchema);
    return 0;
  }
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  if (options.format == "summary") return ExportSummary(options, *filter);
  if (options.format == "csv") return PrintLogs(options, *filter, Form::kCsv);
  if (options.format == "jsonl") return PrintLogs(options, *filter, Form::kJson);
  Print("[\n");
  const int status = PrintLogs(options, *filter, Form::kTrace);
  // Ends the array without a comma, whether there were events or not.
  Print("{\"name\":\"carrel\",\"ph\":\"M\",\"pid\":0,\"args\":{}}\n]\n");
  return status;
}

int AuditTail(const AuditOptions& options) {
  auto status = Tail(options);
  return status ? *status : PrintError(status.error());
}

}  // namespace carrel
