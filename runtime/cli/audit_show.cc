// carrel audit show, stats.
#include <fmt/format.h>

#include <cstdio>

#include "audit/render.h"
#include "audit/summary.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

std::string ShortTime(int64_t ns) {
  std::string text = Rfc3339(ns);
  return text.substr(0, 10) + ' ' + text.substr(11, 12);
}

void PrintRecords(const LogSummary& summary) {
  if (summary.records.empty()) return;
  printf("\nRecords\n");
  for (size_t i = 0; i < summary.records.size(); ++i) {
    auto record = ParseJson(summary.records[i], "record");
    if (!record || !record->is_object()) continue;
    const std::string kind = record->value("kind", std::string("?"));
    record->erase("kind");
    std::string members;
    for (auto& [key, value] : record->items())
      members += key + '=' + (value.is_string() ? value.get<std::string>() : value.dump()) + ' ';
    puts(Fit("  " + ShortTime(summary.record_times[i]).substr(11) + "  " +
                 Printable(fmt::format("{:<10} {}", kind, members)),
             ScreenColumns())
             .c_str());
  }
}

void PrintProcesses(const LogSummary& summary) {
  constexpr size_t kShown = 25;
  printf("\nProcesses (%zu; %llu tasks)\n    pid      calls  end           program\n",
         summary.processes.size(), static_cast<unsigned long long>(summary.tasks));
  size_t shown = 0;
  for (const ProcessStats& process : summary.processes) {
    if (shown++ == kShown) {
      printf("  ... and %zu more\n", summary.processes.size() - kShown);
      break;
    }
    const std::string program =
        process.program.empty() ? '(' + Printable(process.comm) + ')' : process.program;
    puts(Fit(fmt::format("{:7} {:10}  {:<13} {}", process.pid, process.calls, process.ended,
                         program),
             ScreenColumns())
             .c_str());
  }
}

void PrintSyscalls(const std::vector<SyscallStats>& all, size_t most) {
  printf("\nSyscalls\n      calls     errors     denied     time ms  name\n");
  for (size_t i = 0; i < all.size() && i < most; ++i) {
    const SyscallStats& stats = all[i];
    printf("%11llu %10llu %10llu %11.3f  %s\n", static_cast<unsigned long long>(stats.count),
           static_cast<unsigned long long>(stats.errors),
           static_cast<unsigned long long>(stats.denied), static_cast<double>(stats.time_ns) / 1e6,
           stats.name.c_str());
  }
  if (all.size() > most)
    printf("  ... and %zu more; `carrel audit stats` lists all\n", all.size() - most);
}

void PrintRefused(const LogSummary& summary) {
  if (summary.refused.empty()) return;
  printf("\nRefused\n");
  for (const auto& [what, count] : summary.refused)
    puts(Fit(fmt::format("{:11}  {}", count, what), ScreenColumns()).c_str());
}

}  // namespace

int AuditShow(const AuditOptions& options) {
  if (options.events || options.json) return AuditEvents(options);
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  auto log = LogReader::Open(options.LogPath());
  if (!log) return PrintError(log.error());
  auto summary = Summarize(*log, *filter);
  if (!summary) return PrintError(summary.error());
  printf("Job       %s\n", Printable(log->job()).c_str());
  printf("From      %s\n", ShortTime(summary->first_ns).c_str());
  printf("To        %s (%.3f s)\n", ShortTime(summary->last_ns).c_str(),
         static_cast<double>(summary->last_ns - summary->first_ns) / 1e9);
  printf("Log       %s, %llu bytes, head %.16s...\n",
         log->end() == LogEnd::kSealed ? "sealed" : "NOT sealed",
         static_cast<unsigned long long>(log->offset()), log->head().c_str());
  printf("Calls     %llu, %llu with an error, %llu denied",
         static_cast<unsigned long long>(summary->calls),
         static_cast<unsigned long long>(summary->errors),
         static_cast<unsigned long long>(summary->denied));
  if (log->end() == LogEnd::kSealed)
    printf(", %llu lost", static_cast<unsigned long long>(log->seal().counts.lost));
  printf("\n");
  if (summary->stops != 0)
    printf("Held      %llu times, for the log to catch up\n",
           static_cast<unsigned long long>(summary->stops));
  PrintRecords(*summary);
  PrintProcesses(*summary);
  PrintSyscalls(summary->syscalls, 15);
  PrintRefused(*summary);
  return ReportEnd(*log);
}

Result<std::vector<SyscallStats>> CountJobs(const AuditOptions& options, const EventFilter& filter,
                                            int* status) {
  CARREL_ASSIGN(const auto jobs, SelectJobs(options, status));
  SyscallTable table;
  for (const JobInfo& job : jobs) {
    auto log = LogReader::Open(job.path);
    auto counted = log ? CountSyscalls(*log, filter, table) : Result<void>(log.error());
    const int one = counted ? ReportEnd(*log) : PrintError(counted.error());
    if (one != 0) *status = one;
  }
  return table.Sorted();
}

int AuditStats(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  filter->kinds = KindBit(EventKind::kCall);
  int status = 0;
  auto all = CountJobs(options, *filter, &status);
  if (!all) return PrintError(all.error());
  if (!options.json) {
    PrintSyscalls(*all, all->size());
    return status;
  }
  for (const SyscallStats& stats : *all)
    PrintJson({{"syscall", stats.name},
               {"count", stats.count},
               {"errors", stats.errors},
               {"denied", stats.denied},
               {"time", static_cast<double>(stats.time_ns) / 1e9},
               {"time_ns", stats.time_ns}});
  return status;
}

}  // namespace carrel
