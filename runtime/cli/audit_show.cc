// carrel audit show, stats.
#include <fmt/format.h>

#include <algorithm>
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

// "label     text", wrapped to the screen.
void PrintFact(const char* label, const std::string& text) {
  if (text.empty()) return;
  constexpr size_t kIndent = 10;
  const size_t columns = std::max<size_t>(ScreenColumns() - kIndent, 30);
  std::string rest = Printable(text);
  for (bool first = true; !rest.empty(); first = false) {
    size_t end = rest.size() <= columns ? rest.size() : rest.rfind(' ', columns);
    if (end == std::string::npos || end == 0) end = columns;
    printf("%-*s%s\n", static_cast<int>(kIndent), first ? label : "", rest.substr(0, end).c_str());
    rest.erase(0, rest.size() > end && rest[end] == ' ' ? end + 1 : end);
  }
}

std::string TextOf(const Json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::string Joined(const Json& object, const char* key, const char* between) {
  std::string text;
  auto at = object.find(key);
  if (at == object.end() || !at->is_array()) return text;
  for (const Json& one : *at)
    if (one.is_string()) text += (text.empty() ? "" : between) + one.get<std::string>();
  return text;
}

// What ran, for whom, and under which permissions.
void PrintDecision(const Json& record) {
  const Json job = record.value("job", Json::object());
  const Json decision = record.value("decision", Json::object());
  if (!job.is_object() || !decision.is_object()) return;
  const std::string role = TextOf(decision, "role");
  PrintFact("Action", TextOf(job, "workspace") + "/" + TextOf(job, "action") + " of the project " +
                          TextOf(decision, "project") + ", by " + TextOf(job, "user") +
                          (role.empty() ? "" : " (" + role + ")"));
  PrintFact("Runs", TextOf(job, "image") + " " + Joined(job, "args", " "));
  PrintFact("Code", TextOf(job, "repo_url") + " at " + TextOf(job, "commit"));
  const Json database = decision.value("database", Json());
  PrintFact("Database", database.is_object() ? TextOf(database, "name") +
                                                   "; opt-outs: " + TextOf(decision, "opt_outs")
                                             : "none");
  const auto allowed = decision.find("allowed");
  PrintFact(allowed != decision.end() && *allowed == true ? "Allowed" : "REFUSED",
            Joined(decision, "reasons", "; "));
}

// How it ended.
void PrintEndOf(const Json& record) {
  const auto is = [&](const char* key) {
    const auto at = record.find(key);
    return at != record.end() && *at == true;
  };
  std::string text;
  if (const auto code = record.find("exit_code"); code != record.end() && code->is_number())
    text = "exit status " + code->dump();
  const auto kills = record.find("oom_kills");  // what `carrel exec` counts
  if (is("oom_killed") || (kills != record.end() && kills->is_number() && *kills > 0))
    text += ", out of memory";
  if (is("timed_out")) text += ", out of time";
  if (is("cancelled")) text += ", cancelled";
  PrintFact("Ended", text);
  if (!is("refused")) PrintFact("Error", TextOf(record, "error"));
}

// What `carrel exec` ran.
void PrintExec(const Json& record) {
  const std::string image = TextOf(record, "image");
  PrintFact("Runs", (image.empty() ? "in " + TextOf(record, "rootfs") + ":" : image) + " " +
                        Joined(record, "argv", " "));
}

// What left, and at which level.
void PrintOutputs(const Json& record) {
  const auto files = record.find("files");
  if (files == record.end() || !files->is_array()) return;
  for (const Json& file : *files) {
    if (!file.is_object()) continue;
    const std::string withheld = TextOf(file, "withheld");
    PrintFact("Output", TextOf(file, "path") + "  " + TextOf(file, "level") +
                            (withheld.empty() ? "" : ", withheld from level 4: " + withheld));
  }
}

void PrintFacts(const LogSummary& summary) {
  for (const std::string& line : summary.records) {
    const auto record = ParseJson(line, "record");
    if (!record || !record->is_object()) continue;
    const std::string kind = TextOf(*record, "kind");
    if (kind == "decision") PrintDecision(*record);
    if (kind == "exec") PrintExec(*record);
    if (kind == "outputs") PrintOutputs(*record);
    if (kind == "end") PrintEndOf(*record);
  }
}

void PrintRecords(const LogSummary& summary) {
  if (summary.records.empty()) return;
  printf("\nRecords (in full: --json --kind record)\n");
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

// Of a log that was cut off before its first event, the time of its making is known, if any is.
void PrintTimes(const LogReader& log, const LogSummary& summary) {
  if (summary.first_ns == 0) {
    const auto made = log.start().find("time_ns");
    const bool known = made != log.start().end() && made->is_number_integer();
    printf("From      %s\n", known ? ShortTime(made->get<int64_t>()).c_str() : "not known");
    return;
  }
  printf("From      %s\n", ShortTime(summary.first_ns).c_str());
  printf("To        %s (%.3f s)\n", ShortTime(summary.last_ns).c_str(),
         static_cast<double>(summary.last_ns - summary.first_ns) / 1e9);
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
  PrintFacts(*summary);
  PrintTimes(*log, *summary);
  printf("Log       %s, %llu bytes, head %.16s...\n",
         log->Standing() == LogStanding::kSealed
             ? "sealed"
             : (std::string("NOT sealed (") + StandingName(log->Standing()) + ")").c_str(),
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
