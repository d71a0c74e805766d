// manifest.json of a workspace: what is at each level, from which job, and whether it is current.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "job/collect.h"
#include "policy/host_config.h"

namespace carrel {

struct ManifestUpdate {
  std::string workspace;
  std::string action;
  std::string job_id;
  std::string job_request;  ///< rap_id
  std::string user;
  std::string repo;
  std::string commit;
  int64_t timestamp_ns = 0;  ///< of the outputs

  /// What the job made. Entries of the same paths are replaced.
  std::vector<CollectedOutput> outputs;
  /// True when the action ended well: its outputs of earlier jobs that are not in `outputs` are
  /// then marked out_of_date_output. A failed or cancelled job marks nothing.
  bool complete = true;
  /// The actions of project.yaml, where it is known: outputs of others are marked
  /// out_of_date_action, and the mark is taken off where an action is back.
  std::optional<std::set<std::string>> actions;

  LevelOwnership files;  ///< of manifest.json and metadata/
};

/// Brings metadata/manifest.json of a level 4 workspace up to date (made when missing), written
/// atomically, under a lock on the directory: of two jobs at the same moment one waits. Members
/// that carrel does not know are kept. kRefused, and nothing is changed, when the manifest there is
/// a link, no file, longer than 256 MiB, not valid JSON, not of this form or not of this workspace:
/// it is the record of what was there, and is never replaced by an empty one.
Result<void> UpdateManifest(int medium_workspace, const ManifestUpdate& update);

}  // namespace carrel
