// carrel audit prove, export, profile, diff.
#include <fmt/format.h>

#include <cstdio>

#include "audit/behaviour.h"
#include "audit/public_log.h"
#include "audit/render.h"
#include "audit/summary.h"
#include "audit/syscall_names.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

Result<Behaviour> ReadBehaviour(const AuditOptions& options, const std::string& job) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(options.LogPathOf(job)));
  CARREL_ASSIGN(Behaviour behaviour, BehaviourOf(log));
  // A profile or a comparison from half a log would mislead.
  if (log.end() != LogEnd::kSealed)
    return Fault(job, "its log is not sealed" + (log.why().empty() ? "" : ": " + log.why()));
  return behaviour;
}

// The format of chrome://tracing and Perfetto: one complete event ("X") a call, microseconds.
OrderedJson ChromeEvent(const AuditEvent& event, const LogReader& log) {
  const double at = static_cast<double>(log.RealTime(event.time_ns)) / 1e3;
  OrderedJson out = EventJson(event, log);
  OrderedJson trace = {{"name", out.value("syscall", out.value("kind", std::string("?")))},
                       {"ph", event.kind == EventKind::kCall ? "X" : "i"},
                       {"ts", at},
                       {"pid", event.task.inner_tgid},
                       {"tid", event.task.inner_tid}};
  if (event.kind == EventKind::kCall) {
    trace["dur"] = static_cast<double>(event.duration_ns) / 1e3;
  } else {
    trace["s"] = "t";
  }
  for (const char* member : {"time", "pid", "tid", "duration_ns", "syscall"}) out.erase(member);
  trace["args"] = std::move(out);
  return trace;
}

Result<void> ExportChrome(LogReader& log, const EventFilter& filter) {
  puts("[");
  bool first = true;
  auto done = ForEachEvent(log, filter, [&](const AuditEvent& event) {
    if (!first) puts(",");
    first = false;
    const OrderedJson trace = ChromeEvent(event, log);
    fputs(trace.dump(-1, ' ', true, OrderedJson::error_handler_t::replace).c_str(), stdout);
  });
  puts("\n]");
  return done;
}

// The table of `strace -c`.
void PrintStraceTable(const LogSummary& summary) {
  uint64_t total = 0;
  for (const SyscallStats& stats : summary.syscalls) total += stats.time_ns;
  printf("%% time     seconds  usecs/call     calls    errors syscall\n");
  printf("------ ----------- ----------- --------- --------- ----------------\n");
  for (const SyscallStats& stats : summary.syscalls) {
    const double share =
        total == 0 ? 0 : 100.0 * static_cast<double>(stats.time_ns) / static_cast<double>(total);
    printf("%6.2f %11.6f %11llu %9llu %9s %s\n", share, static_cast<double>(stats.time_ns) / 1e9,
           static_cast<unsigned long long>(stats.time_ns / 1000 / stats.count),
           static_cast<unsigned long long>(stats.count),
           stats.errors == 0 ? "" : std::to_string(stats.errors).c_str(), stats.name.c_str());
  }
  printf("------ ----------- ----------- --------- --------- ----------------\n");
  printf("100.00 %11.6f %11s %9llu %9llu total\n", static_cast<double>(total) / 1e9, "",
         static_cast<unsigned long long>(summary.calls),
         static_cast<unsigned long long>(summary.errors));
}

}  // namespace

int AuditProve(const AuditOptions& options) {
  auto log = ReadPublicLog(options.state, options.state + "/public");
  if (!log) return PrintError(log.error());
  auto index = FindPublicRecord(*log, options.job);
  if (!index) return PrintError(BadInput(options.job, "the public log has no record of this job"));
  OrderedJson proof = OrderedJson::array();
  for (const Hash& hash : InclusionProof(log->leaves, *index)) proof.push_back(HexOf(hash));
  PrintJson({{"job", options.job},
             {"record", log->records[*index]},
             {"leaf", HexOf(log->leaves[*index])},
             {"index", *index},
             {"tree_size", log->leaves.size()},
             {"root", HexOf(log->head.frontier.Root())},
             {"proof", proof},
             {"key", log->head.key_id},
             {"signature", log->head.signature}});
  return 0;
}

int AuditExport(const AuditOptions& options) {
  AuditOptions lines = options;
  lines.json = options.format == "jsonl";
  lines.csv = options.format == "csv";
  if (lines.json || lines.csv) return AuditQuery(lines);
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error());
  auto log = LogReader::Open(options.LogPath());
  if (!log) return PrintError(log.error());
  if (options.format == "chrome") {
    auto done = ExportChrome(*log, *filter);
    if (!done) return PrintError(done.error());
  } else {
    filter->calls_only = true;
    auto summary = Summarize(*log, *filter);
    if (!summary) return PrintError(summary.error());
    PrintStraceTable(*summary);
  }
  return ReportEnd(*log);
}

int AuditProfile(const AuditOptions& options) {
  std::set<std::string> needed;
  for (const std::string& job : options.jobs) {
    auto behaviour = ReadBehaviour(options, job);
    if (!behaviour) return PrintError(behaviour.error());
    for (const auto& [name, count] : behaviour->syscalls)
      if (SyscallNumber(name)) needed.insert(name);
  }
  if (options.against.empty()) {
    puts(SeccompProfile(needed).dump(2).c_str());
    return 0;
  }
  auto present = ReadJsonFile(options.against);
  if (!present) return PrintError(present.error());
  const std::set<std::string> allowed = AllowedBy(*present);
  OrderedJson excess = OrderedJson::array(), missing = OrderedJson::array();
  for (const std::string& name : allowed)
    if (!needed.contains(name)) excess.push_back(name);
  for (const std::string& name : needed)
    if (!allowed.contains(name)) missing.push_back(name);
  PrintJson({{"needed", needed.size()},
             {"allowed", allowed.size()},
             {"excess", excess},
             {"missing", missing}});
  return 0;
}

int AuditDiff(const AuditOptions& options) {
  auto before = ReadBehaviour(options, options.jobs[0]);
  if (!before) return PrintError(before.error());
  auto after = ReadBehaviour(options, options.jobs[1]);
  if (!after) return PrintError(after.error());
  const auto differences = Compare(*before, *after);
  for (const Difference& difference : differences) {
    if (options.json) {
      PrintJson({{"kind", difference.kind},
                 {"name", Utf8(difference.name)},
                 {"before", difference.before},
                 {"after", difference.after}});
      continue;
    }
    const char* sign = difference.before == 0 ? "+" : difference.after == 0 ? "-" : " ";
    puts(fmt::format("{} {:<8} {:>9} {:>9}  {}", sign, difference.kind, difference.before,
                     difference.after, Printable(difference.name))
             .c_str());
  }
  return differences.empty() ? 0 : 1;
}

}  // namespace carrel
