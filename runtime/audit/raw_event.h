// What the BPF programs and the program that reads them agree on. Plain C: both sides include it.
#ifndef CARREL_AUDIT_RAW_EVENT_H_
#define CARREL_AUDIT_RAW_EVENT_H_

#include <linux/types.h>

/// Records of one ring, in the order in which the kernel reserved them. Every record starts with
/// a RawHead. Data and file records come before the record that they belong to (same tid).
enum RawType {
  kRawCall = 1,  ///< RawCall: a syscall, after its exit
  kRawData = 2,  ///< RawData: bytes an argument pointed to, or an exec's names
  kRawFile = 3,  ///< RawFile: the file the kernel opened, or executed
  kRawTask = 4,  ///< RawTask: a task was made, or seen first
  kRawExec = 5,  ///< RawExec: a program was executed
  kRawExit = 6,  ///< RawExit: a task ended
  kRawComm = 7,  ///< RawComm: a task changed its name
  kRawStop = 8,  ///< RawStop: a process was held, for the reader to catch up
};

/// RawHead.flags of calls.
enum RawCallFlags {
  kCallDenied = 1,    ///< no entry was seen: the seccomp filter answered
  kCallNoReturn = 2,  ///< the task ended inside the call
  kCallCompat = 4,    ///< entered through the 32-bit interface: another table of numbers
  kCallNoEntry = 8,   ///< recording began inside this call
  /// Only the entry was seen (seccomp notification): no result, and no time of its end.
  kCallEntryOnly = 16,
};

/// RawHead.flags of data and file records.
enum RawDataFlags {
  kDataTruncated = 1,  ///< longer than what was kept
  kDataLate = 2,       ///< read at exit: the page was not in memory at entry
  kDataFault = 4,      ///< could not be read at all
  kDataExec = 8,       ///< belongs to the next RawExec of the task, not to its next RawCall
  kDataOutside = 16,   ///< the path's start is not the task's root
  kDataChanged = 32,   ///< a digest: the file was changed before it could be taken
};

/// RawData.kind
enum RawDataKind {
  kDataString = 1,    ///< a NUL-terminated argument, without its NUL
  kDataSockaddr = 2,  ///< a socket address, as given
  kDataFilename = 3,  ///< exec: the name the kernel was asked for
  kDataArgv = 4,      ///< exec: arguments, each with its NUL
  kDataBytes = 5,     ///< a structure, as given (see call_specs.h)
  kDataDigest = 6,    ///< SHA-256 of an executed file: 32 bytes, or none
};

/// RawTask.flags
enum RawTaskFlags {
  kTaskThread = 1,    ///< shares its parent's process
  kTaskSharesVm = 2,  ///< shares its parent's memory (vfork, threads)
  kTaskFound = 4,     ///< not seen being made: it was there when recording began
};

/// RawExit.flags
enum RawExitFlags {
  kExitOom = 1,  ///< the kernel chose its process when memory had run out
};

/// RawStop.flags
enum RawStopFlags {
  kStopFrozen = 1,  ///< by the reader, with the cgroup's freezer: all processes; tid and tgid are 0
  kStopKilled = 2,  ///< killed instead: the ring was all but full, so the hold did not hold
};

struct RawHead {
  __u16 size;   ///< bytes of the record, this head included
  __u8 type;    ///< RawType
  __u8 flags;   ///< by type
  __u32 epoch;  ///< of the job that owns the ring; others are left-overs
  __u32 tid;    ///< host's thread id
  __u32 value;  ///< call: number; data: length; exit: exit code as wait() has it
};

struct RawCall {
  struct RawHead head;
  __u64 enter_ns;  ///< CLOCK_MONOTONIC
  __u64 exit_ns;
  __s64 result;
  __u64 args[6];
};

