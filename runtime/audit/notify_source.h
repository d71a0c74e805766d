// The second source: seccomp user notification, for hosts without BPF. It sees calls when they
// begin, and nothing else: no result, no refused call, no end of a task. A log of it says so.
#pragma once

#include "audit/event_source.h"
#include "base/unique_fd.h"

namespace carrel {

class EntrySource : public EventSource {
 public:
  /// Takes the listener of the filter that notifies of every call (see the launcher). From then on
  /// every call of the action waits until Drain has recorded it; when this object ends, every
  /// further call fails with ENOSYS.
  virtual Result<void> Listen(UniqueFd listener) = 0;
};

/// Records from the first exec on.
Result<std::unique_ptr<EntrySource>> MakeEntrySource();

}  // namespace carrel
