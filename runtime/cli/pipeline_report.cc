#include "cli/pipeline_report.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/fs.h"
#include "job/action_log.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr size_t kNameColumns = 24;
constexpr size_t kMessageColumns = 21;  // what 80 columns leave it
constexpr size_t kLogLines = 8;

const char* StepName(int step) {
  if (step >= 12) return "records";
  if (step == 11) return "collecting";
  if (step == 10) return "running";
  if (step >= 4) return "preparing";
  return "starting";
}

std::string Line(const ActionRun& run) {
  std::string line = InColumns(run.name, kNameColumns) + "  ";
  const bool runs = run.state == ActionState::kRunning;
  line += InColumns(runs ? StepName(run.step) : StateName(run.state), 11);
  if (run.duration_ms > 0 || runs)
    line +=
        fmt::format(" {:>10} {:>9}", DurationText(run.duration_ms), MemoryText(run.memory_bytes));
  return line;
}

// One line, nothing in it that acts on a terminal.
std::string Message(const ActionRun& run) {
  std::string text = run.message;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return MakeVisible(text);
}

// The last lines that a failed action wrote: mostly they say why.
void PrintEndOfLog(const ActionRun& run) {
  const Json results =
      run.result.is_object() ? run.result.value("results", Json::object()) : Json::object();
  const std::string path = results.value("files", Json::object()).value("log", "");
  const std::string text = path.empty() ? "" : ReadFile(path, 64u << 20).value_or("");
  size_t end = text.find(std::string("\n") + std::string(kSummaryMarker));
  if (end == std::string::npos) return;  // it wrote nothing
  size_t begin = end;
  for (size_t lines = 0; lines < kLogLines && begin != std::string::npos && begin > 0; ++lines)
    begin = text.rfind('\n', begin - 1);
  begin = begin == std::string::npos ? 0 : begin + 1;
  printf("\n%s, the end of its log:\n", run.name.c_str());
  while (begin < end) {
    const size_t next = std::min(text.find('\n', begin), end);
    const std::string line = text.substr(begin, next - begin);
    printf("  %s\n", line.substr(std::min(line.size(), line.find(' ') + 1)).c_str());
    begin = next + 1;
  }
}

}  // namespace

std::string DurationText(int64_t ms) {
  if (ms < 60'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
  return fmt::format("{} min {:02} s", ms / 60'000, ms / 1000 % 60);
}

std::string MemoryText(uint64_t bytes) {
  if (bytes == 0) return "-";
  return fmt::format("{} MiB", (bytes + (1u << 20) - 1) >> 20);
}

std::string InColumns(const std::string& text, size_t columns) {
  std::u32string points = DecodeUtf8Lossy(text);
  std::string out;
  size_t used = 0, at = 0;
  const bool cut = points.size() > columns;
  while (at < text.size() && used < columns - (cut ? 3 : 0)) {
    const size_t bytes = std::max<size_t>(1, FirstCodePoint(text.substr(at)).bytes);
    out += text.substr(at, bytes);
    at += bytes;
    ++used;
  }
  return cut ? out + "..." : out + std::string(columns - used, ' ');
}

// Lines that have left the screen cannot be rewritten.
bool PipelineProgress::Fits(size_t lines) const {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || lines < size.ws_row;
}

void PipelineProgress::Show(const std::vector<ActionRun>& actions) {
  if (terminal_ && Fits(actions.size())) {
    if (lines_ > 0) fprintf(stderr, "\x1b[%zuA", lines_);
    for (const ActionRun& run : actions) fprintf(stderr, "\r\x1b[K%s\n", Line(run).c_str());
    lines_ = actions.size();
    return;
  }
  for (const ActionRun& run : actions) {
    auto [last, is_new] = last_.emplace(run.name, ActionState::kWaiting);
    if (last->second == run.state) continue;
    last->second = run.state;
    std::string line = run.name + ": " + StateName(run.state);
    if (run.state == ActionState::kRunning)
      line += " as job " + run.job_id;
    else if (run.duration_ms > 0)
      line += ", " + DurationText(run.duration_ms) +
              (run.memory_bytes > 0 ? ", " + MemoryText(run.memory_bytes) : "");
    if (!run.message.empty() && run.state != ActionState::kSucceeded) line += ": " + Message(run);
    fprintf(stderr, "%s\n", line.c_str());
  }
}

void PipelineProgress::Clear() {
  if (terminal_ && lines_ > 0) fprintf(stderr, "\x1b[%zuA\r\x1b[J", lines_);
  lines_ = 0;
}

void PrintPipelineTable(const PipelineRequest& request, const PipelineResult& result) {
  printf("%s  %-10s %10s %9s  %s\n", InColumns("action", kNameColumns).c_str(), "state", "time",
         "memory", "message");
  size_t good = 0;
  for (const ActionRun& run : result.actions) {
    good += IsGood(run.state) ? 1 : 0;
    std::string message = Message(run);
    if (run.state == ActionState::kSucceeded) {
      const Json& results = run.result["results"];
      const size_t withheld = results.value("level4_excluded_files", Json::object()).size();
      const size_t outputs = results.value("outputs", Json::object()).size();
      message = fmt::format("{} output{}", outputs, outputs == 1 ? "" : "s");
      if (withheld > 0) message += fmt::format(", {} withheld from level 4", withheld);
    }
    const bool fits = DecodeUtf8Lossy(message).size() <= kMessageColumns;
    printf("%s  %-10s %10s %9s%s%s\n", InColumns(run.name, kNameColumns).c_str(),
           StateName(run.state), run.duration_ms > 0 ? DurationText(run.duration_ms).c_str() : "-",
           MemoryText(run.memory_bytes).c_str(), fits && !message.empty() ? "  " : "",
           fits ? message.c_str() : "");
    if (!fits) printf("    %s\n", message.c_str());
  }
  for (const ActionRun& run : result.actions)
    if (run.state == ActionState::kFailed) PrintEndOfLog(run);
  printf("\n%zu of %zu actions good, in %s%s\n", good, result.actions.size(),
         DurationText(result.duration_ms).c_str(), result.cancelled ? ", cancelled" : "");
  printf("level 3: %s/workspaces/%s\n", request.host.high_privacy.c_str(),
         request.workspace.c_str());
  printf("level 4: %s/workspaces/%s\n", request.host.medium_privacy.c_str(),
         request.workspace.c_str());
  printf("logs:    %s/workspaces/%s/metadata/<action>.log\n", request.host.medium_privacy.c_str(),
         request.workspace.c_str());
}

OrderedJson PipelineJson(const PipelineRequest& request, const PipelineResult& result) {
  OrderedJson actions = OrderedJson::array();
  for (const ActionRun& run : result.actions) {
    actions.push_back({{"action", run.name},
                       {"state", StateName(run.state)},
                       {"job_id", run.job_id},
                       {"message", run.message},
                       {"duration_ms", run.duration_ms},
                       {"memory_peak_bytes", run.memory_bytes}});
    if (run.result.is_object() && run.result.contains("results"))
      actions.back()["results"] = run.result["results"];
  }
  return {{"workspace", request.workspace},      {"directory", request.tree->directory},
          {"commit", request.tree->commit},      {"uncommitted", request.tree->uncommitted},
          {"exit_status", result.exit_status()}, {"cancelled", result.cancelled},
          {"duration_ms", result.duration_ms},   {"actions", std::move(actions)}};
}

}  // namespace carrel