#define CARREL_MAX_DATA 4096
struct RawData {
  struct RawHead head;
  __u8 arg;   ///< which argument (0-5)
  __u8 kind;  ///< RawDataKind
  __u8 pad[6];
  char bytes[CARREL_MAX_DATA];  ///< head.value of them
};

/// Arguments that are kept of an exec that failed.
#define CARREL_MAX_ASKED_ARGS 32

/// A path is read upwards until the root, or as long as a longest part still fits into `parts`.
#define CARREL_MAX_PATH_PARTS 2048
#define CARREL_MAX_PART 256
struct RawFile {
  struct RawHead head;  ///< value: bytes of parts
  __u64 inode;
  __u32 device;   ///< kernel's dev_t: major << 20 | minor
  __u32 mode;     ///< type and permissions
  __s64 ctime_s;  ///< last change of the inode
  __u64 size;     ///< bytes of content
  __u32 ctime_ns;
  __u32 pad;
  /// Components from the file upwards, each with its NUL.
  char parts[CARREL_MAX_DATA];
};

struct RawTask {
  struct RawHead head;
  __u64 time_ns;
  __u32 tgid;
  __u32 inner_tid;  ///< in the innermost pid namespace
  __u32 inner_tgid;
  __u32 parent;  ///< host's tid of the task that made it, 0 if found
  char comm[16];
};

struct RawExec {
  struct RawHead head;  ///< value: old tid (differs when not the leader executed)
  __u64 time_ns;
  __u32 argc;
  __u32 envc;
  __u32 tgid;
  __u32 inner_tid;
  char comm[16];
};

struct RawExit {
  struct RawHead head;
  __u64 time_ns;
  __u32 group_code;  ///< of the process, if it ends as a whole
  __u32 last;        ///< 1: no other task of the process is left
};

struct RawComm {
  struct RawHead head;
  __u64 time_ns;
  char comm[16];
};

struct RawStop {
  struct RawHead head;  ///< value: bytes that waited in the ring
  __u64 time_ns;
  __u32 tgid;
  __u32 pad;
};

/// How far the log had come when it got its block number `blocks`.
struct BlockMark {
  __u64 blocks;
  __u64 position;  ///< in the ring: what lies before it is in these blocks
};
#define CARREL_MARKS 4

/// One per ring; memory shared with the reader. It outlives the reader: who finds its log without
/// a seal finds here what of the ring is not yet in it.
struct SlotState {
  // Written by the reader, before the job and after it.
  __u32 epoch;  ///< 0: free
  __u32 wake_at;
  __u32 stop_at;
  __u32 armed;       ///< set by the first exec
  __u64 cgroup;      ///< of the job, for whoever cleans up after a dead reader
  __u32 last_epoch;  ///< the highest that was given out
  __u32 kill_at;
  __u64 log;       ///< AuditLog::id of the log that the events go into; 0: none
  __u32 withheld;  ///< that log takes secrets out of strings, and they are in the ring
  __u32 pad0;
  __u64 pad1[2];
  // Written by the programs.
  __u64 lost;
  __u64 stops;
  __u32 woken;   ///< set when the reader was woken, cleared by the reader
  __u32 killed;  ///< processes that were killed because the ring was all but full
  __u64 pad2[5];
  // Written by the reader, before each block: of block n the mark n % CARREL_MARKS.
  struct BlockMark marks[CARREL_MARKS];
};

/// Value of the map from cgroup id to ring.
struct JobEntry {
  __u32 slot;
  __u32 epoch;
};

#define CARREL_SLOTS 128
/// Of the array `present`: for cgroup ids with the same last bits, how many of them are jobs'; the
/// element after the last says how many there are in all. (64 bits: as the kernel lays arrays out.)
#define CARREL_BUCKETS 256
/// A ring must hold a page's multiple and a power of two. Chosen by measurement: see FORMAT.md.
#define CARREL_RING_BYTES (4u << 20)

#endif  // CARREL_AUDIT_RAW_EVENT_H_
