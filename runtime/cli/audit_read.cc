#include <fcntl.h>
#include <fmt/format.h>

#include <cstdio>

#include "audit/bpf_objects.h"
#include "audit/public_log.h"
#include "audit/render.h"
#include "audit/summary.h"
#include "audit/verify.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

constexpr std::string_view kSuffix = ".carrel-log";

Result<std::vector<std::string>> JobsWithLogs(const std::string& state) {
  auto dir = OpenPath(state + "/audit", O_RDONLY | O_DIRECTORY);
  if (!dir && dir.error().code == ENOENT) return std::vector<std::string>{};
  if (!dir) return std::move(dir).error();
  CARREL_ASSIGN(auto names, ListDir(dir->get()));
  std::vector<std::string> jobs;
  for (const std::string& name : names)
    if (name.ends_with(kSuffix)) jobs.push_back(name.substr(0, name.size() - kSuffix.size()));
  return jobs;
}

// Cuts to a screen's width, by bytes: what is cut is text of the job.
std::string Cut(std::string text, size_t width) {
  if (text.size() <= width) return text;
  size_t end = width - 3;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

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
    puts(Cut("  " + ShortTime(summary.record_times[i]).substr(11) + "  " +
                 Printable(fmt::format("{:<10} {}", kind, members)),
             80)
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
    puts(Cut(fmt::format("{:7} {:10}  {:<13} {}", process.pid, process.calls, process.ended,
                         program),
             80)
             .c_str());
  }
}

void PrintSyscalls(const LogSummary& summary, size_t most) {
  printf("\nSyscalls\n      calls     errors     denied     time ms  name\n");
  for (size_t i = 0; i < summary.syscalls.size() && i < most; ++i) {
    const SyscallStats& stats = summary.syscalls[i];
    printf("%11llu %10llu %10llu %11.3f  %s\n", static_cast<unsigned long long>(stats.count),
           static_cast<unsigned long long>(stats.errors),
           static_cast<unsigned long long>(stats.denied), static_cast<double>(stats.time_ns) / 1e6,
           stats.name.c_str());
  }
  if (summary.syscalls.size() > most)
    printf("  ... and %zu more; `carrel audit stats` lists all\n", summary.syscalls.size() - most);
}

void PrintRefused(const LogSummary& summary) {
  if (summary.refused.empty()) return;
  printf("\nRefused\n");
  for (const auto& [what, count] : summary.refused)
    puts(Cut(fmt::format("{:11}  {}", count, what), 80).c_str());
}

OrderedJson VerdictJson(const LogVerdict& verdict, const std::string& job) {
  OrderedJson out = {{"job", job},
                     {"finding", FindingName(verdict.finding)},
                     {"events", verdict.events},
                     {"denied", verdict.denied},
                     {"blocks", verdict.blocks},
                     {"bytes", verdict.bytes},
                     {"head", verdict.head}};
  if (!verdict.why.empty()) out["why"] = verdict.why;
  return out;
}

int VerifyPublic(const AuditOptions& options) {
  auto log = ReadPublicLog(options.state, options.public_dir);
  if (!log) {
    printf("%s: altered: %s\n", Printable(options.public_dir).c_str(),
           Printable(log.error().ToString()).c_str());
    return 1;
  }
  printf("%s: whole, %zu records under root %s\n", Printable(options.public_dir).c_str(),
         log->records.size(), HexOf(log->head.frontier.Root()).c_str());
  return 0;
}

// A log that is whole by itself, but not the one whose seal was published, was swapped.
void CompareWithPublic(const std::string& state, const std::string& job, LogVerdict& verdict) {
  if (verdict.finding != LogFinding::kWhole) return;
  auto log = ReadPublicLog(state, state + "/public");
  if (!log) return;  // `verify --public` says what is wrong with it
  auto index = FindPublicRecord(*log, job);
  if (!index) return;
  auto record = ParseJson(log->records[*index], "public record");
  if (!record || record->value("seal", std::string()) == verdict.head) return;
  verdict.finding = LogFinding::kAltered;
  verdict.why = "the public record carries another seal: this is not the log that was published";
}

}  // namespace

void PrintJson(const OrderedJson& object) {
  puts(object.dump(-1, ' ', true, OrderedJson::error_handler_t::replace).c_str());
}

