// One row of an audit log, as readers see it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "audit/raw_event.h"

namespace carrel {

enum class EventKind : uint8_t {
  kCall = 0,    ///< a syscall
  kRecord = 1,  ///< a lifecycle record of carrel: JSON
  kTask = 2,    ///< a task was made
  kExec = 3,    ///< a program was executed
  kExit = 4,    ///< a task ended
  kComm = 5,    ///< a task changed its name
  kStop = 6,    ///< a process (tid 0: all of them) was held for the log to catch up
  /// SHA-256 of a file that was executed (`file`; the rows of its execs have the same device and
  /// inode): one Datum of kind kDataDigest, 32 bytes. Without bytes its flags say why: kDataFault
  /// (could not be opened or read any more), kDataChanged, kDataTruncated (too large).
  kDigest = 7,
};
inline constexpr uint8_t kLastEventKind = 7;

/// Who made an event. Ids are the host's; `inner` ones those of the job's pid namespace.
struct TaskInfo {
  uint32_t tid = 0;
  uint32_t tgid = 0;
  uint32_t inner_tid = 0;
  uint32_t inner_tgid = 0;
  uint32_t parent = 0;  ///< host's tid of its maker, 0 when unknown
  std::string_view comm;
};

/// Bytes that an argument pointed to.
struct Datum {
  uint8_t arg = 0;
  uint8_t kind = 0;   ///< RawDataKind
  uint8_t flags = 0;  ///< RawDataFlags
  std::string_view bytes;
};

/// A file as the kernel has it.
struct FileInfo {
  std::string_view path;
  uint64_t inode = 0;
  uint32_t device = 0;
  uint32_t mode = 0;
  uint8_t flags = 0;  ///< RawDataFlags
};

/// Views are valid until the next block is read.
struct AuditEvent {
  EventKind kind = EventKind::kCall;
  uint8_t flags = 0;  ///< RawCallFlags, RawTaskFlags, RawExitFlags or RawStopFlags
  bool has_file = false;
  int64_t time_ns = 0;       ///< CLOCK_MONOTONIC: entry of a call, else when it happened
  uint64_t duration_ns = 0;  ///< of a call
  TaskInfo task;
  uint32_t nr = 0;
  int64_t result = 0;
  std::array<uint64_t, 6> args{};
  std::vector<Datum> data;
  FileInfo file;
  // By kind.
  uint32_t old_tid = 0;     ///< exec
  uint32_t argc = 0;        ///< exec
  uint32_t envc = 0;        ///< exec
  uint32_t code = 0;        ///< exit: as wait() gives it
  uint32_t group_code = 0;  ///< exit: of the process
  bool last = false;        ///< exit: nothing of the process is left
  uint32_t waiting = 0;     ///< stop: bytes that waited
  std::string_view record;  ///< the JSON text of a lifecycle record
};

}  // namespace carrel
