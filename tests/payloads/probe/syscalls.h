// Dangerous system calls, with arguments that do no harm when they reach the kernel.
#ifndef PROBE_SYSCALLS_H_
#define PROBE_SYSCALLS_H_

#include <linux/audit.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/personality.h>

#include "report.h"

#define BAD 1L /* a pointer to nothing: EFAULT says that the kernel followed it */

struct call {
  const char* name;
  long number;
  long args[6];
};

static const struct call kCalls[] = {
    {"unshare-user", SYS_unshare, {CLONE_NEWUSER}},
    {"unshare-mount", SYS_unshare, {CLONE_NEWNS}},
    {"unshare-net", SYS_unshare, {CLONE_NEWNET}},
    {"unshare-pid", SYS_unshare, {CLONE_NEWPID}},
    {"unshare-ipc", SYS_unshare, {CLONE_NEWIPC}},
    {"unshare-uts", SYS_unshare, {CLONE_NEWUTS}},
    {"unshare-cgroup", SYS_unshare, {CLONE_NEWCGROUP}},
    {"unshare-time", SYS_unshare, {CLONE_NEWTIME}},
    {"unshare-files", SYS_unshare, {CLONE_FILES}},
    {"setns", SYS_setns, {-1, 0}},
    {"clone3", SYS_clone3, {BAD, 64}},
    {"mount", SYS_mount, {BAD, BAD, BAD, 0, 0}},
    {"umount2", SYS_umount2, {BAD, 0}},
    {"pivot_root", SYS_pivot_root, {BAD, BAD}},
    {"chroot", SYS_chroot, {BAD}},
    {"open_tree", SYS_open_tree, {-1, BAD, 0}},
    {"open_tree_clone", SYS_open_tree, {-1, BAD, 1}},
    {"move_mount", SYS_move_mount, {-1, BAD, -1, BAD, 0}},
    {"fsopen", SYS_fsopen, {BAD, 0}},
    {"fsconfig", SYS_fsconfig, {-1, 99, 0, 0, 0}},
    {"fsmount", SYS_fsmount, {-1, 0, 0}},
    {"fspick", SYS_fspick, {-1, BAD, 0}},
    {"mount_setattr", SYS_mount_setattr, {-1, BAD, 0, BAD, 32}},
    {"statmount", 457, {BAD, BAD, 0, 0}},
    {"listmount", 458, {BAD, BAD, 0, 0}},
    {"name_to_handle_at", SYS_name_to_handle_at, {-1, BAD, BAD, BAD, 0}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, BAD, 0}},
    {"swapon", SYS_swapon, {BAD, 0}},
    {"swapoff", SYS_swapoff, {BAD}},
    {"bpf", SYS_bpf, {0, BAD, 64}},
    {"perf_event_open", SYS_perf_event_open, {BAD, 0, -1, -1, 0}},
    {"userfaultfd", SYS_userfaultfd, {0x40000000}},
    {"init_module", SYS_init_module, {BAD, 1, BAD}},
    {"finit_module", SYS_finit_module, {-1, BAD, 0}},
    {"delete_module", SYS_delete_module, {BAD, 0}},
    {"kexec_load", SYS_kexec_load, {0, 99999, BAD, 0}},
    {"kexec_file_load", SYS_kexec_file_load, {-1, -1, 0, BAD, 0}},
    {"reboot", SYS_reboot, {0, 0, 0, 0}},
    {"acct", SYS_acct, {BAD}},
    {"syslog", SYS_syslog, {3, BAD, 1}},
    {"lookup_dcookie", SYS_lookup_dcookie, {0, BAD, 0}},
    {"fanotify_init", SYS_fanotify_init, {0xffffffff, 0}},
    {"fanotify_mark", SYS_fanotify_mark, {-1, 0, 0, -1, BAD}},
    {"quotactl", SYS_quotactl, {0, BAD, 0, BAD}},
    {"quotactl_fd", SYS_quotactl_fd, {-1, 0, 0, BAD}},
    {"vhangup", SYS_vhangup, {0}},
    {"uselib", SYS_uselib, {BAD}},
    {"ustat", SYS_ustat, {0, BAD}},
    {"sysfs", SYS_sysfs, {99}},
    {"io_uring_setup", SYS_io_uring_setup, {1, BAD}},
    {"io_uring_enter", SYS_io_uring_enter, {-1, 0, 0, 0, 0, 0}},
    {"io_uring_register", SYS_io_uring_register, {-1, 0, 0, 0}},
    {"io_setup", SYS_io_setup, {1, BAD}},
    {"io_submit", SYS_io_submit, {0, 1, BAD}},
    {"add_key", SYS_add_key, {BAD, BAD, BAD, 1, 0}},
    {"request_key", SYS_request_key, {BAD, BAD, 0, 0}},
    {"keyctl-join", SYS_keyctl, {1, 0}},
    {"keyctl-read", SYS_keyctl, {11, -3, 0, 0}},
    {"keyctl-id", SYS_keyctl, {0, -4, 0}},
    {"settimeofday", SYS_settimeofday, {BAD, 0}},
    {"clock_settime", SYS_clock_settime, {0, BAD}},
    {"clock_adjtime", SYS_clock_adjtime, {0, BAD}},
    {"adjtimex", SYS_adjtimex, {BAD}},
    {"sethostname", SYS_sethostname, {BAD, 4}},
    {"setdomainname", SYS_setdomainname, {BAD, 4}},
    {"iopl", SYS_iopl, {99}},
    {"ioperm", SYS_ioperm, {70000, 1, 1}},
    {"modify_ldt", SYS_modify_ldt, {1, BAD, 1}},
    {"vmsplice", SYS_vmsplice, {-1, BAD, 1, 0}},
    {"remap_file_pages", SYS_remap_file_pages, {BAD, 0, 1, 0, 0}},
    {"mbind", SYS_mbind, {BAD, 0, 99, 0, 0, 0}},
    {"set_mempolicy", SYS_set_mempolicy, {99, 0, 0}},
    {"get_mempolicy", SYS_get_mempolicy, {BAD, 0, 0, 0, 99}},
    {"move_pages", SYS_move_pages, {1, 1, BAD, BAD, BAD, 0}},
    {"migrate_pages", SYS_migrate_pages, {1, 1, BAD, BAD}},
    {"memfd_secret", 447, {99}},
    {"memfd_create-huge", SYS_memfd_create, {BAD, 4}},
    {"madvise-mergeable", SYS_madvise, {BAD & ~4095L, 4096, 12}},
    {"preadv2-nowait", SYS_preadv2, {-1, BAD, 1, 0, 0, 8}},
    {"syncfs", SYS_syncfs, {-1}},
    {"mincore", SYS_mincore, {BAD, 1, BAD}},
    {"inotify_init", SYS_inotify_init, {0}},
    {"inotify_add_watch", SYS_inotify_add_watch, {-1, BAD, 1}},
    {"fcntl-notify", SYS_fcntl, {-1, F_NOTIFY, 1}},
    {"fcntl-lease", SYS_fcntl, {-1, F_SETLEASE, F_WRLCK}},
    {"ptrace-seize-init", SYS_ptrace, {0x4206, 1, 0, 0}},
    {"ptrace-traceme", SYS_ptrace, {0, 0, 0, 0}},
    {"process_vm_readv-init", SYS_process_vm_readv, {1, BAD, 1, BAD, 1, 0}},
    {"process_vm_writev-init", SYS_process_vm_writev, {1, BAD, 1, BAD, 1, 0}},
    {"pidfd_getfd", SYS_pidfd_getfd, {-1, 0, 0}},
    {"kcmp", SYS_kcmp, {1, 1, 0, 0, 0}},
    {"process_madvise", SYS_process_madvise, {-1, BAD, 1, 0, 0}},
    {"process_mrelease", SYS_process_mrelease, {-1, 0}},
    {"sched_setscheduler-fifo", SYS_sched_setscheduler, {0, 1, BAD}},
    {"sched_setattr", SYS_sched_setattr, {0, BAD, 0}},
    {"setgroups", SYS_setgroups, {1, BAD}},
    {"personality-no-randomize", SYS_personality, {ADDR_NO_RANDOMIZE}},
    {"personality-linux32", SYS_personality, {PER_LINUX32}},
    {"seccomp-listener", SYS_seccomp, {1, 8, BAD}},
    {"prctl-set-mm", SYS_prctl, {35, 99, 0, 0, 0}},
    {"prctl-set-ptracer", SYS_prctl, {0x59616d61, 1, 0, 0, 0}},
    {"prctl-set-securebits", SYS_prctl, {28, 0, 0, 0, 0}},
    {"prctl-task-perf", SYS_prctl, {31, 0, 0, 0, 0}},
    {"prctl-syscall-user-dispatch", SYS_prctl, {59, 99, 0, 0, 0}},
    {"prctl-sched-core", SYS_prctl, {62, 99, 0, 0, 0}},
    {"ioctl-tiocsti", SYS_ioctl, {0, TIOCSTI, BAD}},
    {"ioctl-tiocsti-high-bits", SYS_ioctl, {0, 0x100000000L | TIOCSTI, BAD}},
    {"ioctl-tioclinux", SYS_ioctl, {0, TIOCLINUX, BAD}},
    {"ioctl-tioclinux-high-bits", SYS_ioctl, {0, 0x700000000L | TIOCLINUX, BAD}},
    {"ioctl-tiocsctty", SYS_ioctl, {0, TIOCSCTTY, 0}},
    {"ioctl-tiocsetd", SYS_ioctl, {0, TIOCSETD, BAD}},
    {"ioctl-tioccons", SYS_ioctl, {0, TIOCCONS, 0}},
    {"ioctl-setflags", SYS_ioctl, {0, 0x40086602, BAD}},
    {"ioctl-fifreeze", SYS_ioctl, {0, 0xc0045877, BAD}},
    {"ioctl-ns-get-userns", SYS_ioctl, {0, 0xb701, 0}},
    {"ioctl-kvm", SYS_ioctl, {0, 0xae00, 0}},
    {"ioctl-unknown", SYS_ioctl, {0, 0xdead, 0}},
    {"mknod-char", SYS_mknod, {(long)"/tmp/node", S_IFCHR | 0600, 0x101}},
    {"mknod-block", SYS_mknod, {(long)"/tmp/node", S_IFBLK | 0600, 0x700}},
    {"mknodat-char", SYS_mknodat, {AT_FDCWD, (long)"/tmp/node", S_IFCHR | 0600, 0x101}},
    {"create_module", 174, {BAD, 1}},
    {"_sysctl", 156, {BAD}},
    {"nfsservctl", 180, {0, BAD, BAD}},
    {"cachestat", 451, {-1, BAD, BAD, 0}},
    {"map_shadow_stack", 453, {BAD, 0, 0}},
    {"lsm_set_self_attr", 460, {0, BAD, 0, 0}},
    {"fchmodat2-setuid", 452, {AT_FDCWD, (long)"/tmp", 06755, 0}},
    {"setxattrat", 463, {-1, BAD, 0, BAD, BAD, 24}},
    {"open_tree_attr", 467, {-1, BAD, 1, BAD, 32}},
    {"file_setattr", 469, {-1, BAD, BAD, 24, 0}},
    {"shmget-huge", SYS_shmget, {0, 2 << 20, 04000 | 01600}},
    {"unknown-600", 600, {0}},
    {"unknown-1000", 1000, {0}},
    {"unknown-negative", -1, {0}},
    {"x32-getpid", 0x40000000L | SYS_getpid, {0}},
    {"x32-ptrace", 0x40000000L | 521, {0}},
    {"x32-execve", 0x40000000L | 520, {BAD, 0, 0}},
};

