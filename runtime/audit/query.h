// Which events a question is about.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "audit/log_reader.h"

namespace carrel {

/// A set of EventKinds, by bit.
using EventKinds = uint32_t;
inline constexpr EventKinds kAllKinds = (1u << (kLastEventKind + 1)) - 1;
constexpr EventKinds KindBit(EventKind kind) { return 1u << static_cast<uint32_t>(kind); }

struct EventFilter {
  EventKinds kinds = kAllKinds;
  std::vector<uint32_t> syscalls;      ///< x86-64 numbers; empty: any
  std::optional<std::string> path;     ///< a path, claimed or real, begins so
  std::optional<uint32_t> pid;         ///< process or thread, inside or outside
  std::optional<std::string> comm;     ///< exactly
  std::optional<std::string> address;  ///< a socket address ("inet:127.0.0.1:5432") begins so
  std::optional<std::string> error;    ///< the call failed so ("ENOENT")
  std::optional<int64_t> result;       ///< the call returned this
  std::optional<int64_t> since_ns;     ///< nanoseconds since the epoch
  std::optional<int64_t> until_ns;
  bool denied = false;  ///< only what the filter refused
  bool errors = false;  ///< only calls that failed

  /// The kinds that can match: some questions are about calls alone.
  EventKinds wanted() const {
    const bool calls = denied || errors || address || error || result || !syscalls.empty();
    return calls ? kinds & KindBit(EventKind::kCall) : kinds;
  }
};

/// Can the block that `log` has just read hold an event that the filter lets through?
bool BlockMayMatch(const LogReader& log, const EventFilter& filter);

bool Matches(const AuditEvent& event, const LogReader& log, const EventFilter& filter);

/// Calls `visit` for each event that the filter lets through, in the order of the log. Blocks that
/// cannot hold one are passed over. The error of an unreadable log is returned; how the log ended
/// is in `log`.
Result<void> ForEachEvent(LogReader& log, const EventFilter& filter,
                          const std::function<void(const AuditEvent&)>& visit);

}  // namespace carrel
