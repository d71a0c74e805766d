#include "oci/container_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "job/action_log.h"

namespace carrel {
namespace {

constexpr const char* kFullText =
    "[carrel: the log has reached its limit; what follows is dropped]";

Result<LogLine> DecodeLine(const std::string& text) {
  CARREL_ASSIGN(const Json json, ParseJson(text, "log.jsonl"));
  JsonObject in(json, "");
  LogLine line;
  line.stream = in.RequiredString("stream") == "stderr" ? 2 : 1;
  line.time = in.RequiredString("time");
  line.text = in.Text("log", 8 * LineSplitter::kMaxLine).value_or("");
  CARREL_TRY(in.Finish());
  return line;
}

}  // namespace

Result<void> ContainerLog::WriteLine(int stream, std::string_view line) {
  if (full_) return {};
  const auto entry = [&](const std::string& text) {
    return OrderedJson{{"stream", stream == 2 ? "stderr" : "stdout"},
                       {"time", Rfc3339(NowNs())},
                       {"log", text}}
               .dump() +
           "\n";
  };
  std::string redacted;
  if (redactor_ != nullptr) line = redacted = redactor_->Redacted(line);
  std::string text = entry(SafeLogLine(line));
  full_ = text.size() > room_;
  if (full_) text = entry(kFullText);
  room_ -= std::min<uint64_t>(room_, text.size());
  return WriteAll(fd_.get(), text);
}

Result<void> ContainerLog::Write(int stream, std::string_view bytes) {
  return lines_.at(static_cast<size_t>(stream) - 1)
      .Write(bytes, 0, [&](std::string_view line, int64_t) { return WriteLine(stream, line); });
}

Result<void> ContainerLog::Finish() {
  for (int stream : {1, 2})
    CARREL_TRY(
        lines_.at(static_cast<size_t>(stream) - 1).Finish([&](std::string_view line, int64_t) {
          return WriteLine(stream, line);
        }));
  return {};
}

Result<void> SayInContainerLog(int directory, const std::string& text) {
  CARREL_ASSIGN(UniqueFd file,
                OpenBeneath(directory, "log.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0600));
  ContainerLog log(std::move(file), 1u << 20);
  CARREL_TRY(log.Write(STDERR_FILENO, "carrel: " + text));
  return log.Finish();
}

Result<void> ReadContainerLog(int fd, int64_t tail,
                              const std::function<void(const LogLine&)>& take) {
  std::deque<std::string> last;
  std::string rest;
  const auto whole_line = [&](std::string line) -> Result<void> {
    if (tail < 0) {
      CARREL_ASSIGN(const LogLine decoded, DecodeLine(line));
      take(decoded);
      return {};
    }
    last.push_back(std::move(line));
    if (last.size() > static_cast<size_t>(tail)) last.pop_front();
    return {};
  };
  for (;;) {
    char buffer[65536];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("the container's log", "read");
    if (n == 0) break;
    rest.append(buffer, static_cast<size_t>(n));
    size_t start = 0;
    for (size_t end; (end = rest.find('\n', start)) != std::string::npos; start = end + 1)
      CARREL_TRY(whole_line(rest.substr(start, end - start)));
    rest.erase(0, start);
  }
  // A supervisor that was killed in the middle of a line leaves `rest`: it is no whole record.
  for (const std::string& line : last) {
    CARREL_ASSIGN(const LogLine decoded, DecodeLine(line));
    take(decoded);
  }
  return {};
}

}  // namespace carrel
