#include "base/clock.h"

#include <cstdio>
#include <ctime>

namespace carrel {
namespace {

int64_t Read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string Format(int64_t ns, const char* format) {
  const time_t seconds = static_cast<time_t>(ns / 1'000'000'000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t length = strftime(text, sizeof text, format, &parts);
  return {text, length};
}

}  // namespace

int64_t NowNs() { return Read(CLOCK_REALTIME); }

int64_t MonotonicNs() { return Read(CLOCK_MONOTONIC); }

std::string Rfc3339(int64_t ns) {
  char fraction[16];
  snprintf(fraction, sizeof fraction, ".%09dZ", static_cast<int>(ns % 1'000'000'000));
  return Format(ns, "%Y-%m-%dT%H:%M:%S") + fraction;
}

std::string YearMonth(int64_t ns) { return Format(ns, "%Y-%m"); }

}  // namespace carrel
