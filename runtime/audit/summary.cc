#include "audit/summary.h"

#include <algorithm>
#include <unordered_map>

#include "audit/render.h"
#include "audit/syscall_names.h"

namespace carrel {
namespace {

constexpr size_t kMaxRefused = 200;

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
  std::unordered_map<uint64_t, SyscallStats> calls_;
  std::unordered_map<uint32_t, size_t> processes_;  ///< host's tgid to index
};

ProcessStats& Summarizer::Process(const AuditEvent& event) {
  auto [at, fresh] = processes_.try_emplace(event.task.tgid, out_.processes.size());
  if (fresh)
    out_.processes.push_back({event.task.inner_tgid, std::string(event.task.comm), "", "", 0});
  return out_.processes[at->second];
}

void Summarizer::AddCall(const AuditEvent& event) {
  const bool compat = (event.flags & kCallCompat) != 0;
  const bool denied = (event.flags & kCallDenied) != 0;
  const bool error = event.result < 0 && event.result >= -4095;
  SyscallStats& stats = calls_[uint64_t{compat} << 32 | event.nr];
  ++out_.calls;
  ++stats.count;
  stats.time_ns += event.duration_ns;
  ++Process(event).calls;
  if (error) ++stats.errors, ++out_.errors;
  if (!denied) return;
  ++stats.denied;
  ++out_.denied;
  std::string what = SyscallName(event.nr, compat);
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
      break;
  }
}

void Summarizer::Finish() {
  for (auto& [key, stats] : calls_) {
    stats.name = SyscallName(static_cast<uint32_t>(key), (key >> 32) != 0);
    out_.syscalls.push_back(stats);
  }
  std::sort(out_.syscalls.begin(), out_.syscalls.end(),
            [](const SyscallStats& a, const SyscallStats& b) {
              return a.count != b.count ? a.count > b.count : a.name < b.name;
            });
}

}  // namespace

Result<LogSummary> Summarize(LogReader& log, const EventFilter& filter) {
  LogSummary out;
  Summarizer summarizer(log, out);
  auto done = ForEachEvent(log, filter, [&](const AuditEvent& event) { summarizer.Add(event); });
  if (!done) return std::move(done).error();
  summarizer.Finish();
  return out;
}

}  // namespace carrel
