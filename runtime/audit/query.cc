#include "audit/query.h"

#include <algorithm>

#include "audit/block_filter.h"
#include "audit/render.h"

namespace carrel {
namespace {

bool PathMatches(const AuditEvent& event, const std::string& prefix) {
  if (event.has_file && event.file.path.starts_with(prefix)) return true;
  return std::any_of(event.data.begin(), event.data.end(), [&](const Datum& datum) {
    return (datum.kind == kDataString || datum.kind == kDataFilename) &&
           datum.bytes.starts_with(prefix);
  });
}

bool AddressMatches(const AuditEvent& event, const std::string& prefix) {
  return std::any_of(event.data.begin(), event.data.end(), [&](const Datum& datum) {
    return datum.kind == kDataSockaddr && SocketAddress(datum.bytes).starts_with(prefix);
  });
}

// What the header's index says.
bool FilterMayMatch(std::string_view index, const EventFilter& filter) {
  if (filter.path && !FilterMayHavePath(index, *filter.path)) return false;
  if (filter.pid && !FilterMayHaveTask(index, *filter.pid)) return false;
  if (filter.comm && !FilterMayHaveComm(index, *filter.comm)) return false;
  return !filter.address || FilterMayHaveAddress(index);
}

}  // namespace

bool BlockMayMatch(const LogReader& log, const EventFilter& filter) {
  const BlockHeader& header = log.header();
  if (filter.since_ns && log.RealTime(header.last_ns) < *filter.since_ns) return false;
  if (filter.until_ns && log.RealTime(header.first_ns) > *filter.until_ns) return false;
  if (filter.denied && header.denied == 0) return false;
  if ((filter.errors || filter.error) && header.failed == 0) return false;
  if (!FilterMayMatch(header.filter, filter)) return false;
  if (header.calls == 0 && filter.wanted() == KindBit(EventKind::kCall)) return false;
  if (header.calls == header.rows && (filter.wanted() & KindBit(EventKind::kCall)) == 0)
    return false;
  if (filter.syscalls.empty()) return true;
  return std::any_of(filter.syscalls.begin(), filter.syscalls.end(), [&](uint32_t nr) {
    return std::binary_search(header.numbers.begin(), header.numbers.end(), nr);
  });
}

bool Matches(const AuditEvent& event, const LogReader& log, const EventFilter& filter) {
  if ((filter.wanted() & KindBit(event.kind)) == 0) return false;
  if (filter.denied && (event.flags & kCallDenied) == 0) return false;
  if (filter.errors && ErrorOf(event).empty()) return false;
  if (!filter.syscalls.empty() &&
      ((event.flags & kCallCompat) != 0 || std::find(filter.syscalls.begin(), filter.syscalls.end(),
                                                     event.nr) == filter.syscalls.end()))
    return false;
  if (filter.pid) {
    const TaskInfo& task = event.task;
    if (event.kind == EventKind::kRecord) return false;
    if (*filter.pid != task.inner_tgid && *filter.pid != task.inner_tid &&
        *filter.pid != task.tgid && *filter.pid != task.tid)
      return false;
  }
  if (filter.result && event.result != *filter.result) return false;
  if (filter.error && ErrorOf(event) != *filter.error) return false;
  if (filter.address && !AddressMatches(event, *filter.address)) return false;
  if (filter.comm && event.task.comm != *filter.comm) return false;
  if (filter.path && !PathMatches(event, *filter.path)) return false;
  if (filter.since_ns && log.RealTime(event.time_ns) < *filter.since_ns) return false;
  if (filter.until_ns && log.RealTime(event.time_ns) > *filter.until_ns) return false;
  return true;
}

Result<void> ForEachEvent(LogReader& log, const EventFilter& filter,
                          const std::function<void(const AuditEvent&)>& visit) {
  AuditEvent event;
  for (;;) {
    CARREL_ASSIGN(bool more, log.NextBlock());
    if (!more) return {};
    if (!BlockMayMatch(log, filter)) continue;
    for (;;) {
      CARREL_ASSIGN(bool row, log.NextEvent(event));
      if (!row) break;
      if (Matches(event, log, filter)) visit(event);
    }
  }
}

}  // namespace carrel
