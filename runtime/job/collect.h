// Collects what an action made: from its scratch layer, by level, into the workspaces.
//
// The scratch is hostile: links out, FIFOs, devices, hard links, sparse and huge files, millions of
// names, deep directories, names that break logs. The workspaces are shared with other jobs: a link
// in them must not lead a write elsewhere. So: everything is opened beneath its root without
// following links, only regular files are read, what carrel checks and publishes is its own copy,
// and a file appears in a workspace whole or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "job/level4_checks.h"
#include "policy/host_config.h"
#include "policy/level.h"

namespace carrel {

struct CollectLimits {
  uint64_t max_entries = 1'000'000;       ///< names in the scratch, directories included
  uint64_t max_total_bytes = UINT64_MAX;  ///< of all outputs, each name counted: links multiply
  size_t max_outputs = 100'000;           ///< files that match the output spec
  size_t max_depth = 200;                 ///< directories within each other
  uint64_t max_file_bytes = 1ull << 36;   ///< apparent size of one output; see CollectRequest
  size_t max_reported = 1000;             ///< entries of each list of names in Collection
};

struct CollectRequest {
  /// Root of the tree of files that the action made, laid out as /workspace is. It may be the upper
  /// layer of an overlayfs (whiteouts and opaque directories are understood); no task of the job
  /// may be left, and the file system should be mounted nodev on the host.
  int scratch_dir = -1;

  std::map<std::string, Level> output_spec;  ///< pathlib glob: level; the higher level wins

  /// Code and inputs: every file that was in /workspace before the action, relative paths.
  std::set<std::string> originals;
  /// Opens an original for comparison, when the scratch has a file of its name. Empty: any such
  /// file counts as changed.
  std::function<Result<UniqueFd>(const std::string& path)> open_original;
  /// Paths in the scratch that carrel made itself as mount points for inputs: passed over.
  std::set<std::string> mount_points;

  std::string job_id;       ///< a name (policy/names.h); names the staging directories
  int high_workspace = -1;  ///< directory: high_privacy/workspaces/<workspace>
  int medium_workspace = -1;
  LevelOwnership high;  ///< of files and of directories that are made
  LevelOwnership medium;

  /// Called for every file and every 256 KiB until the first file is published; its error ends the
  /// collection, and nothing has changed. Empty: nothing ends it.
  std::function<Result<void>()> check;

  Level4Rules level4;
  /// max_file_bytes is not the place for the job's file size limit (the kernel enforces that); it
  /// bounds the time that hashing a sparse file takes. Raise it with the limit.
  CollectLimits limits;
};

struct CollectedOutput {
  std::string path;  ///< UTF-8, without control or invisible characters
  Level level = Level::kHighlySensitive;
  uint64_t size = 0;
  std::string sha256;                   ///< of what carrel wrote; 64 hexadecimal digits
  std::optional<std::string> withheld;  ///< why it is not at level 4, though its level says so
  std::optional<int64_t> row_count;     ///< of .csv files at level 4
  std::optional<int64_t> col_count;
};

struct Collection {
  std::vector<CollectedOutput> outputs;  ///< sorted by path
  std::vector<std::string> unmatched_patterns;
  // The lists below hold names made visible (utf8.h), sorted, at most limits.max_reported of them
  // and then "and N more".
  std::vector<std::string> unmatched_outputs;  ///< files that match no pattern
  std::vector<std::string> tampered;           ///< "path: what": code or inputs hidden or changed
  std::vector<std::string> skipped;            ///< "path: why": what is no plain file
};

/// Copies every file that matches the output spec to level 3, and to level 4 those of its level
/// that pass the checks; writes and removes the "<output>.txt" messages; removes the level 4 copy
/// of an earlier job where this one's is withheld or of the higher level. Any tampering withholds
/// all from level 4, and a changed original is no output.
///
/// A pattern without files is no Error: see unmatched_patterns. kRefused when the action made more
/// than the limits allow; kFault when copying failed: then no file of either workspace was changed
/// unless a rename itself failed, and no temporary is left. Safe to repeat.
Result<Collection> CollectOutputs(const CollectRequest& request);

}  // namespace carrel
