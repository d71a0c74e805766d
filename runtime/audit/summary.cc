#include "audit/summary.h"

#include <algorithm>

#include "audit/render.h"
#include "audit/scan.h"
#include "audit/syscall_names.h"

namespace carrel {
namespace {

constexpr size_t kMaxRefused = 200;

bool IsError(const AuditEvent& call) { return !ErrorOf(call).empty(); }

class Summarizer {
 public:
  Summarizer(const LogReader& log, LogSummary& out) : log_(log), out_(out) {}
  void Add(const AuditEvent& event);
  void Finish();

 private:
  void AddCall(const AuditEvent& event);
  ProcessStats& Process(const AuditEvent& event);

  const LogReader& log_;
  LogSummary& out_;
  SyscallTable calls_;
  std::unordered_map<uint32_t, size_t> processes_;  ///< host's tgid to index
};

ProcessStats& Summarizer::Process(const AuditEvent& event) {
  auto [at, fresh] = processes_.try_emplace(event.task.tgid, out_.processes.size());
  if (fresh)
    out_.processes.push_back({event.task.inner_tgid, std::string(event.task.comm), "", "", 0});
  return out_.processes[at->second];
}

void Summarizer::AddCall(const AuditEvent& event) {
  const bool error = IsError(event);
  calls_.Add(event);
  ++out_.calls;
  ++Process(event).calls;
  if (error) ++out_.errors;
  if ((event.flags & kCallDenied) == 0) return;
  ++out_.denied;
  std::string what = SyscallOf(event);
  for (const Datum& datum : event.data)
    if (datum.kind == kDataString) what += ' ' + Printable(datum.bytes);
  what += ": " + (error ? ErrorOf(event) : std::to_string(event.result));
  if (out_.refused.size() < kMaxRefused || out_.refused.contains(what)) ++out_.refused[what];
}

void Summarizer::Add(const AuditEvent& event) {
  const int64_t time = log_.RealTime(event.time_ns);
  if (out_.first_ns == 0) out_.first_ns = time;
  out_.last_ns = std::max(out_.last_ns, time + static_cast<int64_t>(event.duration_ns));
  switch (event.kind) {
    case EventKind::kCall:
      AddCall(event);
      break;
    case EventKind::kRecord:
      out_.records.emplace_back(event.record);
      out_.record_times.push_back(time);
      break;
    case EventKind::kTask:
      ++out_.tasks;
      if ((event.flags & kTaskThread) == 0) {
        processes_.erase(event.task.tgid);
        Process(event);
      }
      break;
    case EventKind::kExec: {
      ProcessStats& process = Process(event);
      process.comm = event.task.comm;
      process.program.clear();
      for (const Datum& datum : event.data) {
        if (datum.kind != kDataArgv) continue;
        std::string words(datum.bytes);
        if (!words.empty() && words.back() == '\0') words.pop_back();
        std::replace(words.begin(), words.end(), '\0', ' ');
        process.program = Printable(words);
      }
      if (process.program.empty()) process.program = Printable(event.file.path);
      break;
    }
    case EventKind::kExit:
      if (event.last) Process(event).ended = ExitText(event.group_code);
      break;
    case EventKind::kStop:
      ++out_.stops;
      break;
    case EventKind::kComm:
    case EventKind::kDigest:
      break;
  }
}

void Summarizer::Finish() { out_.syscalls = calls_.Sorted(); }

}  // namespace

void SyscallTable::Add(const AuditEvent& call) {
  const bool compat = (call.flags & kCallCompat) != 0;
  SyscallStats& stats = calls_[uint64_t{compat} << 32 | call.nr];
  ++stats.count;
  stats.time_ns += call.duration_ns;
  if (IsError(call)) ++stats.errors;
  if ((call.flags & kCallDenied) != 0) ++stats.denied;
}

void SyscallTable::Merge(const SyscallTable& other) {
  for (const auto& [key, more] : other.calls_) {
    SyscallStats& stats = calls_[key];
    stats.count += more.count;
    stats.errors += more.errors;
    stats.denied += more.denied;
    stats.time_ns += more.time_ns;
  }
}

std::vector<SyscallStats> SyscallTable::Sorted() const {
  std::vector<SyscallStats> all;
  for (const auto& [key, stats] : calls_) {
    all.push_back(stats);
    all.back().name = SyscallName(static_cast<uint32_t>(key), (key >> 32) != 0);
  }
  std::sort(all.begin(), all.end(), [](const SyscallStats& a, const SyscallStats& b) {
    return a.count != b.count ? a.count > b.count : a.name < b.name;
  });
  return all;
}

Result<void> CountSyscalls(LogReader& log, const EventFilter& filter, SyscallTable& table) {
  return ScanBlocks<SyscallTable>(
      log, filter, [](const AuditEvent& event, SyscallTable& part) { part.Add(event); },
      [&](const SyscallTable& part) { table.Merge(part); });
}

Result<LogSummary> Summarize(LogReader& log, const EventFilter& filter) {
  LogSummary out;
  Summarizer summarizer(log, out);
  auto done = ForEachEvent(log, filter, [&](const AuditEvent& event) { summarizer.Add(event); });
  if (!done) return std::move(done).error();
  summarizer.Finish();
  return out;
}

}  // namespace carrel
