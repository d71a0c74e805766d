// What a syscall is about: for the time line, and for the sets of files that a job changed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "audit/event.h"

namespace carrel {

enum class CallClass : uint8_t {
  kFiles,    ///< names: open, stat, rename, directories
  kData,     ///< bytes of open descriptors
  kMemory,   ///< maps and protections
  kProcess,  ///< tasks, signals, identities
  kNetwork,  ///< sockets
  kWaiting,  ///< locks, polling, clocks, scheduling
  kOther,
};
inline constexpr size_t kCallClasses = 7;

/// "files", "data", "memory"...
const char* ClassName(CallClass call_class);

CallClass ClassOf(const AuditEvent& call);

/// What an x86-64 call does with the file that it opened.
enum class FileUse : uint8_t { kRead, kWrite };
FileUse UseOf(const AuditEvent& open);

/// Does the call, when it succeeds, change what names stand for (unlink, rename, chmod...)?
bool ChangesNames(const AuditEvent& call);

}  // namespace carrel
