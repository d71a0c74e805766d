// The log of an action: its stdout and stderr, time-stamped, capped and safe to read.
//
// Threats: the output forges the marker at which readers cut off the summary; it sends control
// characters to the terminal or viewer of whoever reads; it floods the disk or carrel's memory; it
// writes one endless line.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/redactor.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "job/line_splitter.h"

namespace carrel {

/// Readers of logs.txt cut here: what follows is carrel's.
inline constexpr std::string_view kSummaryMarker = "=============JOB SUMMARY=============";

/// One line of an action's output as it appears in the log: MakeVisible, and no line that contains
/// the marker ("=JOB SUMMARY=" in any case becomes "=JOB\x20SUMMARY=").
std::string SafeLogLine(std::string_view line);

class ActionLog {
 public:
  enum class Stream { kStdout, kStderr };

  /// Writes to `fd` (a file of carrel's, at its end). Of the action's output the first `max_bytes`
  /// and the last 64 KiB are kept; how much was dropped between them is said there.
  ActionLog(UniqueFd fd, uint64_t max_bytes);

  /// From now on what `redactor` knows is taken out of each line; null: nothing is.
  void Redact(std::shared_ptr<const Redactor> redactor) { redactor_ = std::move(redactor); }

  /// Appends raw bytes as they were read from the action at `ns` (since the epoch). Whole lines
  /// reach the file before this returns. A line longer than 16 KiB is broken into several.
  /// Memory: at most 16 KiB a stream, and 64 KiB once the limit is reached. After an error (disk
  /// full) further calls fail likewise; the caller goes on reading the pipe, or the action blocks.
  Result<void> Write(Stream stream, std::string_view bytes, int64_t ns);

  /// The action has ended: writes what is left of unfinished lines and the tail, and fsyncs.
  /// Nothing can be written afterwards but the summary, which another process can write.
  Result<void> End(int64_t ns);

  /// Ends the log where that has not been done, and writes the marker, and "name: value" lines
  /// (values are made safe as the action's own lines are), then fsyncs. Call once, last.
  Result<void> WriteSummary(const std::vector<std::pair<std::string, std::string>>& summary,
                            int64_t ns);

  int fd() const { return fd_.get(); }
  /// Bytes of the action's output that are not in the log.
  uint64_t dropped() const { return dropped_; }

 private:
  void TakeLine(std::string_view line, int64_t ns);
  void FlushPartials();
  void TakeRest(int64_t ns);
  Result<void> Flush();
  Result<void> Sync();

  UniqueFd fd_;
  std::shared_ptr<const Redactor> redactor_;
  uint64_t room_;
  std::array<LineSplitter, 2> lines_;
  std::string pending_;           ///< safe lines on their way to the file
  bool ended_ = false;            ///< what was unfinished is in pending_
  bool full_ = false;             ///< the limit was reached: lines go to tail_
  std::deque<std::string> tail_;  ///< the last safe lines
  size_t tail_bytes_ = 0;
  uint64_t dropped_ = 0;
  uint64_t limit_;
};

}  // namespace carrel
