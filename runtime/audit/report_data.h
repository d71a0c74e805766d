// What a report shows of a log, gathered in one pass and bounded whatever the log holds: sums, and
// tables that keep what matters most.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "audit/call_class.h"
#include "audit/event.h"
#include "audit/log_reader.h"
#include "audit/summary.h"
#include "base/json.h"

namespace carrel {

/// Activity over time. Bins are as wide as the job needs: they double when it goes on.
class TimeLine {
 public:
  static constexpr size_t kMaxBins = 480;
  struct Bin {
    std::array<uint64_t, kCallClasses> calls{};
    uint64_t errors = 0, denied = 0;
  };
  /// `at_ns` since the job's first event.
  void Add(int64_t at_ns, CallClass call_class, bool error, bool denied);
  int64_t width_ns() const { return width_ns_; }
  const std::vector<Bin>& bins() const { return bins_; }

 private:
  int64_t width_ns_ = 100'000;
  std::vector<Bin> bins_;
};

struct ReportProcess {
  uint32_t pid = 0;     ///< inside
  int64_t parent = -1;  ///< index, or -1
  std::string comm, program, ended;
  int64_t start_ns = 0, end_ns = 0;  ///< since the first event
  uint64_t calls = 0, errors = 0, denied = 0, threads = 0;
};

struct ReportFile {
  uint64_t read = 0, written = 0, changed = 0, failed = 0;
  int64_t first_ns = 0;
  std::string comm, error;  ///< who first; the last error
  bool outside = false;
};

/// Something that happened once or more: a denied call, a connection, an execution.
struct ReportDeed {
  uint64_t count = 0;
  int64_t first_ns = 0;
  uint32_t pid = 0;
  std::string comm, outcome;
};

struct ReportRecord {
  int64_t at_ns = 0;
  std::string kind;
  Json members;
};

struct ReportData {
  std::string job;
  int64_t start_ns = 0;  ///< epoch: of the first event
  int64_t end_ns = 0;
  uint64_t rows = 0, calls = 0, errors = 0, denied = 0, tasks = 0, stops = 0, unfinished = 0;
  TimeLine time_line;
  SyscallTable syscalls;
  std::vector<ReportProcess> processes;
  uint64_t processes_left_out = 0;
  std::map<std::string, ReportFile> files;
  uint64_t files_left_out = 0;
  std::map<std::string, ReportDeed> denied_calls, connections, programs;
  std::map<std::string, std::string> digests;  ///< of executed files, by path
  uint64_t deeds_left_out = 0;
  std::vector<ReportRecord> records, database;
  uint64_t database_left_out = 0;
  /// "W+X memory", "sensitive file"...: see report_findings.cc
  std::map<std::string, std::map<std::string, ReportDeed>> odd;
  OrderedJson sample = OrderedJson::array();  ///< rows of events, in their order
};

/// Reads `log` to its end. `rows` is how many rows it has, for a sample that is spread over all.
Result<ReportData> GatherReport(LogReader& log, uint64_t rows);

/// The rows of the log at `path`, from the headers of its blocks.
Result<uint64_t> CountRows(const std::string& path);

}  // namespace carrel
