// /workspace of a job, as the host prepares it: the code and the inputs as one read-only tree, and
// the scratch layer for what the action writes.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "plan/launch_plan.h"
#include "policy/level.h"

namespace carrel {

struct WorkspaceRequest {
  std::string tree;     ///< host path of code and inputs together; this job's own copy
  std::string scratch;  ///< host path of the mounted, empty scratch layer
  std::map<std::string, Level> output_spec;
  bool copy_up_always = false;  ///< the tool's policy entry: writes are possible everywhere
  uint32_t host_uid = 0;
  uint32_t host_gid = 0;
};

/// The directories in which the action may write: those that the patterns name, the outermost of
/// nested ones; {""} for the whole workspace.
std::set<std::string> WritableRoots(const std::map<std::string, Level>& output_spec,
                                    bool copy_up_always);

/// Makes `scratch`/upper (laid out as /workspace) and mount points in the tree. A root that holds
/// code or inputs gets a copy-up layer, any other an empty directory. kBadInput when a root is a
/// file or a link in the code.
Result<std::vector<WritableSpec>> PrepareWritable(const WorkspaceRequest& request);

}  // namespace carrel
