// Wall-clock time as carrel writes it: nanoseconds since the epoch, and RFC 3339 in UTC.
#pragma once

#include <cstdint>
#include <string>

namespace carrel {

/// Nanoseconds since 1970-01-01T00:00:00Z.
int64_t NowNs();

/// Nanoseconds of CLOCK_MONOTONIC: for durations and deadlines.
int64_t MonotonicNs();

/// "2026-08-01T12:34:56.123456789Z": nine fractional digits, always Z (as docker prints times).
std::string Rfc3339(int64_t ns);

/// "2026-08": the month directory of the logs.
std::string YearMonth(int64_t ns);

}  // namespace carrel
