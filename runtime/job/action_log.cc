#include "job/action_log.h"

#include <strings.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kMaxTail = 64u << 10;
constexpr std::string_view kMarkerCore = "=JOB SUMMARY=";

}  // namespace

std::string SafeLogLine(std::string_view line) {
  std::string safe = MakeVisible(line);
  for (size_t at = 0; at + kMarkerCore.size() <= safe.size(); ++at) {
    if (safe[at] == '=' && ::strncasecmp(&safe[at], kMarkerCore.data(), kMarkerCore.size()) == 0)
      safe.replace(at + 4, 1, "\\x20");
  }
  return safe;
}

ActionLog::ActionLog(UniqueFd fd, uint64_t max_bytes)
    : fd_(std::move(fd)), room_(max_bytes), limit_(max_bytes) {}

void ActionLog::TakeLine(std::string_view line, int64_t ns) {
  std::string redacted;
  if (redactor_ != nullptr) line = redacted = redactor_->Redacted(line);
  std::string safe = Rfc3339(ns) + " " + SafeLogLine(line) + "\n";
  full_ = full_ || safe.size() > room_;
  if (!full_) {
    room_ -= safe.size();
    pending_ += safe;
    return;
  }
  tail_bytes_ += safe.size();
  tail_.push_back(std::move(safe));
  while (tail_bytes_ > kMaxTail) {
    dropped_ += tail_.front().size();
    tail_bytes_ -= tail_.front().size();
    tail_.pop_front();
  }
}

Result<void> ActionLog::Flush() {
  auto written = WriteAll(fd_.get(), pending_);
  pending_.clear();
  if (!written) written.error().where = "the action's log";
  return written;
}

Result<void> ActionLog::Write(Stream stream, std::string_view bytes, int64_t ns) {
  const auto take = [this](std::string_view line, int64_t begun_ns) -> Result<void> {
    TakeLine(line, begun_ns);
    // A flood in one call must not grow what is pending.
    return pending_.size() > kMaxTail ? Flush() : Result<void>();
  };
  CARREL_TRY(lines_[static_cast<size_t>(stream)].Write(bytes, ns, take));
  return Flush();
}

void ActionLog::FlushPartials() {
  std::sort(lines_.begin(), lines_.end(),
            [](const LineSplitter& a, const LineSplitter& b) { return a.ns() < b.ns(); });
  for (LineSplitter& lines : lines_)
    (void)lines.Finish([this](std::string_view line, int64_t ns) -> Result<void> {
      TakeLine(line, ns);
      return {};
    });
}

void ActionLog::TakeRest(int64_t ns) {
  if (std::exchange(ended_, true)) return;
  FlushPartials();
  if (dropped_ > 0)
    pending_ += Rfc3339(ns) + " [carrel: the log reached its limit of " + std::to_string(limit_) +
                " bytes; " + std::to_string(dropped_) + " bytes were dropped here]\n";
  for (const std::string& line : tail_) pending_ += line;
  tail_.clear();
  tail_bytes_ = 0;
}

Result<void> ActionLog::End(int64_t ns) {
  TakeRest(ns);
  return Sync();
}

Result<void> ActionLog::Sync() {
  CARREL_TRY(Flush());
  if (::fsync(fd_.get()) != 0) return SysFault("the action's log", "fsync");
  return {};
}

Result<void> ActionLog::WriteSummary(
    const std::vector<std::pair<std::string, std::string>>& summary, int64_t ns) {
  TakeRest(ns);
  pending_ += std::string(kSummaryMarker) + "\n";
  for (const auto& [name, value] : summary)
    pending_ += SafeLogLine(name) + ": " + SafeLogLine(value) + "\n";
  return Sync();
}

}  // namespace carrel
