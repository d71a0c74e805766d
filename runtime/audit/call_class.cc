#include "audit/call_class.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "audit/syscall_names.h"

namespace carrel {
namespace {

constexpr size_t kNumbers = 512;

// No header says what a call is about. A name that these headers don't know is passed over, one
// that is not here is "other".
constexpr const char* kFileCalls[] = {"open",
                                      "openat",
                                      "openat2",
                                      "creat",
                                      "stat",
                                      "lstat",
                                      "newfstatat",
                                      "statx",
                                      "access",
                                      "faccessat",
                                      "faccessat2",
                                      "readlink",
                                      "readlinkat",
                                      "getdents",
                                      "getdents64",
                                      "unlink",
                                      "unlinkat",
                                      "rename",
                                      "renameat",
                                      "renameat2",
                                      "mkdir",
                                      "mkdirat",
                                      "rmdir",
                                      "mknod",
                                      "mknodat",
                                      "link",
                                      "linkat",
                                      "symlink",
                                      "symlinkat",
                                      "chmod",
                                      "fchmod",
                                      "fchmodat",
                                      "chown",
                                      "fchown",
                                      "lchown",
                                      "fchownat",
                                      "chdir",
                                      "fchdir",
                                      "getcwd",
                                      "chroot",
                                      "truncate",
                                      "utime",
                                      "utimes",
                                      "utimensat",
                                      "futimesat",
                                      "statfs",
                                      "fstatfs",
                                      "setxattr",
                                      "lsetxattr",
                                      "fsetxattr",
                                      "getxattr",
                                      "lgetxattr",
                                      "fgetxattr",
                                      "listxattr",
                                      "llistxattr",
                                      "flistxattr",
                                      "removexattr",
                                      "lremovexattr",
                                      "fremovexattr",
                                      "inotify_init",
                                      "inotify_init1",
                                      "inotify_add_watch",
                                      "inotify_rm_watch",
                                      "name_to_handle_at",
                                      "umask"};
constexpr const char* kDataCalls[] = {
    "read",        "write",     "pread64",   "pwrite64",  "readv",          "writev",
    "preadv",      "pwritev",   "preadv2",   "pwritev2",  "lseek",          "close",
    "close_range", "dup",       "dup2",      "dup3",      "pipe",           "pipe2",
    "fcntl",       "flock",     "fsync",     "fdatasync", "sync",           "syncfs",
    "ftruncate",   "fallocate", "fstat",     "ioctl",     "sendfile",       "copy_file_range",
    "splice",      "tee",       "readahead", "fadvise64", "sync_file_range"};
constexpr const char* kMemoryCalls[] = {
    "mmap",    "munmap",  "mremap",        "mprotect",      "pkey_mprotect", "brk",
    "madvise", "mlock",   "mlock2",        "munlock",       "mlockall",      "munlockall",
    "msync",   "mincore", "memfd_create",  "shmget",        "shmat",         "shmdt",
    "shmctl",  "mbind",   "get_mempolicy", "set_mempolicy", "membarrier",    "userfaultfd"};
constexpr const char* kProcessCalls[] = {"clone",
                                         "clone3",
                                         "fork",
                                         "vfork",
                                         "execve",
                                         "execveat",
                                         "exit",
                                         "exit_group",
                                         "wait4",
                                         "waitid",
                                         "kill",
                                         "tkill",
                                         "tgkill",
                                         "rt_sigaction",
                                         "rt_sigprocmask",
                                         "rt_sigreturn",
                                         "rt_sigpending",
                                         "rt_sigqueueinfo",
                                         "rt_tgsigqueueinfo",
                                         "sigaltstack",
                                         "getpid",
                                         "gettid",
                                         "getppid",
                                         "getpgid",
                                         "setpgid",
                                         "getpgrp",
                                         "getsid",
                                         "setsid",
                                         "getuid",
                                         "geteuid",
                                         "getgid",
                                         "getegid",
                                         "getresuid",
                                         "getresgid",
                                         "setuid",
                                         "setgid",
                                         "setreuid",
                                         "setregid",
                                         "setresuid",
                                         "setresgid",
                                         "setfsuid",
                                         "setfsgid",
                                         "getgroups",
                                         "setgroups",
                                         "capget",
                                         "capset",
                                         "prctl",
                                         "arch_prctl",
                                         "ptrace",
                                         "process_vm_readv",
                                         "process_vm_writev",
                                         "pidfd_open",
                                         "pidfd_getfd",
                                         "pidfd_send_signal",
                                         "set_tid_address",
                                         "set_robust_list",
                                         "get_robust_list",
                                         "unshare",
                                         "setns",
                                         "seccomp",
                                         "prlimit64",
                                         "getrlimit",
                                         "setrlimit",
                                         "getrusage",
                                         "getpriority",
                                         "setpriority",
                                         "personality",
                                         "kcmp",
                                         "rseq"};
constexpr const char* kNetworkCalls[] = {
    "socket",   "socketpair", "bind",        "connect",     "listen",     "accept",
    "accept4",  "sendto",     "recvfrom",    "sendmsg",     "recvmsg",    "sendmmsg",
    "recvmmsg", "shutdown",   "getsockname", "getpeername", "getsockopt", "setsockopt"};
constexpr const char* kWaitingCalls[] = {"futex",
                                         "futex_waitv",
                                         "poll",
                                         "ppoll",
                                         "select",
                                         "pselect6",
                                         "epoll_create",
                                         "epoll_create1",
                                         "epoll_ctl",
                                         "epoll_wait",
                                         "epoll_pwait",
                                         "epoll_pwait2",
                                         "nanosleep",
                                         "clock_nanosleep",
                                         "clock_gettime",
                                         "clock_getres",
                                         "gettimeofday",
                                         "time",
                                         "times",
                                         "pause",
                                         "rt_sigsuspend",
                                         "rt_sigtimedwait",
                                         "sched_yield",
                                         "sched_getaffinity",
                                         "sched_setaffinity",
                                         "sched_getparam",
                                         "sched_setparam",
                                         "sched_getscheduler",
                                         "sched_setscheduler",
                                         "sched_get_priority_max",
                                         "sched_get_priority_min",
                                         "restart_syscall",
                                         "eventfd",
                                         "eventfd2",
                                         "timerfd_create",
                                         "timerfd_settime",
                                         "timerfd_gettime",
                                         "timer_create",
                                         "timer_settime",
                                         "timer_gettime",
                                         "timer_getoverrun",
                                         "timer_delete",
                                         "setitimer",
                                         "getitimer",
                                         "alarm",
                                         "signalfd",
                                         "signalfd4",
                                         "semget",
                                         "semop",
                                         "semtimedop",
                                         "semctl",
                                         "msgget",
                                         "msgsnd",
                                         "msgrcv",
                                         "msgctl"};

template <size_t N>
void Mark(const char* const (&names)[N], CallClass call_class,
          std::array<CallClass, kNumbers>& table) {
  for (const char* name : names)
    if (auto nr = SyscallNumber(name); nr && *nr < kNumbers) table[*nr] = call_class;
}

std::array<CallClass, kNumbers> MakeTable() {
  std::array<CallClass, kNumbers> table;
  table.fill(CallClass::kOther);
  Mark(kFileCalls, CallClass::kFiles, table);
  Mark(kDataCalls, CallClass::kData, table);
  Mark(kMemoryCalls, CallClass::kMemory, table);
  Mark(kProcessCalls, CallClass::kProcess, table);
  Mark(kNetworkCalls, CallClass::kNetwork, table);
  Mark(kWaitingCalls, CallClass::kWaiting, table);
  return table;
}

// The first member of the structure at argument `arg` (open_how: flags).
std::optional<uint64_t> FirstOf(const AuditEvent& call, uint8_t arg) {
  for (const Datum& datum : call.data) {
    if (datum.kind != kDataBytes || datum.arg != arg || datum.bytes.size() < 8) continue;
    uint64_t value = 0;
    std::memcpy(&value, datum.bytes.data(), sizeof value);
    return value;
  }
  return std::nullopt;
}

}  // namespace

const char* ClassName(CallClass call_class) {
  static constexpr const char* kNames[kCallClasses] = {"files",   "data",    "memory", "process",
                                                       "network", "waiting", "other"};
  return kNames[static_cast<size_t>(call_class)];
}

CallClass ClassOf(const AuditEvent& call) {
  static const std::array<CallClass, kNumbers> table = MakeTable();
  if ((call.flags & kCallCompat) != 0 || call.nr >= kNumbers) return CallClass::kOther;
  return table[call.nr];
}

FileUse UseOf(const AuditEvent& open) {
  std::optional<uint64_t> flags;
  if (open.nr == SYS_creat) return FileUse::kWrite;
  if (open.nr == SYS_open) flags = open.args[1];
  if (open.nr == SYS_openat) flags = open.args[2];
  if (open.nr == SYS_openat2) flags = FirstOf(open, 2);
  return flags && (*flags & O_ACCMODE) != O_RDONLY ? FileUse::kWrite : FileUse::kRead;
}

bool ChangesNames(const AuditEvent& call) {
  static constexpr uint32_t kCalls[] = {
      SYS_unlink,   SYS_unlinkat,  SYS_rename,   SYS_renameat,  SYS_renameat2,   SYS_mkdir,
      SYS_mkdirat,  SYS_rmdir,     SYS_mknod,    SYS_mknodat,   SYS_link,        SYS_linkat,
      SYS_symlink,  SYS_symlinkat, SYS_chmod,    SYS_fchmodat,  SYS_chown,       SYS_lchown,
      SYS_fchownat, SYS_truncate,  SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_lremovexattr};
  return (call.flags & kCallCompat) == 0 &&
         std::find(std::begin(kCalls), std::end(kCalls), call.nr) != std::end(kCalls);
}

}  // namespace carrel
