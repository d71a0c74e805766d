#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/if.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "launch/child/landlock.h"
#include "launch/child/program.h"

namespace carrel::child {
namespace {

[[noreturn]] void Exit(int status) {
  for (;;) Call(SYS_exit_group, status);
}

// Opens a mount point beneath the root: no link in any component may lead elsewhere, so a rootfs
// whose "dev" is a link to a host directory is refused here (CVE-2021-30465, CVE-2023-27561).
long OpenTarget(Context& context, const char* path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Do(context, SYS_openat2, context.root, path, &how, sizeof how);
}

long Attach(Context& context, int mount, const char* path) {
  long target = OpenTarget(context, path);
  if (target < 0) return target;
  long result = Do(context, SYS_move_mount, mount, "", target, "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  Call(SYS_close, target);
  return result;
}

long PrivateMounts(Context& context, uint64_t namespaces) {
  // The child is in its cgroups by now: the new cgroup namespace begins there.
  if (long result = Do(context, SYS_unshare, CLONE_NEWCGROUP | namespaces); result < 0)
    return result;
  return Do(context, SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

long AttachRoot(Context& context, const Operation& operation) {
  context.root = operation.fd;
  return Do(context, SYS_move_mount, operation.fd, "", AT_FDCWD, operation.path,
            MOVE_MOUNT_F_EMPTY_PATH);
}

// procfs belongs to the pid namespace of its mounter, so it is the one mount made here. Read-only:
// nothing under it is the action's to write. hidepid=ptraceable: the init cannot be seen.
long MountProc(Context& context, const char* path) {
  long fs = Do(context, SYS_fsopen, "proc", FSOPEN_CLOEXEC);
  if (fs < 0) return fs;
  long result = Do(context, SYS_fsconfig, fs, FSCONFIG_SET_STRING, "hidepid", "ptraceable", 0);
  if (result < 0) return result;
  result = Do(context, SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  if (result < 0) return result;
  long mount = Do(context, SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (mount < 0) return mount;
  result = Attach(context, static_cast<int>(mount), path);
  if (result >= 0) result = Do(context, SYS_fchdir, mount);  // for kCoverProc, until kPivot
  Call(SYS_close, mount);
  Call(SYS_close, fs);
  return result;
}

// Covers one more name of /proc as `covered` is: a bind mount takes its source's flags along. Both
// are looked up from within the mount that was made here: the names there are the kernel's own, and
// no link of the root file system can lead away.
long CoverProc(Context& context, const char* name, const char* covered) {
  return Do(context, SYS_mount, covered, name, nullptr, MS_BIND, nullptr);
}

long Pivot(Context& context) {
  if (long result = Do(context, SYS_fchdir, context.root); result < 0) return result;
  if (long result = Do(context, SYS_pivot_root, ".", "."); result < 0) return result;
  // The old root lies over the new one now; take it away with all that was mounted there.
  if (long result = Do(context, SYS_umount2, ".", MNT_DETACH); result < 0) return result;
  return Do(context, SYS_chdir, "/");
}

long LoopbackUp(Context& context) {
  long socket = Do(context, SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return socket;
  ifreq request = {};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  long result = Do(context, SYS_ioctl, socket, SIOCSIFFLAGS, &request);
  Call(SYS_close, socket);
  return result;
}

long Hostname(Context& context, const char* name) {
  size_t length = 0;
  while (name[length] != '\0') ++length;
  return Do(context, SYS_sethostname, name, length);
}

long Rlimit(Context& context, const Operation& operation) {
  rlimit64 limit = {operation.number2, operation.number2};
  long result = Do(context, SYS_prlimit64, 0, operation.number, &limit, nullptr);
  if (result != -EPERM) return result;
  // The caller's own limit is lower, and to raise it would take CAP_SYS_RESOURCE: it stays.
  result = Do(context, SYS_prlimit64, 0, operation.number, nullptr, &limit);
  if (result < 0 || limit.rlim_max > operation.number2) return result < 0 ? result : -EPERM;
  limit.rlim_cur = limit.rlim_max;
  return Do(context, SYS_prlimit64, 0, operation.number, &limit, nullptr);
}

// The kernel counts what a namespace's users have of some things (pending signals, watches of
// files) as its owner's too. Were that root, one action could take all that the host's
// root may have. No process has the owner's id outside.
long TakeOwnersId(Context& context, uint64_t owner) {
  long result = Do(context, SYS_setresuid, -1, owner, -1);
  if (result < 0) return result;
  // The permitted capabilities stay, as the real id is root's; the effective ones may be gone.
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (result = Do(context, SYS_capget, &header, sets); result < 0) return result;
  for (auto& part : sets) part.effective = part.permitted;
  if (result = Do(context, SYS_capset, &header, sets); result < 0) return result;
  return Do(context, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);  // the change of ids cleared it
}

long UserNamespace(Context& context, uint64_t owner) {
  // setgroups is denied inside: supplementary groups of the caller must go before.
  if (long result = Do(context, SYS_setgroups, 0, nullptr); result < 0) return result;
  if (long result = TakeOwnersId(context, owner); result < 0) return result;
  if (long result = Do(context, SYS_unshare, CLONE_NEWUSER); result < 0) return result;
  Message message = {MessageKind::kMapMe, static_cast<uint32_t>(context.index), 0, 0};
  if (long result = Do(context, SYS_write, context.program.sync_fd, &message, sizeof message);
      result < 0)
    return result;
  char go = 0;
  long result = Do(context, SYS_read, context.program.sync_fd, &go, 1);
  return result == 1 ? 0 : (result < 0 ? result : -EPIPE);
}

long NoMoreUserNamespaces(Context& context, int proc) {
  // The sysctl is that of the opener's user namespace, whichever procfs it is opened through.
  long fd = Do(context, SYS_openat, proc, "sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  long result = Do(context, SYS_write, fd, "0", 1);
  Call(SYS_close, fd);
  return result < 0 ? result : 0;
}

long SetIds(Context& context, uint64_t uid, uint64_t gid) {
  if (long result = Do(context, SYS_setresgid, gid, gid, gid); result < 0) return result;
  if (long result = Do(context, SYS_setresuid, uid, uid, uid); result < 0) return result;
  // A change of ids clears the parent-death signal; from here no id changes any more.
  if (long result = Do(context, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL); result < 0) return result;
  pollfd parent = {context.program.sync_fd, POLLIN, 0};
  if (long result = Do(context, SYS_poll, &parent, 1, 0); result < 0) return result;
  return (parent.revents & (POLLHUP | POLLERR)) != 0 ? -ESRCH : 0;  // it died before the prctl
}

long WorkingDirectory(Context& context, const char* path) {
  if (long result = Do(context, SYS_chdir, path); result < 0) return result;
  // A directory outside of the root reads "(unreachable)..." (CVE-2024-21626).
  char directory[4096] = {};
  long result = Do(context, SYS_getcwd, directory, sizeof directory);
  if (result < 0) return result;
  return directory[0] == '/' ? 0 : -ENOENT;
}

long DropCapabilities(Context& context) {
  constexpr unsigned long kLocked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                    SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                    SECBIT_NO_CAP_AMBIENT_RAISE |
                                    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (long result = Do(context, SYS_prctl, PR_SET_SECUREBITS, kLocked); result < 0) return result;
  for (unsigned long capability = 0; capability < 64; ++capability) {
    long result = Do(context, SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (result == -EINVAL && capability > CAP_LAST_CAP) break;  // past this kernel's last one
    if (result < 0) return result;
  }
  if (long result = Do(context, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
      result < 0)
    return result;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return Do(context, SYS_capset, &header, none);
}

long NoNewPrivileges(Context& context) {
  if (long result = Do(context, SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0); result < 0) return result;
  return Do(context, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// Default disposition for every signal: an ignored SIGPIPE of the caller must not change the
// action.
long ResetSignals(Context& context) {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    uint64_t mask;
  } action = {};
  for (int signal = 1; signal <= 64; ++signal)
    if (signal != SIGKILL && signal != SIGSTOP)
      if (long result = Do(context, SYS_rt_sigaction, signal, &action, nullptr, 8); result < 0)
        return result;
  uint64_t all = ~0ull;  // the init takes its signals with rt_sigtimedwait
  return Do(context, SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8);
}

// Real-time input and output of the caller's is not handed down; a lower priority is.
long ResetIoPriority(Context& context) {
  constexpr long kWhoProcess = 1, kClassShift = 13, kClassRealTime = 1;
  long priority = Do(context, SYS_ioprio_get, kWhoProcess, 0);
  if (priority < 0 || priority >> kClassShift != kClassRealTime) return priority;
  return Do(context, SYS_ioprio_set, kWhoProcess, 0, 0);
}

// Descriptors 0, 1, 2 and the report socket as 3; everything else that the caller left open goes.
long Streams(Context& context) {
  if (long result = ResetSignals(context); result < 0) return result;
  if (long result = ResetIoPriority(context); result < 0) return result;
  if (long result = Do(context, SYS_setsid); result < 0) return result;
  Call(SYS_umask, 0022);
  // A caller without address randomisation, or of another personality, keeps that to itself.
  if (long result = Do(context, SYS_personality, 0); result < 0) return result;
  for (int i = 0; i < 3; ++i)
    if (long result = Do(context, SYS_dup3, context.program.stdio[i], i, 0); result < 0)
      return result;
  if (long result = Do(context, SYS_dup3, context.program.report_fd, 3, 0); result < 0)
    return result;
  return Do(context, SYS_close_range, 4, ~0u, CLOSE_RANGE_CLOEXEC);
}

// The filter that tells the launcher of every call, by a listener. From its making on each call
// waits for the launcher, so the listener's number is said before.
long Listen(Context& context, const sock_fprog& program) {
  const long number = Do(context, SYS_dup, 0);
  if (number < 0) return number;
  Call(SYS_close, number);
  Message message = {MessageKind::kListener, static_cast<uint32_t>(context.index),
                     static_cast<int32_t>(number), 0};
  if (long result = Do(context, SYS_write, context.program.sync_fd, &message, sizeof message);
      result < 0)
    return result;
  long result =
      Do(context, SYS_seccomp, SECCOMP_SET_MODE_FILTER,
         SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  return result < 0 || result == number ? result : -EBADF;
}

// `programs`: the filter, and the one with a listener, which comes first as the filter refuses
// others of that kind.
long Seccomp(Context& context, const sock_fprog* programs) {
  if (programs[1].len != 0)
    if (long result = Listen(context, programs[1]); result < 0) return result;
  return Do(context, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[0]);
}

long RunStep(Context& context, const Operation& operation) {
  switch (operation.step) {
    case Step::kJoinCgroup: {
      long result = Do(context, SYS_write, operation.fd, "0", 1);
      return result < 0 ? result : 0;
    }
    case Step::kPrivateMounts:
      return PrivateMounts(context, operation.number);
    case Step::kAttachRoot:
      return AttachRoot(context, operation);
    case Step::kAttach:
      return Attach(context, operation.fd, operation.path);
    case Step::kProc:
      return MountProc(context, operation.path);
    case Step::kCoverProc:
      return CoverProc(context, operation.path, static_cast<const char*>(operation.data));
    case Step::kPivot:
      return Pivot(context);
    case Step::kLoopbackUp:
      return LoopbackUp(context);
    case Step::kHostname:
      return Hostname(context, operation.path);
    case Step::kAffinity: {
      long result = Do(context, SYS_sched_setaffinity, 0, operation.number, operation.data);
      return result < 0 ? result : 0;
    }
    case Step::kRlimit:
      return Rlimit(context, operation);
    case Step::kUserNamespace:
      return UserNamespace(context, operation.number);
    case Step::kNoMoreUserNamespaces:
      return NoMoreUserNamespaces(context, operation.fd);
    case Step::kIds:
      return SetIds(context, operation.number, operation.number2);
    case Step::kWorkingDirectory:
      return WorkingDirectory(context, operation.path);
    case Step::kKeyring:
      return Do(context, SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
    case Step::kDropCapabilities:
      return DropCapabilities(context);
    case Step::kNoNewPrivileges:
      return NoNewPrivileges(context);
    case Step::kLandlock:
      return ApplyLandlock(context, *static_cast<const LandlockRules*>(operation.data));
    case Step::kStreams:
      return Streams(context);
    case Step::kSeccomp:
      return Seccomp(context, static_cast<const sock_fprog*>(operation.data));
    case Step::kExecInit:
      return Do(context, SYS_execveat, operation.fd, "", context.program.argv,
                context.program.environment, AT_EMPTY_PATH);
  }
  return -ENOSYS;
}

void Execute(void* argument) {
  Context context = {*static_cast<const Program*>(argument)};
  const Program& program = context.program;
  // From here on a parent that dies is seen: by the signal until ids change, by the end of the
  // socket (of which the child must not hold the other end) when it waits and after they did.
  Call(SYS_close, program.parent_fd);
  Call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  for (; context.index < program.count; ++context.index) {
    long result = RunStep(context, program.operations[context.index]);
    if (result >= 0) continue;
    Message message = {MessageKind::kFailed, static_cast<uint32_t>(context.index),
                       static_cast<int32_t>(-result), static_cast<int32_t>(context.call)};
    Call(SYS_write, program.sync_fd, &message, sizeof message);
    break;
  }
  Exit(126);
}

}  // namespace

long Start(const Program& program, clone_args args, void* stack, size_t stack_bytes) {
  args.flags |= CLONE_VM;
  args.stack = reinterpret_cast<uint64_t>(stack);
  args.stack_size = stack_bytes;
  return RawClone(&args, sizeof args, &Execute, const_cast<Program*>(&program));
}

}  // namespace carrel::child
