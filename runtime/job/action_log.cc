#include "job/action_log.h"

#include <strings.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kMaxLine = 16u << 10;
constexpr size_t kMaxTail = 64u << 10;
constexpr std::string_view kMarkerCore = "=JOB SUMMARY=";

// The bytes at the end of `text` that could be the start of a longer UTF-8 sequence.
size_t UnfinishedBytes(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

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
  if (line.ends_with('\r')) line.remove_suffix(1);
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
  Partial& partial = partial_[static_cast<size_t>(stream)];
  while (!bytes.empty()) {
    if (partial.text.empty()) partial.ns = ns;
    const size_t room = kMaxLine - partial.text.size();
    const size_t newline = bytes.find('\n');
    const size_t take = std::min({newline, room, bytes.size()});
    partial.text += bytes.substr(0, take);
    bytes.remove_prefix(take);
    if (bytes.starts_with('\n')) {
      bytes.remove_prefix(1);
      TakeLine(partial.text, partial.ns);
      partial.text.clear();
    } else if (partial.text.size() == kMaxLine) {
      const size_t keep = kMaxLine - UnfinishedBytes(partial.text);
      TakeLine(std::string_view(partial.text).substr(0, keep), partial.ns);
      partial.text.erase(0, keep);
    }
    // A flood in one call must not grow what is pending.
    if (pending_.size() > kMaxTail) CARREL_TRY(Flush());
  }
  return Flush();
}

void ActionLog::FlushPartials() {
  std::sort(partial_.begin(), partial_.end(),
            [](const Partial& a, const Partial& b) { return a.ns < b.ns; });
  for (Partial& partial : partial_) {
    if (!partial.text.empty()) TakeLine(partial.text, partial.ns);
    partial.text.clear();
  }
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
