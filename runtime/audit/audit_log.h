// The private log of one job: lifecycle records (JSON objects) and syscall events, in one
// append-only, hash-chained file. See runtime/audit/FORMAT.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/event_source.h"
#include "base/json.h"
#include "base/redactor.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// The outcome of a finished log.
struct AuditSeal {
  std::string head;  ///< hash of the last block: 64 hexadecimal digits
  std::string path;  ///< the log file
  EventCounts counts;
  uint64_t bytes = 0;  ///< size of the file
};

struct ResumedLog;

class AuditLog {
 public:
  virtual ~AuditLog() = default;

  /// Starts `<state_dir>/audit/<job_id>.carrel-log` (mode 0600; an existing one is an error).
  static Result<std::unique_ptr<AuditLog>> Create(const std::string& state_dir,
                                                  const std::string& job_id);

  /// Goes on with a log that an earlier process left unsealed: after a Pause, or killed. Of one
  /// that was killed, a block that is not whole at the end is cut off, what the kernel's ring still
  /// holds of its events is read (see left_behind.h), and a record "interrupted" says so; nothing
  /// of the action may run any more. kRefused when the chain does not hold, or the log has a
  /// writer.
  static Result<ResumedLog> Resume(const std::string& state_dir, const std::string& job_id);

  /// The most bytes that the log may have, 0 for no limit. When it has more, AppendEvents(nullptr,
  /// 0) fails once: the action is to be killed. What happens until it is dead is still recorded.
  virtual void SetLimit(uint64_t bytes) = 0;

  /// From now on what `redactor` knows is taken out of the strings of events before they are
  /// recorded.
  virtual void Redact(std::shared_ptr<const Redactor> redactor) = 0;

  /// Appends a lifecycle record: `kind` ("decision", "start", "exit", "output", ...) and its
  /// members. The record gets the time of the call. An error (disk full, I/O) is fatal to the job.
  /// After one, events are counted as lost; records and the seal go into room that was kept for
  /// them.
  virtual Result<void> Append(const std::string& kind, const Json& members) = 0;

  /// A number that no other log has.
  virtual uint64_t id() const { return 0; }
  /// Whether Redact was called.
  virtual bool redacts() const { return false; }
  /// From now on `tell` is called before each block is written, with the number of blocks that
  /// there will be; and at once, with the number of those there are. Null ends it.
  virtual void TellBlocks(const std::function<void(uint64_t blocks)>& /*tell*/) {}

  /// Called by an EventSource with raw events (see audit/raw_event.h).
  virtual Result<void> AppendEvents(const void* events, size_t bytes) = 0;

  /// Writes what is buffered: it is there when this process is killed, not when the host is.
  virtual Result<void> Flush() { return {}; }

  /// Says so, writes what is buffered and fsyncs: another process can then go on with the log.
  virtual Result<void> Pause() { return {}; }

  /// The root directory of the action, for the digests of what it executes.
  virtual void SetRoot(UniqueFd root) = 0;

  /// No event comes any more: waits for the digests.
  virtual void Settle() = 0;

  /// Does what sealing needs beforehand (OpenSSL's start, most of a millisecond). Call it while
  /// the action starts, when the supervisor would wait; without it Finish takes that time.
  virtual void WarmUp() {}

  /// Writes the last block, seals, fsyncs and closes. Nothing can be appended afterwards. Events
  /// that could not be written are added to `counts.lost` and taken from its other members.
  virtual Result<AuditSeal> Finish(const EventCounts& counts) = 0;
};

/// What Resume found.
struct ResumedLog {
  std::unique_ptr<AuditLog> log;  ///< null when the log is sealed
  std::optional<AuditSeal> seal;  ///< of a sealed log
  /// Calls that are in the log; of a sealed one, the seal's. `lost` is at least 1 when there may
  /// have been calls that are not.
  EventCounts counts;
};

/// For sources, at their end: the log has all events, with those that wait for their digest, and
/// says so, in blocks that are written. Whoever is killed later takes no event away.
void EndRecording(AuditLog& log, const EventCounts& counts);

}  // namespace carrel
