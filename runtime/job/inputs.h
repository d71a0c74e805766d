// The outputs of earlier jobs that become this job's read-only inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

struct InputsRequest {
  std::string workspace;
  std::vector<std::string> job_ids;  ///< JobDefinition::input_job_ids
  std::vector<std::string> paths;    ///< JobDefinition::inputs (deprecated)
  std::string high_privacy;          ///< HostConfig::high_privacy
  std::string medium_privacy;        ///< HostConfig::medium_privacy
  /// Where the code has been checked out: code and inputs together are the read-only layer of
  /// /workspace.
  int destination = -1;
};

struct InputFile {
  std::string path;    ///< in the workspace
  std::string job_id;  ///< that made it; empty for one named by path only
  std::string sha256;  ///< of what was copied
  uint64_t bytes = 0;
};

/// Copies each file (reflinked where the file system can; never the same inode as level 3's) to its
/// own path beneath `destination`: owner root, mode 0644, directories 0755. Which files a job made
/// is read from medium_privacy/workspaces/<workspace>/metadata/manifest.json. kBadInput, naming it:
/// a job without outputs there, a file that is missing, not regular, or not what the manifest's
/// digest says, a path that the code has too. No link is followed.
Result<std::vector<InputFile>> GatherInputs(const InputsRequest& request);

}  // namespace carrel
