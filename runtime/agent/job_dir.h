// `<state>/jobs/<id>`: what is known of a job that the agent has given to carrel, for root alone.
//
//   definition.json   as it was prepared
//   step.json         the last step that was taken, written atomically and fsynced
//   supervisor        "pid start-time" of the process that works on the job; it holds a lock on
//   this
//                     file as long as it lives
//   workspace/ scratch.img action.log live    of the phases (job/job_context.h)
//
// A job's state is read off step.json, the lock, and the host's boot id; nobody remembers it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

enum class JobState {
  kUnknown,
  kPreparing,
  kPrepared,
  kExecuting,
  kExecuted,
  kFinalizing,
  kFinalized,
  kError,
};

/// "unknown", "preparing", ...
const char* StateName(JobState state);

struct JobStep {
  JobState state = JobState::kUnknown;
  int64_t timestamp_ns = 0;
  std::string boot_id;                          ///< of the host when it was written
  OrderedJson results = OrderedJson::object();  ///< no output name or pattern: they leave the host
  Json record;                                  ///< job/step_record.h; null where there is none
  bool lost = false;  ///< derived: a process was working on the job, and is gone
};

/// The boot id of this host's kernel.
Result<std::string> BootId();

class JobDir {
 public:
  /// Opens the job's directory; nothing when there is none.
  static Result<std::optional<JobDir>> Find(const std::string& state_dir, const std::string& id);
  static Result<JobDir> Make(const std::string& state_dir, const std::string& id);

  /// Ids of all jobs that have a directory, sorted.
  static Result<std::vector<std::string>> List(const std::string& state_dir);

  /// Waits for other verbs of the job and keeps them out until this object goes.
  Result<void> LockVerbs();
  /// Closes a forked process's copy of the lock; the verb keeps it.
  void ForgetVerbLock() { verb_lock_.reset(); }
  /// False once the directory has been removed by another verb.
  bool StillThere() const;

  int fd() const { return directory_.get(); }
  const std::string& path() const { return path_; }

  /// The state as it is now: what a process that is gone was doing counts as `lost`. Locks nothing.
  Result<JobStep> State() const;
  /// The same for who holds the supervision: whoever was at work is gone.
  Result<JobStep> StateOfNobody() const;
  Result<void> WriteStep(JobState state, OrderedJson results, Json record) const;

  /// True when a supervisor of the job lives.
  Result<bool> Supervised() const;
  /// Takes the supervisor's lock; waits at most `wait_ms` for one that is about to end. An empty
  /// descriptor: it goes on. The lock lives as long as a process has the descriptor.
  Result<UniqueFd> TakeSupervision(int wait_ms) const;
  /// Writes this process into the file of the lock.
  static Result<void> SignSupervision(int lock);
  /// A pidfd of the living supervisor; empty when there is none.
  Result<UniqueFd> SupervisorPidfd() const;

  /// Everything but the locks goes: a new prepare begins.
  Result<void> Empty() const;
  /// Moves the directory out of sight, for RemoveTree of the returned name in `<state>/jobs`.
  Result<std::string> MoveAway() const;

 private:
  JobDir() = default;
  Result<JobStep> ReadStep() const;

  std::string path_;
  std::string id_;
  UniqueFd parent_;
  UniqueFd directory_;
  UniqueFd verb_lock_;
};

/// Removes directories that a cleanup has moved away and did not live to remove.
Result<void> SweepRemovedJobs(const std::string& state_dir);

}  // namespace carrel
