#include "audit/report_data.h"

#include <algorithm>
#include <random>

#include "audit/oddities.h"
#include "audit/query.h"
#include "audit/render.h"
#include "audit/structures.h"
#include "audit/tables/flag_names.h"

namespace carrel {
namespace {

// What is kept while reading. A log with more names than this has them counted, not listed.
constexpr size_t kMaxNames = 200'000, kMaxDeeds = 5'000, kMaxProcesses = 50'000,
                 kMaxDatabase = 2'000, kMaxRecords = 500;

bool IsDatabaseRecord(const std::string& kind) {
  return kind.starts_with("gateway") || kind.starts_with("statement");
}

// Which events go into the sample: the beginning, the end, all that is out of the ordinary up to a
// number, and of the rest each with the same chance.
class Sampler {
 public:
  explicit Sampler(uint64_t rows) : rows_(rows) {}

  bool Wants(const AuditEvent& event, uint64_t index) {
    if (index < kEnds || index + kEnds >= rows_) return true;
    if (event.kind == EventKind::kRecord) return false;  // they have a table of their own
    const bool odd = event.kind != EventKind::kCall || (event.flags & kCallDenied) != 0;
    if (odd && odd_ < kOdd) return ++odd_, true;
    const bool error = event.kind == EventKind::kCall && event.result < 0;
    if (error && errors_ < kErrors && random_() % 4 == 0) return ++errors_, true;
    return rows_ <= kSpread || random_() % rows_ < kSpread;
  }

 private:
  static constexpr uint64_t kEnds = 200, kOdd = 600, kErrors = 300, kSpread = 2000;
  uint64_t rows_, odd_ = 0, errors_ = 0;
  std::mt19937_64 random_{1};  // the same log gives the same report
};

class Gatherer {
 public:
  Gatherer(const LogReader& log, uint64_t rows, ReportData& out)
      : log_(log), sampler_(rows), out_(out) {
    out_.job = log.job();
  }
  void Add(const AuditEvent& event);

 private:
  void AddCall(const AuditEvent& event, int64_t at);
  void AddFiles(const AuditEvent& event, int64_t at, const std::string& error);
  void AddDenied(const AuditEvent& event, int64_t at);
  void AddRecord(const AuditEvent& event, int64_t at);
  void AddExec(const AuditEvent& event, int64_t at);
  void AddSample(const AuditEvent& event, int64_t at);
  size_t Process(const AuditEvent& event, int64_t at);
  ReportFile* File(std::string_view path, const AuditEvent& event, int64_t at);
  void Count(std::map<std::string, ReportDeed>& deeds, const std::string& what,
             const AuditEvent& event, int64_t at, const std::string& outcome = "");

