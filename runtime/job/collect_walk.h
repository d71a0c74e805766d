// Walks the scratch layer of an action.
#pragma once

#include <sys/stat.h>

#include "job/collect.h"

namespace carrel {

/// Opens beneath a directory that the action wrote: no link, no "..", no other mount, never
/// blocking on a FIFO.
Result<UniqueFd> OpenScratch(int dir, const std::string& path, int flags);

/// A list of names for reports that cannot grow without bound.
class BoundedList {
 public:
  explicit BoundedList(size_t limit) : limit_(limit) {}
  void Add(const std::string& item);
  bool empty() const { return items_.empty(); }
  /// Sorted, with "and N more" at the end.
  std::vector<std::string> Take();

 private:
  size_t limit_;
  size_t more_ = 0;
  std::vector<std::string> items_;
};

struct MatchedFile {
  std::string path;
  Level level = Level::kHighlySensitive;
  ino_t inode = 0;
};

struct ScratchFindings {
  std::vector<MatchedFile> matched;  ///< sorted by path; regular files only
  std::set<std::string> matched_patterns;
  std::vector<std::string> unmatched_outputs, tampered, skipped;  ///< as in Collection
};

Result<ScratchFindings> WalkScratch(const CollectRequest& request);

}  // namespace carrel
