// Watches a running action until all of it has ended: its output, its time, the audit source, the
// signals that carrel itself gets. One thread, one poll loop.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "launch/launcher.h"

namespace carrel {

/// Takes what the action wrote on one stream. `ready_fd` >= 0 must be writable before more is read,
/// so that a slow reader slows the action and not the supervisor.
struct OutputStream {
  UniqueFd source;
  std::function<Result<void>(std::string_view)> sink;
  int ready_fd = -1;
  bool blocked = false;  ///< the supervisor's own: waiting for ready_fd
};

/// Something else to look after: `service` is called when `fd` is readable and every 100 ms.
struct Service {
  int fd = -1;
  std::function<Result<void>()> service;
};

struct SuperviseRequest {
  std::vector<OutputStream> outputs;
  int input_source = -1;  ///< what the action reads comes from here; -1: nothing
  UniqueFd input_target;  ///< our end of the action's standard input
  std::vector<Service> services;
  std::function<void()> every_second;  ///< progress; may be empty
  /// TERM and INT end the action as cancelled, USR1 kills it; otherwise they're forwarded to it.
  bool signals_cancel = false;
};

/// How it ended.
struct ActionEnd {
  int exit_code = 0;  ///< as a shell tells it: 128+n for signal n
  bool timed_out = false;
  bool cancelled = false;
  uint64_t cpu_usec = 0;         ///< of the init and of every task that it has outlived
  int exec_error = 0;            ///< errno when the command could not be executed, else 0
  std::optional<Error> failure;  ///< a sink or service failed and the action was killed for it
};

/// Blocks the signals that Supervise takes. Call before Launch.
Result<UniqueFd> BlockSignals();

/// Returns when the init has been reaped, which the kernel allows only after every task of its pid
/// namespace has ended, and all output has been passed on.
Result<ActionEnd> Supervise(const LaunchedInit& init, const LaunchLimits& limits, int signal_fd,
                            SuperviseRequest request);

}  // namespace carrel
