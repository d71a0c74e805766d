// What a container wrote, line by line, as `docker logs` gives it back. One JSON object a line,
// as docker's own json-file: {"stream":"stdout","time":"...","log":"..."}.
//
// Threats: control characters for the terminal of whoever reads; the summary marker of an agent's
// log, forged; a flood; one endless line. The lines are made safe as those of a job's log are.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/redactor.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "job/line_splitter.h"

namespace carrel {

class ContainerLog {
 public:
  /// Appends to `fd`; after `max_bytes` one line says that the rest was dropped.
  ContainerLog(UniqueFd fd, uint64_t max_bytes) : fd_(std::move(fd)), room_(max_bytes) {}

  /// From now on what `redactor` knows is taken out of each line; null: nothing is.
  void Redact(std::shared_ptr<const Redactor> redactor) { redactor_ = std::move(redactor); }

  /// `stream`: 1 or 2. Whole lines are written before this returns. Memory: 16 KiB a stream.
  Result<void> Write(int stream, std::string_view bytes);
  /// Writes the unfinished lines.
  Result<void> Finish();

 private:
  Result<void> WriteLine(int stream, std::string_view line);
  UniqueFd fd_;
  std::shared_ptr<const Redactor> redactor_;
  uint64_t room_;
  bool full_ = false;
  std::array<LineSplitter, 2> lines_;
};

/// Adds a line of carrel's own to the end of a container's log: why its action did not run, or was
/// ended. `directory`: the container's.
Result<void> SayInContainerLog(int directory, const std::string& text);

struct LogLine {
  int stream = 1;
  std::string time, text;
};

/// Calls `take` with the last `tail` lines of the log at `fd` (tail < 0: all), in order.
Result<void> ReadContainerLog(int fd, int64_t tail,
                              const std::function<void(const LogLine&)>& take);

}  // namespace carrel
