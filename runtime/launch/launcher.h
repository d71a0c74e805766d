// clone3 and the handshake: from a lowered plan to a running init.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>

#include "base/unique_fd.h"
#include "launch/lower.h"

namespace carrel {

/// The init of a running action.
struct LaunchedInit {
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd report;  ///< receives carrel_init_report messages
  UniqueFd root;    ///< its root directory
};

/// Who looks after a filter that notifies of every call (LoweredPlan::Listen): the child's exec is
/// one of them, and waits for `serve`.
struct CallListener {
  std::function<Result<void>(UniqueFd)> take;  ///< gets the listener
  std::function<Result<void>()> serve;         ///< is called when `fd` is readable
  int fd = -1;
};

/// The action's ends of its standard streams.
struct ActionStreams {
  UniqueFd in, out, err;
};

/// An init on its way from clone to exec, in two halves: between them the child makes its mounts
/// while the launcher does what else must be done before the action starts.
class Launch {
 public:
  /// Clones the child in the cgroup and hands `streams` over. It applies the operations as far as
  /// that where its ids are mapped, and waits there. `plan` and `lowered` must outlive this object.
  static Result<std::unique_ptr<Launch>> Begin(const LaunchPlan& plan, const LoweredPlan& lowered,
                                               const Cgroup& cgroup, ActionStreams streams);

  /// Lets the child go on. When this returns, the init has been executed with every operation
  /// applied; on an error nothing runs, and the error tells the operation, the system call and
  /// errno. `lowered.filter` must be there by now.
  Result<LaunchedInit> Complete(const CallListener& listener = {});

  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  /// Kills the child of a launch that was not completed.
  ~Launch();

 private:
  class Stack;
  class OomScore;
  Launch(const LaunchPlan& plan, const LoweredPlan& lowered);
  Result<void> Clone(const Cgroup& cgroup);
  Result<void> Handshake(const CallListener& listener);
  Result<bool> Await(const CallListener& listener);
  Result<UniqueFd> TakeListener(int number);

  const LaunchPlan& plan_;
  child::Program program_;
  std::unique_ptr<Stack> stack_;
  std::unique_ptr<OomScore> oom_score_;
  UniqueFd sync_;
  bool listening_ = false;
  LaunchedInit init_;
};

}  // namespace carrel