  const LogReader& log_;
  Sampler sampler_;
  ReportData& out_;
  std::unordered_map<uint32_t, size_t> by_tgid_, by_tid_;  ///< to an index of processes
};

size_t Gatherer::Process(const AuditEvent& event, int64_t at) {
  if (auto found = by_tgid_.find(event.task.tgid); found != by_tgid_.end()) return found->second;
  if (out_.processes.size() == kMaxProcesses) {
    ++out_.processes_left_out;
    return kMaxProcesses - 1;
  }
  ReportProcess process;
  process.pid = event.task.inner_tgid;
  process.comm = Printable(event.task.comm);
  process.start_ns = process.end_ns = at;
  if (auto parent = by_tid_.find(event.task.parent); parent != by_tid_.end())
    process.parent = static_cast<int64_t>(parent->second);
  by_tgid_[event.task.tgid] = by_tid_[event.task.tid] = out_.processes.size();
  out_.processes.push_back(std::move(process));
  return out_.processes.size() - 1;
}

ReportFile* Gatherer::File(std::string_view path, const AuditEvent& event, int64_t at) {
  std::string name = Printable(path);
  if (name != path) Count(out_.odd[kOddName], name, event, at);
  if (out_.files.size() >= kMaxNames && !out_.files.contains(name)) {
    ++out_.files_left_out;
    return nullptr;
  }
  auto [found, fresh] = out_.files.try_emplace(std::move(name));
  if (fresh) {
    found->second.first_ns = at;
    found->second.comm = Printable(event.task.comm);
  }
  return &found->second;
}

void Gatherer::Count(std::map<std::string, ReportDeed>& deeds, const std::string& what,
                     const AuditEvent& event, int64_t at, const std::string& outcome) {
  if (deeds.size() >= kMaxDeeds && !deeds.contains(what)) {
    ++out_.deeds_left_out;
    return;
  }
  auto [deed, fresh] = deeds.try_emplace(what);
  ++deed->second.count;
  if (!fresh) return;
  deed->second.first_ns = at;
  deed->second.pid = event.task.inner_tgid;
  deed->second.comm = Printable(event.task.comm);
  deed->second.outcome = outcome;
}

// Calls that differ in their pointers alone are one.
void Gatherer::AddDenied(const AuditEvent& event, int64_t at) {
  const bool compat = (event.flags & kCallCompat) != 0;
  std::string what = SyscallOf(event) + '(';
  const size_t count = compat ? 6 : ArgumentCount(event.nr);
  for (size_t i = 0; i < count; ++i) {
    std::string text;
    for (const Datum& datum : event.data)
      if (datum.arg == i && datum.kind == kDataString)
        text = Quoted(datum.bytes);
      else if (datum.arg == i && datum.kind == kDataBytes)
        text = StructureText(event.nr, event.args, i, datum.bytes);
    if (text.empty() && !compat) text = ArgumentText(event.nr, i, event.args);
    if (text.empty()) text = event.args[i] < 65536 ? std::to_string(event.args[i]) : "...";
    what += (i > 0 ? ", " : "") + text;
  }
  const bool killed = (event.flags & kCallNoReturn) != 0;
  Count(out_.denied_calls, what + ')', event, at, killed ? "killed" : ErrorOf(event));
}

void Gatherer::AddFiles(const AuditEvent& event, int64_t at, const std::string& error) {
  if (event.has_file) {
    if (ReportFile* file = File(event.file.path, event, at)) {
      ++(UseOf(event) == FileUse::kWrite ? file->written : file->read);
      file->outside |= (event.file.flags & kDataOutside) != 0;
    }
    return;
  }
  const bool opens = SyscallOf(event).starts_with("open");
  const bool changes = ChangesNames(event);
  if (!opens && !changes) return;
  for (const Datum& datum : event.data) {
    if (datum.kind != kDataString || (datum.flags & kDataFault) != 0) continue;
    ReportFile* file = File(datum.bytes, event, at);
    if (file == nullptr) continue;
    if (error.empty()) {
      ++file->changed;
    } else {
      ++file->failed;
      file->error = SyscallOf(event) + ' ' + error;
    }
  }
}

void Gatherer::AddCall(const AuditEvent& event, int64_t at) {
  const std::string error = ErrorOf(event);
  const bool denied = (event.flags & kCallDenied) != 0;
  ReportProcess& process = out_.processes[Process(event, at)];
  process.end_ns = std::max(process.end_ns, at + static_cast<int64_t>(event.duration_ns));
  ++process.calls;
  ++out_.calls;
  if (!error.empty()) ++out_.errors, ++process.errors;
  if (denied) ++out_.denied, ++process.denied;
  if ((event.flags & kCallNoReturn) != 0) ++out_.unfinished;
  out_.time_line.Add(at, ClassOf(event), !error.empty(), denied);
  out_.syscalls.Add(event);
  if (denied) AddDenied(event, at);
  if (!event.data.empty() || event.has_file) AddFiles(event, at, error);
  for (const Datum& datum : event.data) {
    if (datum.kind != kDataSockaddr || (datum.flags & kDataFault) != 0) continue;
    const std::string outcome = !error.empty() ? error : denied ? "denied" : "ok";
    Count(out_.connections,
          SyscallOf(event) + ' ' + Printable(SocketAddress(datum.bytes)) + ' ' + outcome, event, at,
          outcome);
  }
  for (const Oddity& oddity : OdditiesOf(event))
    Count(out_.odd[oddity.kind], oddity.what, event, at, error);
}

void Gatherer::AddExec(const AuditEvent& event, int64_t at) {
  ReportProcess& process = out_.processes[Process(event, at)];
  std::string words;
  for (const Datum& datum : event.data)
    if (datum.kind == kDataArgv)
      for (const std::string& arg : SplitArgv(datum.bytes))
        words += (words.empty() ? "" : " ") + Printable(arg);
  const std::string path = event.has_file ? Printable(event.file.path) : "?";
  process.comm = Printable(event.task.comm);
  process.program = words.empty() ? path : words;
  Count(out_.programs, path + '\n' + words, event, at);
  for (const Oddity& oddity : OdditiesOf(event))
    Count(out_.odd[oddity.kind], oddity.what, event, at);
}

void Gatherer::AddRecord(const AuditEvent& event, int64_t at) {
  auto json = ParseJson(event.record, "record");
  if (!json || !json->is_object()) return;
  ReportRecord record{at, json->value("kind", std::string("?")), {}};
  json->erase("kind");
  record.members = std::move(*json);
  const bool database = IsDatabaseRecord(record.kind);
  std::vector<ReportRecord>& to = database ? out_.database : out_.records;
  if (to.size() < (database ? kMaxDatabase : kMaxRecords))
    to.push_back(std::move(record));
  else
    ++out_.database_left_out;
}

void Gatherer::AddSample(const AuditEvent& event, int64_t at) {
  const bool call = event.kind == EventKind::kCall;
  out_.sample.push_back({at, event.task.inner_tgid, event.task.inner_tid,
                         Printable(event.task.comm), call ? SyscallOf(event) : KindName(event.kind),
                         call ? ClassName(ClassOf(event)) : "life", EventText(event),
                         call && (event.flags & kCallDenied) != 0 ? "denied" : ErrorOf(event),
                         event.duration_ns});
}

void Gatherer::Add(const AuditEvent& event) {
  const int64_t time = log_.RealTime(event.time_ns);
  if (out_.rows == 0) out_.start_ns = time;
  const int64_t at = std::max<int64_t>(0, time - out_.start_ns);
  out_.end_ns = std::max(out_.end_ns, time + static_cast<int64_t>(event.duration_ns));
  if (event.kind != EventKind::kRecord && sampler_.Wants(event, out_.rows)) AddSample(event, at);
  ++out_.rows;
  switch (event.kind) {
    case EventKind::kCall:
      return AddCall(event, at);
    case EventKind::kRecord:
      return AddRecord(event, at);
    case EventKind::kTask:
      ++out_.tasks;
      if ((event.flags & kTaskThread) == 0) by_tgid_.erase(event.task.tgid);
      by_tid_[event.task.tid] = Process(event, at);
      if ((event.flags & kTaskThread) != 0) ++out_.processes[by_tid_[event.task.tid]].threads;
      return;
    case EventKind::kExec:
      return AddExec(event, at);
    case EventKind::kExit: {
      ReportProcess& process = out_.processes[Process(event, at)];
      process.end_ns = std::max(process.end_ns, at);
      if (event.last) process.ended = ExitText(event.group_code);
      if ((event.flags & kExitOom) != 0) Count(out_.odd[kOddMemoryOut], process.comm, event, at);
      return;
    }
    case EventKind::kStop:
      ++out_.stops;
      if ((event.flags & kStopKilled) != 0) Count(out_.odd[kOddNotHeld], "", event, at);
      return;
    case EventKind::kDigest:
      if (out_.digests.size() < kMaxDeeds)
        out_.digests[Printable(event.file.path)] = DigestText(event);
      return;
    case EventKind::kComm:
      return;
  }
}

}  // namespace

void TimeLine::Add(int64_t at_ns, CallClass call_class, bool error, bool denied) {
  while (at_ns / width_ns_ >= static_cast<int64_t>(kMaxBins)) {
    width_ns_ *= 2;
    for (size_t i = 0; i < bins_.size(); ++i) {
      Bin& to = bins_[i / 2];
      const Bin from = bins_[i];
      if (i % 2 == 0) to = Bin{};
      for (size_t k = 0; k < kCallClasses; ++k) to.calls[k] += from.calls[k];
      to.errors += from.errors;
      to.denied += from.denied;
    }
    bins_.resize((bins_.size() + 1) / 2);
  }
  const auto index = static_cast<size_t>(at_ns / width_ns_);
  if (index >= bins_.size()) bins_.resize(index + 1);
  ++bins_[index].calls[static_cast<size_t>(call_class)];
  if (error) ++bins_[index].errors;
  if (denied) ++bins_[index].denied;
}

Result<ReportData> GatherReport(LogReader& log, uint64_t rows) {
  ReportData data;
  Gatherer gatherer(log, rows, data);
  auto done = ForEachEvent(log, {}, [&](const AuditEvent& event) { gatherer.Add(event); });
  if (!done) return std::move(done).error();
  return data;
}

Result<uint64_t> CountRows(const std::string& path) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(path));
  uint64_t rows = 0;
  for (;;) {
    CARREL_ASSIGN(const bool more, log.NextBlock());
    if (!more) return rows;
    rows += log.header().rows;
  }
}

}  // namespace carrel