static const struct call* current;
static int make_call(void) {
  const long* a = current->args;
  return syscall(current->number, a[0], a[1], a[2], a[3], a[4], a[5]) == -1 ? errno : 0;
}

// Each in a process of its own: where one is open, it must not change what the next ones tell.
static void probe_calls(void) {
  for (size_t i = 0; i < sizeof kCalls / sizeof kCalls[0]; ++i) {
    current = &kCalls[i];
    char name[80];
    snprintf(name, sizeof name, "call-%s", current->name);
    const int code = in_child(make_call);
    barred(name, code == EPERM || code == ENOSYS, "%s",
           code == 0    ? "it succeeded"
           : code < 128 ? strerrorname_np(code)
                        : "killed");
  }
}

// clone takes its flags by value, so a filter sees them.
static void probe_clone_flags(void) {
  static const struct {
    const char* name;
    unsigned long flag;
  } flags[] = {{"clone-newuser", CLONE_NEWUSER},    {"clone-newns", CLONE_NEWNS},
               {"clone-newnet", CLONE_NEWNET},      {"clone-newpid", CLONE_NEWPID},
               {"clone-newipc", CLONE_NEWIPC},      {"clone-newuts", CLONE_NEWUTS},
               {"clone-newcgroup", CLONE_NEWCGROUP}};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; ++i) {
    long pid = syscall(SYS_clone, flags[i].flag | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    const int code = errno;
    if (pid > 0) waitpid((pid_t)pid, NULL, 0);
    errno = code;
    barred_call(flags[i].name, pid < 0 ? -1 : pid);
  }
  long result = syscall(SYS_clone3, 0, 0);
  barred("clone3-is-enosys", result == -1 && errno == ENOSYS, "%s", strerrorname_np(errno));
}

// A system call of the i386 ABI from a 64-bit process.
static long int80(long number, long b, long c, long d) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(b), "c"(c), "d"(d)
                   : "memory", "r8", "r9", "r10", "r11");
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}

static int int80_getpid(void) {
  errno = 0;
  return int80(20, 0, 0, 0) == -1 ? errno : 0;
}
static int int80_socketcall(void) { return int80(102, 1, 1, 0) == -1 ? errno : 0; }
static int int80_execve(void) { return int80(11, 1, 0, 0) == -1 ? errno : 0; }
static int int80_keyctl(void) { return int80(288, 0, 0, 0) == -1 ? errno : 0; }

static void probe_i386(void) {
  static const struct {
    const char* name;
    int (*call)(void);
  } calls[] = {{"int80-getpid", int80_getpid},
               {"int80-socketcall", int80_socketcall},
               {"int80-execve", int80_execve},
               {"int80-keyctl", int80_keyctl}};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; ++i) {
    const int code = in_child(calls[i].call);
    // A kernel without the ABI kills with SIGSEGV: closed as well.
    barred(calls[i].name, code == ENOSYS || code == EPERM || code == 128 + SIGSEGV, "%d", code);
  }
}

#endif
