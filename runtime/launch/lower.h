// Lowers a plan to the child program: opens and checks every source, makes every mount that the
// child will attach, and lays all data out flat.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "launch/cgroup.h"
#include "launch/child/program.h"
#include "launch/seccomp.h"
#include "plan/launch_plan.h"

namespace carrel {

/// The child program and everything that it points to. Its operations correspond one to one to the
/// plan's, so that a failed step can be told in the plan's words.
struct LoweredPlan {
  std::vector<child::Operation> operations;
  std::vector<UniqueFd> fds;
  std::deque<std::string> strings;  // deque: addresses stay
  std::vector<const char*> landlock_paths;
  child::LandlockRules landlock{};
  std::vector<char*> argv;
  std::vector<char*> environment;
  std::vector<unsigned char> cpu_mask;
  /// Of the filter's instructions. Without it (the length is 0) the kernel refuses the step.
  sock_fprog filters[2]{};  ///< the second: of Listen
  /// `chosen` must outlive the launch.
  void SetFilter(const SeccompFilter& chosen);
  /// Adds a filter that notifies of every call. Launch::Complete then needs a CallListener.
  void Listen();
};

/// Makes the relative `path` beneath `root`, a directory or an empty file, to be mounted on.
Result<void> MakeMountPoint(int root, const std::string& path, bool file);

/// Errors name the operation ("overlay at /workspace").
Result<std::unique_ptr<LoweredPlan>> LowerPlan(const LaunchPlan& plan,
                                               const HostTemplates& templates,
                                               const Cgroup& cgroup);

}  // namespace carrel
