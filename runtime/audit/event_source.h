// Where syscall events come from. An implementation is attached to the action's cgroup before the
// action exists, and is drained by the supervisor until after the last task has gone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace carrel {

class AuditLog;

/// What a source has seen so far. `lost` > 0 fails the job.
struct EventCounts {
  uint64_t events = 0;      ///< syscalls, entry and exit counted as one
  uint64_t denied = 0;      ///< refused by the seccomp filter
  uint64_t lost = 0;        ///< known to have happened and not in the log
  uint64_t stops = 0;       ///< times the action was held so that the reader could catch up
  bool entry_only = false;  ///< calls as they began: no results, no refused calls, no ends of tasks
  bool runaway = false;     ///< killed, as it did not stop while its log was full
};

/// What a job fails with whose counts say `runaway`.
inline Error RunawayFault() {
  return Fault("audit", "the action did not stop while its log was full",
               "It was killed before an event could be lost");
}

/// "full", or "entry_only": as logs, records and results say it.
inline const char* Completeness(const EventCounts& counts) {
  return counts.entry_only ? "entry_only" : "full";
}

class EventSource {
 public:
  virtual ~EventSource() = default;

  /// "bpf", "seccomp-notify" or "replay": goes into the log.
  virtual std::string name() const = 0;

  /// Whether it sees calls only as they begin.
  virtual bool entry_only() const { return false; }

  /// A descriptor that polls readable when Drain has work to do.
  virtual int poll_fd() const = 0;

  /// Before the action starts: says which log the events will go into, so that another process can
  /// go on with it when this one is killed. The log must outlive the source's Finish.
  virtual void RecordInto(AuditLog& /*log*/) {}

  /// Moves what is there into the log and lets held tasks go on. Called when poll_fd is readable
  /// and at least every 100 ms. An error is fatal: the action is killed. A lost event is one.
  virtual Result<void> Drain(AuditLog& log) = 0;

  /// What has been seen so far; for people who watch a job.
  virtual EventCounts counts() const { return {}; }

  /// Called once, when the cgroup is empty: drains the rest, ends the recording (EndRecording) and
  /// detaches.
  virtual Result<EventCounts> Finish(AuditLog& log) = 0;
};

/// Loads (or finds pinned under `state_dir`/bpf, mounting a bpffs there) the BPF programs and arms
/// them for the cgroup v2 id `cgroup_id`. Events are recorded from the first successful exec of a
/// task in that cgroup (the init). Nothing is recorded for other cgroups. `cgroup_fd` is its
/// directory, which must stay open: the cgroup is frozen while a full ring is read. With -1 only
/// the programs hold processes, by SIGSTOP.
Result<std::unique_ptr<EventSource>> AttachBpfSource(const std::string& state_dir,
                                                     uint64_t cgroup_id, int cgroup_fd = -1);

}  // namespace carrel
