// What `carrel pipeline run` shows: live progress on stderr, the table or JSON at the end.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "pipeline/runner.h"

namespace carrel {

/// A line an action. On a terminal that has room for all, the lines are rewritten in place;
/// elsewhere a line is printed when an action's state changes.
class PipelineProgress {
 public:
  explicit PipelineProgress(bool terminal) : terminal_(terminal) {}
  void Show(const std::vector<ActionRun>& actions);
  /// Takes the lines away: the table follows.
  void Clear();

 private:
  bool Fits(size_t lines) const;

  const bool terminal_;
  size_t lines_ = 0;
  std::map<std::string, ActionState> last_;
};

/// "1.5 s", "2 min 05 s".
std::string DurationText(int64_t ms);
/// "34 MiB"; "-" for 0.
std::string MemoryText(uint64_t bytes);
/// `text` in `columns` code points: cut with "...", or filled with spaces.
std::string InColumns(const std::string& text, size_t columns);

void PrintPipelineTable(const PipelineRequest& request, const PipelineResult& result);
OrderedJson PipelineJson(const PipelineRequest& request, const PipelineResult& result);

}  // namespace carrel
