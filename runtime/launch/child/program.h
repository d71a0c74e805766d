// The child program: what a cloned process does until it executes the init, as flat data that the
// parent built. Nothing here allocates, locks, logs or throws: the code runs between clone and
// exec.
//
//   parent                                 child
//     | clone3 (into the cgroup) ----------> | runs step 0, 1, ...
//     | (attaches the audit source)          |
//     | <------------- kMapMe -------------- | at the user-namespace step
//     | writes uid_map, gid_map              |
//     | --------------- 1 byte ------------> |
//     | <------------- kFailed ------------- | a step failed: index, call, errno; then it ends
//     | <--------------- EOF --------------- | the init was executed (the socket closes on exec)
//
// The child runs in the parent's memory, on a stack of its own, until it executes the init: nothing
// is copied for it. So what it points to must stay until the EOF, and it writes to its stack only.
#pragma once

#include <linux/filter.h>
#include <linux/sched.h>

#include <cstddef>
#include <cstdint>

namespace carrel::child {

enum class Step : uint8_t {
  kJoinCgroup,     // fd: tasks of a v1 cgroup
  kPrivateMounts,  // also a new cgroup namespace, rooted where the child is now; number: CLONE_NEW*
                   // of further namespaces
  kAttachRoot,     // fd: a detached mount; path: staging directory
  kAttach,         // fd: a detached mount; path: where, relative to the root
  kProc,           // path: where, relative to the root
  kCoverProc,      // path: a name in /proc; data: the name that is covered already, in the same way
  kPivot,
  kLoopbackUp,
  kHostname,              // path: the name
  kAffinity,              // data: mask, number: its size in bytes
  kRlimit,                // number: resource, number2: the value
  kUserNamespace,         // number: the owner, a uid
  kNoMoreUserNamespaces,  // fd: an O_PATH descriptor of the host's /proc
  kIds,                   // number: uid, number2: gid
  kWorkingDirectory,      // path
  kKeyring,
  kDropCapabilities,
  kNoNewPrivileges,
  kLandlock,  // data: LandlockRules
  kStreams,   // stdio and the report socket in place, everything else close-on-exec
  kSeccomp,   // data: two sock_fprog: the filter, and one with a listener (or of length 0)
  kExecInit,  // fd: the init's program
};

struct LandlockRules {
  const char* const* writable;  // paths beneath which the action may write
  size_t count;
  int abi;        // of the kernel
  bool tcp;       // TCP is free
  uint16_t port;  // else: what may be connected to, or 0
};

struct Operation {
  Step step;
  int fd = -1;
  const char* path = nullptr;
  uint64_t number = 0;
  uint64_t number2 = 0;
  const void* data = nullptr;
};

struct Program {
  const Operation* operations;
  size_t count;
  int sync_fd;    // SOCK_SEQPACKET, close-on-exec, above 9
  int parent_fd;  // the parent's end of it: closed first, or its death would never be seen
  int report_fd;  // becomes descriptor 3 of the init; above 9
  int stdio[3];   // become 0, 1, 2; above 9
  char** argv;    // of the init
  char** environment;
};

enum class MessageKind : uint32_t {
  kMapMe = 1,
  kFailed = 2,
  kListener = 3,  ///< `error` is the descriptor that the listener will be
};

/// What the child sends. `call` is the system call that failed (SYS_*).
struct Message {
  MessageKind kind;
  uint32_t step;
  int32_t error;
  int32_t call;
};

/// Clones a child that shares this process's memory and runs `program` on the given stack, until it
/// executes the init or ends (with status 126, after a failure). `args` as for clone3, without
/// memory and stack. Returns the child's pid, or -errno.
long Start(const Program& program, clone_args args, void* stack, size_t stack_bytes);

}  // namespace carrel::child
