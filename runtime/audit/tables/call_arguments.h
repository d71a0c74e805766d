// Which arguments of which calls are flags, constants or modes, and of which group. No header of
// the kernel's says so (it says only what the names are worth).
#pragma once

#include <array>
#include <cstdint>

#include "audit/tables/flag_names.h"
#include "audit/tables/newer_calls.h"

namespace carrel::tables {

/// What an argument is: a group's number plus one, or one of these.
enum Kind : uint8_t {
  kPlain = 0,
  kOctal = 0xe0,       ///< permissions
  kTypeAndMode,        ///< of mknod: S_IF* and permissions
  kCloneWord,          ///< of clone: flags and, in the low byte, a signal
  kSocketType,         ///< of socket: a kind and flags
  kFutexWord,          ///< an operation and flags
  kFcntlArgument,      ///< by the command before it
  kPrctlArgument,      ///< by the option before it
  kShmGet,             ///< IPC_* and permissions
  kLogicalDescriptor,  ///< a descriptor, or AT_FDCWD
  kId,                 ///< a uid, gid or pid: signed
  kNone,               ///< the call has no such argument
  kMapFlags,           ///< of mmap: with a page size in the high bits
  kSignal,             ///< a signal's number
  kSocketProtocol,     ///< by the family, two arguments before it
  kSocketLevel,        ///< of socket options
  kSocketOption,       ///< by the level before it
  kAmbientCapability,  ///< of prctl(PR_CAP_AMBIENT)
};

struct CallArguments {
  uint32_t nr;
  uint8_t count;
  std::array<uint8_t, 6> kinds;
};

constexpr uint8_t Of(FlagGroup group) { return static_cast<uint8_t>(group) + 1; }

// clang-format off
#define G(name) Of(FlagGroup::k##name)
#define C(name, count, ...) {__NR_##name, count, {__VA_ARGS__}},
inline constexpr CallArguments kCalls[] = {
    // files
    C(open, 3, 0, G(OpenFlags), kOctal)
    C(openat, 4, kLogicalDescriptor, 0, G(OpenFlags), kOctal)
    C(openat2, 4, kLogicalDescriptor)
    C(creat, 2, 0, kOctal)
    C(close, 1, kId)
    C(close_range, 3, 0, 0, G(CloseRangeFlags))
    C(read, 3) C(write, 3) C(readv, 3) C(writev, 3) C(pread64, 4) C(pwrite64, 4)
    C(preadv, 5) C(pwritev, 5) C(preadv2, 6, 0, 0, 0, 0, 0, G(ReadWriteFlags)) C(pwritev2, 6, 0, 0, 0, 0, 0, G(ReadWriteFlags))
    C(lseek, 3, 0, kId, G(Seek))
    C(stat, 2) C(lstat, 2) C(fstat, 2)
    C(newfstatat, 4, kLogicalDescriptor, 0, 0, G(AtFlags))
    C(statx, 5, kLogicalDescriptor, 0, G(AtFlags), G(StatxMask))
    C(access, 2, 0, G(AccessMode))
    C(faccessat, 3, kLogicalDescriptor, 0, G(AccessMode))
    C(faccessat2, 4, kLogicalDescriptor, 0, G(AccessMode), G(AccessFlags))
    C(readlink, 3) C(readlinkat, 4, kLogicalDescriptor)
    C(unlink, 1) C(unlinkat, 3, kLogicalDescriptor, 0, G(UnlinkFlags))
    C(rename, 2) C(renameat, 4, kLogicalDescriptor, 0, kLogicalDescriptor)
    C(renameat2, 5, kLogicalDescriptor, 0, kLogicalDescriptor, 0, G(RenameFlags))
    C(mkdir, 2, 0, kOctal) C(mkdirat, 3, kLogicalDescriptor, 0, kOctal) C(rmdir, 1)
    C(mknod, 3, 0, kTypeAndMode) C(mknodat, 4, kLogicalDescriptor, 0, kTypeAndMode)
    C(link, 2) C(linkat, 5, kLogicalDescriptor, 0, kLogicalDescriptor, 0, G(AtFlags))
    C(symlink, 2) C(symlinkat, 3, 0, kLogicalDescriptor)
    C(chmod, 2, 0, kOctal) C(fchmod, 2, 0, kOctal) C(fchmodat, 3, kLogicalDescriptor, 0, kOctal)
    C(fchmodat2, 4, kLogicalDescriptor, 0, kOctal, G(AtFlags))
    C(chown, 3, 0, kId, kId) C(lchown, 3, 0, kId, kId) C(fchown, 3, 0, kId, kId)
    C(fchownat, 5, kLogicalDescriptor, 0, kId, kId, G(AtFlags))
    C(umask, 1, kOctal) C(chdir, 1) C(fchdir, 1) C(chroot, 1) C(getcwd, 2)
    C(truncate, 2) C(ftruncate, 2)
    C(fallocate, 4, 0, G(FallocateFlags))
    C(utimensat, 4, kLogicalDescriptor, 0, 0, G(AtFlags))
    C(futimesat, 3, kLogicalDescriptor) C(utime, 2) C(utimes, 2)
    C(statfs, 2) C(fstatfs, 2) C(fsync, 1) C(fdatasync, 1) C(sync, 0) C(syncfs, 1)
    C(flock, 2, 0, G(FlockFlags))
    C(fcntl, 3, 0, G(Fcntl), kFcntlArgument)
    C(ioctl, 3, 0, G(Ioctl))
    C(dup, 1) C(dup2, 2) C(dup3, 3, 0, 0, G(PipeFlags))
    C(pipe, 1) C(pipe2, 2, 0, G(PipeFlags))
    C(getdents, 3) C(getdents64, 3) C(sendfile, 4) C(copy_file_range, 6)
    C(splice, 6, 0, 0, 0, 0, 0, G(SpliceFlags)) C(tee, 4, 0, 0, 0, G(SpliceFlags))
    C(vmsplice, 4, 0, 0, 0, G(SpliceFlags))
    C(setxattr, 5, 0, 0, 0, 0, G(XattrFlags)) C(lsetxattr, 5, 0, 0, 0, 0, G(XattrFlags))
    C(fsetxattr, 5, 0, 0, 0, 0, G(XattrFlags)) C(getxattr, 4) C(lgetxattr, 4) C(fgetxattr, 4)
    C(listxattr, 3) C(llistxattr, 3) C(flistxattr, 3)
    C(removexattr, 2) C(lremovexattr, 2) C(fremovexattr, 2)
    C(setxattrat, 6, kLogicalDescriptor, 0, G(AtFlags)) C(getxattrat, 6, kLogicalDescriptor, 0, G(AtFlags))
    C(listxattrat, 5, kLogicalDescriptor, 0, G(AtFlags)) C(removexattrat, 4, kLogicalDescriptor, 0, G(AtFlags))
    C(file_getattr, 5, kLogicalDescriptor, 0, 0, 0, G(AtFlags)) C(file_setattr, 5, kLogicalDescriptor, 0, 0, 0, G(AtFlags))
    C(readahead, 3) C(fadvise64, 4, 0, 0, 0, G(FileAdvice)) C(sync_file_range, 4, 0, 0, 0, G(SyncRangeFlags))
    C(cachestat, 4) C(quotactl, 4) C(quotactl_fd, 4) C(swapon, 2) C(swapoff, 1) C(acct, 1)
    C(fanotify_mark, 5, 0, 0, 0, kLogicalDescriptor)
    C(mq_open, 4, 0, G(OpenFlags), kOctal) C(mq_unlink, 1) C(io_setup, 2) C(io_destroy, 1) C(io_submit, 3)
    C(inotify_init, 0) C(inotify_init1, 1, G(InotifyFlags))
    C(inotify_add_watch, 3, 0, 0, G(InotifyMask)) C(inotify_rm_watch, 2)
    C(fanotify_init, 2, G(FanotifyFlags), G(OpenFlags))
    C(memfd_create, 2, 0, G(MemfdFlags))
    C(name_to_handle_at, 5, kLogicalDescriptor, 0, 0, 0, G(AtFlags)) C(open_by_handle_at, 3, 0, 0, G(OpenFlags))
    // memory
    C(mmap, 6, 0, 0, G(Protection), kMapFlags, kId)
    C(mprotect, 3, 0, 0, G(Protection)) C(pkey_mprotect, 4, 0, 0, G(Protection))
    C(munmap, 2) C(brk, 1) C(mremap, 5, 0, 0, 0, G(RemapFlags))
    C(madvise, 3, 0, 0, G(Advice)) C(msync, 3, 0, 0, G(SyncFlags)) C(mincore, 3)
    C(mlock, 2) C(mlock2, 3, 0, 0, G(LockOnFault)) C(munlock, 2) C(mlockall, 1, G(LockAllFlags)) C(munlockall, 0)
    C(shmget, 3, 0, 0, kShmGet) C(shmat, 3, 0, 0, G(ShmFlags)) C(shmdt, 1)
    C(shmctl, 3, 0, G(IpcCommand)) C(semget, 3, 0, 0, kShmGet) C(msgget, 2, 0, kShmGet)
    C(msgctl, 3, 0, G(IpcCommand)) C(semctl, 4, 0, 0, G(IpcCommand))
    C(semop, 3) C(semtimedop, 4) C(msgsnd, 4) C(msgrcv, 5) C(membarrier, 3) C(memfd_secret, 1)
    C(pkey_alloc, 2, 0, G(PkeyRights)) C(pkey_free, 1) C(mseal, 3) C(map_shadow_stack, 3)
    C(process_madvise, 5, 0, 0, 0, G(Advice)) C(process_mrelease, 2) C(mbind, 6) C(set_mempolicy, 3)
    C(get_mempolicy, 5) C(move_pages, 6, kId) C(migrate_pages, 4, kId)
    C(userfaultfd, 1, G(PipeFlags))
    // processes and credentials
    C(clone, 5, kCloneWord) C(clone3, 2) C(fork, 0) C(vfork, 0)
    C(unshare, 1, G(CloneFlags)) C(setns, 2, 0, G(CloneFlags))
    C(execve, 3) C(execveat, 5, kLogicalDescriptor, 0, 0, 0, G(AtFlags))
    C(exit, 1, kId) C(exit_group, 1, kId)
    C(wait4, 4, kId, 0, G(WaitFlags)) C(waitid, 5, G(WaitId), kId, 0, G(WaitFlags))
    C(getpid, 0) C(getppid, 0) C(gettid, 0) C(getuid, 0) C(geteuid, 0) C(getgid, 0) C(getegid, 0)
    C(getpgrp, 0) C(getpgid, 1, kId) C(setpgid, 2, kId, kId) C(getsid, 1, kId) C(setsid, 0)
    C(setuid, 1, kId) C(setgid, 1, kId) C(setreuid, 2, kId, kId) C(setregid, 2, kId, kId)
    C(setresuid, 3, kId, kId, kId) C(setresgid, 3, kId, kId, kId)
    C(setfsuid, 1, kId) C(setfsgid, 1, kId) C(getgroups, 2) C(setgroups, 2)
    C(capget, 2) C(capset, 2)
    C(prctl, 5, G(Prctl), kPrctlArgument, kAmbientCapability) C(arch_prctl, 2, G(ArchPrctl))
    C(seccomp, 3, G(SeccompOperation), G(SeccompFlags))
    C(landlock_create_ruleset, 3, 0, 0, G(LandlockFlags)) C(landlock_add_rule, 4)
    C(landlock_restrict_self, 2) C(lsm_get_self_attr, 4) C(lsm_set_self_attr, 4) C(lsm_list_modules, 3)
    C(personality, 1) C(uretprobe, 0) C(get_robust_list, 3, kId) C(kcmp, 5, kId, kId)
    C(sched_getparam, 2, kId) C(sched_setparam, 2, kId) C(sched_setattr, 3, kId) C(sched_getattr, 4, kId)
    C(getresuid, 3) C(getresgid, 3)
    C(ptrace, 4, G(Ptrace), kId) C(process_vm_readv, 6) C(process_vm_writev, 6)
    C(getrlimit, 2, G(Resource)) C(setrlimit, 2, G(Resource)) C(prlimit64, 4, kId, G(Resource))
    C(getpriority, 2, G(PriorityOf), kId) C(setpriority, 3, G(PriorityOf), kId, kId)
    C(sched_setscheduler, 3, kId, G(Scheduler)) C(sched_getscheduler, 1, kId)
    C(sched_yield, 0) C(sched_getaffinity, 3, kId) C(sched_setaffinity, 3, kId)
    C(pidfd_open, 2, kId, G(PidfdFlags)) C(pidfd_send_signal, 4, 0, kSignal) C(pidfd_getfd, 3)
    C(set_tid_address, 1) C(set_robust_list, 2) C(rseq, 4) C(pause, 0) C(restart_syscall, 0)
    // signals
    C(kill, 2, kId, kSignal) C(tkill, 2, kId, kSignal) C(tgkill, 3, kId, kId, kSignal)
    C(rt_sigaction, 4, kSignal) C(rt_sigprocmask, 4, G(SignalHow)) C(rt_sigreturn, 0)
    C(rt_sigqueueinfo, 3, kId, kSignal) C(rt_tgsigqueueinfo, 4, kId, kId, kSignal)
    C(rt_sigpending, 2) C(rt_sigtimedwait, 4) C(rt_sigsuspend, 2) C(sigaltstack, 2)
    C(signalfd, 3, kId) C(signalfd4, 4, kId, 0, 0, G(SignalFdFlags)) C(alarm, 1)
    // time and waiting
    C(clock_gettime, 2, G(Clock)) C(clock_settime, 2, G(Clock)) C(clock_getres, 2, G(Clock))
    C(clock_nanosleep, 4, G(Clock), G(TimerFlags)) C(nanosleep, 2)
    C(timer_create, 3, G(Clock)) C(timer_settime, 4, 0, G(TimerFlags))
    C(timerfd_create, 2, G(Clock), G(TimerFdFlags)) C(timerfd_settime, 4, 0, G(TimerFlags))
    C(getitimer, 2, G(Interval)) C(setitimer, 3, G(Interval)) C(gettimeofday, 2) C(time, 1)
    C(futex, 6, 0, kFutexWord) C(futex_waitv, 5, 0, 0, 0, 0, G(Clock)) C(futex_wake, 4)
    C(futex_wait, 6, 0, 0, 0, 0, 0, G(Clock)) C(futex_requeue, 4) C(poll, 3) C(ppoll, 5) C(select, 5) C(pselect6, 6)
    C(epoll_create, 1) C(epoll_create1, 1, G(EpollFlags))
    C(epoll_ctl, 4, 0, G(EpollOperation)) C(epoll_wait, 4, 0, 0, 0, kId)
    C(epoll_pwait, 6, 0, 0, 0, kId) C(epoll_pwait2, 6)
    C(timerfd_gettime, 2) C(timer_gettime, 2) C(timer_getoverrun, 1) C(timer_delete, 1)
    C(eventfd, 1) C(eventfd2, 2, 0, G(EventFdFlags))
    C(getrandom, 3, 0, 0, G(RandomFlags)) C(uname, 1) C(sysinfo, 1) C(times, 1) C(getrusage, 2, kId)
    // sockets
    C(socket, 3, G(Family), kSocketType, kSocketProtocol)
    C(socketpair, 4, G(Family), kSocketType, kSocketProtocol)
    C(bind, 3) C(connect, 3) C(listen, 2) C(accept, 3) C(accept4, 4, 0, 0, 0, G(SocketFlags))
    C(getsockname, 3) C(getpeername, 3) C(shutdown, 2, 0, G(Shutdown))
    C(sendto, 6, 0, 0, 0, G(MessageFlags)) C(recvfrom, 6, 0, 0, 0, G(MessageFlags))
    C(sendmsg, 3, 0, 0, G(MessageFlags)) C(recvmsg, 3, 0, 0, G(MessageFlags))
    C(sendmmsg, 4, 0, 0, 0, G(MessageFlags)) C(recvmmsg, 5, 0, 0, 0, G(MessageFlags))
    C(setsockopt, 5, 0, kSocketLevel, kSocketOption)
    C(getsockopt, 5, 0, kSocketLevel, kSocketOption)
    // mounts and the host
    C(mount, 5, 0, 0, 0, G(MountFlags)) C(umount2, 2, 0, G(UnmountFlags)) C(pivot_root, 2)
    C(fsopen, 2, 0, G(FsOpenFlags)) C(fsmount, 3, 0, G(FsmountFlags), G(MountAttributes))
    C(fsconfig, 5) C(fspick, 3, kLogicalDescriptor, 0, G(FspickFlags))
    C(open_tree_attr, 5, kLogicalDescriptor, 0, G(OpenTreeFlags)) C(statmount, 4) C(listmount, 4)
    C(open_tree, 3, kLogicalDescriptor, 0, G(OpenTreeFlags))
    C(move_mount, 5, kLogicalDescriptor, 0, kLogicalDescriptor, 0, G(MoveMountFlags))
    C(mount_setattr, 5, kLogicalDescriptor, 0, G(AtFlags))
    C(sethostname, 2) C(setdomainname, 2) C(reboot, 4, 0, 0, G(Reboot))
    C(keyctl, 5, G(Keyctl)) C(add_key, 5) C(request_key, 4) C(bpf, 3)
    C(perf_event_open, 5, 0, kId, kId, kId) C(io_uring_setup, 2) C(io_uring_enter, 6) C(io_uring_register, 4)
    C(init_module, 3) C(finit_module, 3) C(delete_module, 2, 0, G(OpenFlags)) C(kexec_load, 4)
    C(kexec_file_load, 5) C(ioperm, 3) C(iopl, 1) C(syslog, 3) C(vhangup, 0) C(lookup_dcookie, 3)
};
#undef C
#undef G
// clang-format on

}  // namespace carrel::tables
