// Which arguments of which syscalls point to something that the log keeps. The kernel's headers
// give the numbers; what an argument means is in no header, so it stands here. Plain C.
#ifndef CARREL_AUDIT_CALL_SPECS_H_
#define CARREL_AUDIT_CALL_SPECS_H_

#include "tables/newer_calls.h"

/// Where a socket address is, besides 1 + its argument. (Of sendmmsg, the first message's is kept.)
enum CarrelAddressPlace {
  kAddressInMessage = 0x40,  ///< in the msghdr that the argument points to
  kAddressAtExit = 0x80,     ///< written by the kernel; its length behind the next argument
};

/// X(name, strings, address, opens, bytes, size): `strings` is a bit mask of arguments that are
/// NUL-terminated strings; `address` is 1 + the argument that is a socket address (its length
/// follows it), or 0, with a CarrelAddressPlace; `opens` is 1 when the result is a descriptor of a
/// newly opened file; `bytes` is 1 + the argument that points to a structure of `size` bytes, or
/// with size 0 of as many as the next argument says (128 are kept).
#define CARREL_CALL_SPECS(X)                        \
  X(open, 0x01, 0, 1, 0, 0)                         \
  X(openat, 0x02, 0, 1, 0, 0)                       \
  X(openat2, 0x02, 0, 1, 3, 24)                     \
  X(creat, 0x01, 0, 1, 0, 0)                        \
  X(execve, 0x01, 0, 0, 0, 0)                       \
  X(execveat, 0x02, 0, 0, 0, 0)                     \
  X(stat, 0x01, 0, 0, 0, 0)                         \
  X(lstat, 0x01, 0, 0, 0, 0)                        \
  X(newfstatat, 0x02, 0, 0, 0, 0)                   \
  X(statx, 0x02, 0, 0, 0, 0)                        \
  X(access, 0x01, 0, 0, 0, 0)                       \
  X(faccessat, 0x02, 0, 0, 0, 0)                    \
  X(faccessat2, 0x02, 0, 0, 0, 0)                   \
  X(readlink, 0x01, 0, 0, 0, 0)                     \
  X(readlinkat, 0x02, 0, 0, 0, 0)                   \
  X(unlink, 0x01, 0, 0, 0, 0)                       \
  X(unlinkat, 0x02, 0, 0, 0, 0)                     \
  X(rename, 0x03, 0, 0, 0, 0)                       \
  X(renameat, 0x0a, 0, 0, 0, 0)                     \
  X(renameat2, 0x0a, 0, 0, 0, 0)                    \
  X(mkdir, 0x01, 0, 0, 0, 0)                        \
  X(mkdirat, 0x02, 0, 0, 0, 0)                      \
  X(rmdir, 0x01, 0, 0, 0, 0)                        \
  X(mknod, 0x01, 0, 0, 0, 0)                        \
  X(mknodat, 0x02, 0, 0, 0, 0)                      \
  X(link, 0x03, 0, 0, 0, 0)                         \
  X(linkat, 0x0a, 0, 0, 0, 0)                       \
  X(symlink, 0x03, 0, 0, 0, 0)                      \
  X(symlinkat, 0x05, 0, 0, 0, 0)                    \
  X(chmod, 0x01, 0, 0, 0, 0)                        \
  X(fchmodat, 0x02, 0, 0, 0, 0)                     \
  X(fchmodat2, 0x02, 0, 0, 0, 0)                    \
  X(file_getattr, 0x02, 0, 0, 0, 0)                 \
  X(file_setattr, 0x02, 0, 0, 0, 0)                 \
  X(chown, 0x01, 0, 0, 0, 0)                        \
  X(lchown, 0x01, 0, 0, 0, 0)                       \
  X(fchownat, 0x02, 0, 0, 0, 0)                     \
  X(chdir, 0x01, 0, 0, 0, 0)                        \
  X(chroot, 0x01, 0, 0, 0, 0)                       \
  X(pivot_root, 0x03, 0, 0, 0, 0)                   \
  X(mount, 0x07, 0, 0, 0, 0)                        \
  X(umount2, 0x01, 0, 0, 0, 0)                      \
  X(open_tree, 0x02, 0, 0, 0, 0)                    \
  X(move_mount, 0x0a, 0, 0, 0, 0)                   \
  X(fsopen, 0x01, 0, 0, 0, 0)                       \
  X(fsconfig, 0x0c, 0, 0, 0, 0)                     \
  X(fspick, 0x02, 0, 0, 0, 0)                       \
  X(open_tree_attr, 0x02, 0, 0, 0, 0)               \
  X(fanotify_mark, 0x10, 0, 0, 0, 0)                \
  X(truncate, 0x01, 0, 0, 0, 0)                     \
  X(utime, 0x01, 0, 0, 0, 0)                        \
  X(utimes, 0x01, 0, 0, 0, 0)                       \
  X(utimensat, 0x02, 0, 0, 0, 0)                    \
  X(futimesat, 0x02, 0, 0, 0, 0)                    \
  X(statfs, 0x01, 0, 0, 0, 0)                       \
  X(setxattr, 0x03, 0, 0, 0, 0)                     \
  X(lsetxattr, 0x03, 0, 0, 0, 0)                    \
  X(fsetxattr, 0x02, 0, 0, 0, 0)                    \
  X(getxattr, 0x03, 0, 0, 0, 0)                     \
  X(lgetxattr, 0x03, 0, 0, 0, 0)                    \
  X(fgetxattr, 0x02, 0, 0, 0, 0)                    \
  X(listxattr, 0x01, 0, 0, 0, 0)                    \
  X(llistxattr, 0x01, 0, 0, 0, 0)                   \
  X(removexattr, 0x03, 0, 0, 0, 0)                  \
  X(lremovexattr, 0x03, 0, 0, 0, 0)                 \
  X(fremovexattr, 0x02, 0, 0, 0, 0)                 \
  X(setxattrat, 0x0a, 0, 0, 0, 0)                   \
  X(getxattrat, 0x0a, 0, 0, 0, 0)                   \
  X(listxattrat, 0x02, 0, 0, 0, 0)                  \
  X(removexattrat, 0x0a, 0, 0, 0, 0)                \
  X(inotify_add_watch, 0x02, 0, 0, 0, 0)            \
  X(swapon, 0x01, 0, 0, 0, 0)                       \
  X(swapoff, 0x01, 0, 0, 0, 0)                      \
  X(acct, 0x01, 0, 0, 0, 0)                         \
  X(sethostname, 0x01, 0, 0, 0, 0)                  \
  X(setdomainname, 0x01, 0, 0, 0, 0)                \
  X(memfd_create, 0x01, 0, 0, 0, 0)                 \
  X(add_key, 0x03, 0, 0, 0, 0)                      \
  X(request_key, 0x07, 0, 0, 0, 0)                  \
  X(init_module, 0x04, 0, 0, 0, 0)                  \
  X(finit_module, 0x02, 0, 0, 0, 0)                 \
  X(delete_module, 0x01, 0, 0, 0, 0)                \
  X(mq_open, 0x01, 0, 0, 0, 0)                      \
  X(mq_unlink, 0x01, 0, 0, 0, 0)                    \
  X(quotactl, 0x02, 0, 0, 0, 0)                     \
  X(name_to_handle_at, 0x02, 0, 0, 0, 0)            \
  X(uselib, 0x01, 0, 0, 0, 0)                       \
  X(connect, 0x00, 2, 0, 0, 0)                      \
  X(bind, 0x00, 2, 0, 0, 0)                         \
  X(sendto, 0x00, 5, 0, 0, 0)                       \
  X(sendmsg, 0x00, 2 | kAddressInMessage, 0, 0, 0)  \
  X(sendmmsg, 0x00, 2 | kAddressInMessage, 0, 0, 0) \
  X(accept, 0x00, 2 | kAddressAtExit, 0, 0, 0)      \
  X(accept4, 0x00, 2 | kAddressAtExit, 0, 0, 0)     \
  X(clone3, 0x00, 0, 0, 1, 0)                       \
  X(capset, 0x00, 0, 0, 2, 24)                      \
  X(setrlimit, 0x00, 0, 0, 2, 16)                   \
  X(prlimit64, 0x00, 0, 0, 3, 16)                   \
  X(setsockopt, 0x00, 0, 0, 4, 0)                   \
  X(mount_setattr, 0x02, 0, 0, 4, 0)                \
  X(landlock_create_ruleset, 0x00, 0, 0, 1, 0)      \
  X(landlock_add_rule, 0x00, 0, 0, 3, 12)           \
  X(seccomp, 0x00, 0, 0, 3, 16)                     \
  X(bpf, 0x00, 0, 0, 2, 0)
#endif  // CARREL_AUDIT_CALL_SPECS_H_