int AuditList(const AuditOptions& options) {
  auto jobs = JobsWithLogs(options.state);
  if (!jobs) return PrintError(jobs.error());
  for (const std::string& job : *jobs) {
    AuditOptions one = options;
    one.job = job;
    auto log = LogReader::Open(one.LogPath());
    if (!log) {
      PrintError(log.error());
      continue;
    }
    uint64_t calls = 0, denied = 0;
    for (;;) {
      auto more = log->NextBlock();
      if (!more || !*more) break;
      calls += log->header().calls;
      denied += log->header().denied;
    }
    const char* end = log->end() == LogEnd::kSealed     ? "sealed"
                      : log->end() == LogEnd::kUnsealed ? "open"
                                                        : "damaged";
    const std::string start = Rfc3339(log->start().value("time_ns", int64_t{0}));
    if (options.json)
      PrintJson({{"job", job},
                 {"start", start},
                 {"events", calls},
                 {"denied", denied},
                 {"bytes", log->offset()},
                 {"end", end}});
    else
      printf("%s  %10llu calls %6llu denied  %-7s  %s\n",
             (start.substr(0, 10) + ' ' + start.substr(11, 8)).c_str(),
             static_cast<unsigned long long>(calls), static_cast<unsigned long long>(denied), end,
             Printable(job).c_str());
  }
  return 0;
}

int AuditQuery(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error());
  auto log = LogReader::Open(options.LogPath());
  if (!log) return PrintError(log.error());
  if (options.csv) puts(EventCsvHead());
  auto done = ForEachEvent(*log, *filter, [&](const AuditEvent& event) {
    if (options.csv)
      puts(EventCsv(event, *log).c_str());
    else if (options.json)
      PrintJson(EventJson(event, *log));
    else
      puts(EventLine(event, *log).c_str());
  });
  if (!done) return PrintError(done.error());
  return ReportEnd(*log);
}

int AuditShow(const AuditOptions& options) {
  if (options.events || options.json) return AuditQuery(options);
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error());
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
  PrintSyscalls(*summary, 15);
  PrintRefused(*summary);
  return ReportEnd(*log);
}

int AuditStats(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error());
  filter->calls_only = true;
  auto log = LogReader::Open(options.LogPath());
  if (!log) return PrintError(log.error());
  auto summary = Summarize(*log, *filter);
  if (!summary) return PrintError(summary.error());
  if (!options.json) {
    PrintSyscalls(*summary, summary->syscalls.size());
    return ReportEnd(*log);
  }
  for (const SyscallStats& stats : summary->syscalls)
    PrintJson({{"syscall", stats.name},
               {"count", stats.count},
               {"errors", stats.errors},
               {"denied", stats.denied},
               {"time", static_cast<double>(stats.time_ns) / 1e9},
               {"time_ns", stats.time_ns}});
  return ReportEnd(*log);
}

int AuditVerify(const AuditOptions& options) {
  if (!options.public_dir.empty()) return VerifyPublic(options);
  std::vector<std::string> jobs{options.job};
  if (options.all) {
    auto all = JobsWithLogs(options.state);
    if (!all) return PrintError(all.error());
    jobs = std::move(*all);
  } else if (options.job.empty()) {
    return PrintError(BadInput("JOB", "say which job, or --all"));
  }
  int status = 0;
  for (const std::string& job : jobs) {
    AuditOptions one = options;
    one.job = job;
    auto verdict = VerifyLog(options.state, one.LogPath(), job);
    if (!verdict) return PrintError(verdict.error());
    CompareWithPublic(options.state, job, *verdict);
    if (verdict->finding != LogFinding::kWhole) status = 1;
    if (options.json) {
      PrintJson(VerdictJson(*verdict, job));
    } else {
      printf("%s: %s, %llu events in %llu blocks%s%s\n", Printable(job).c_str(),
             FindingName(verdict->finding), static_cast<unsigned long long>(verdict->events),
             static_cast<unsigned long long>(verdict->blocks), verdict->why.empty() ? "" : ": ",
             Printable(verdict->why).c_str());
    }
  }
  return status;
}

int AuditUnload(const AuditOptions& options) {
  auto removed = RemoveBpfObjects(options.state, false);
  if (!removed) return PrintError(removed.error());
  printf("%d version%s detached\n", *removed, *removed == 1 ? "" : "s");
  return 0;
}

}  // namespace carrel
