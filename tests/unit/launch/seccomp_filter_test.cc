// The filters, evaluated in user space over every call's number and at the edges of each rule about
// arguments. (tests/escape/surface_test.cc provokes them from inside.)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <set>

#include "base/json.h"
#include "launch/seccomp.h"
#include "support/bpf_evaluator.h"

namespace carrel {
namespace {

using testing_support::EvaluateFilter;
using Args = std::array<uint64_t, 6>;
using Values = std::vector<uint64_t>;

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t kEperm = SECCOMP_RET_ERRNO | EPERM;
constexpr uint64_t kHigh = 1ull << 32;

class Filter {
 public:
  explicit Filter(const std::string& profile) {
    auto filter = CompileSeccomp(BuiltinProfile(profile).value());
    EXPECT_TRUE(filter.has_value()) << filter.error().ToString();
    instructions_ = filter->instructions;
  }
  uint32_t operator()(long number, const Args& args = {}, uint32_t arch = AUDIT_ARCH_X86_64) const {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = arch;
    std::copy(args.begin(), args.end(), data.args);
    return EvaluateFilter(instructions_, data);
  }
  size_t size() const { return instructions_.size(); }

 private:
  std::vector<sock_filter> instructions_;
};

const Filter& Base() {
  static const Filter filter("base");
  return filter;
}
const Filter& Loopback() {
  static const Filter filter("loopback");
  return filter;
}

const Filter& Gateway() {
  static const Filter filter("gateway");
  return filter;
}

// Numbers that a rule of the profile names, with or without arguments.
std::set<long> Named(const std::string& profile) {
  std::set<long> numbers;
  const auto documents = BuiltinProfile(profile).value();
  for (const std::string& document : documents) {
    const Json parsed = Json::parse(document);
    for (const Json& rule : parsed["syscalls"])
      for (const Json& name : rule["names"])
        numbers.insert(seccomp_syscall_resolve_name(name.get<std::string>().c_str()));
  }
  return numbers;
}

TEST(SeccompFilter, NumbersInNoListAreEnosys) {
  for (const char* profile : {"base", "gateway", "loopback"}) {
    const Filter filter(profile);
    const auto named = Named(profile);
    EXPECT_GT(named.size(), 250u);
    for (long number = 0; number < 2048; ++number)
      if (!named.contains(number)) {
        EXPECT_EQ(filter(number), kEnosys) << number;
      }
    for (long number : {-1L, 0x3fffffffL, 0x7fffffffL, -2147483648L})
      EXPECT_EQ(filter(number), kEnosys) << number;
  }
}

TEST(SeccompFilter, EveryAnswerIsOneOfThree) {
  for (long number = 0; number < 512; ++number)
    for (uint64_t argument : Values{0ull, 1ull, 0xffffffffull, kHigh, ~0ull}) {
      const uint32_t answer = Base()(number, {argument, argument, argument});
      EXPECT_TRUE(answer == kAllow || answer == kEnosys || answer == kEperm) << number;
    }
}

TEST(SeccompFilter, ForeignAbisAreEnosys) {
  for (long number = 0; number < 600; ++number) {
    EXPECT_EQ(Base()(number, {}, AUDIT_ARCH_I386), kEnosys) << number;
    EXPECT_EQ(Base()(number, {}, AUDIT_ARCH_AARCH64), kEnosys) << number;
    EXPECT_EQ(Base()(number, {}, 0), kEnosys) << number;
    EXPECT_EQ(Base()(number | 0x40000000L), kEnosys) << "x32 " << number;
  }
}

// Not there, as on a kernel without them: programs take another way.
TEST(SeccompFilter, MessageQueuesAndWatchesAreEnosys) {
  for (long number :
       {SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify,
        SYS_mq_getsetattr, SYS_inotify_init, SYS_inotify_init1, SYS_inotify_add_watch})
    EXPECT_EQ(Base()(number), kEnosys) << number;
}

TEST(SeccompFilter, DangerousCallsAreRefused) {
  for (long number : {SYS_ptrace,
                      SYS_process_vm_readv,
                      SYS_process_vm_writev,
                      SYS_pidfd_getfd,
                      SYS_kcmp,
                      SYS_unshare,
                      SYS_setns,
                      SYS_mount,
                      SYS_umount2,
                      SYS_pivot_root,
                      SYS_chroot,
                      SYS_open_tree,
                      SYS_move_mount,
                      SYS_fsopen,
                      SYS_fsconfig,
                      SYS_fsmount,
                      SYS_fspick,
                      SYS_mount_setattr,
                      SYS_name_to_handle_at,
                      SYS_open_by_handle_at,
                      SYS_bpf,
                      SYS_perf_event_open,
                      SYS_userfaultfd,
                      SYS_init_module,
                      SYS_finit_module,
                      SYS_delete_module,
                      SYS_kexec_load,
                      SYS_kexec_file_load,
                      SYS_reboot,
                      SYS_acct,
                      SYS_syslog,
                      SYS_fanotify_init,
                      SYS_quotactl,
                      SYS_io_uring_setup,
                      SYS_io_uring_enter,
                      SYS_io_uring_register,
                      SYS_io_setup,
                      SYS_add_key,
                      SYS_request_key,
                      SYS_keyctl,
                      SYS_settimeofday,
                      SYS_clock_settime,
                      SYS_adjtimex,
                      SYS_sethostname,
                      SYS_setdomainname,
                      SYS_iopl,
                      SYS_ioperm,
                      SYS_modify_ldt,
                      SYS_vmsplice,
                      SYS_mbind,
                      SYS_move_pages,
                      SYS_sched_setparam,
                      SYS_sched_setattr,
                      SYS_sync,
                      SYS_syncfs,
                      SYS_setgroups,
                      SYS_swapon,
                      SYS_swapoff,
                      SYS_lookup_dcookie,
                      SYS_memfd_secret}) {
    EXPECT_EQ(Base()(number), kEperm) << number;
    EXPECT_EQ(Loopback()(number), kEperm) << number;
    EXPECT_EQ(Gateway()(number), kEperm) << number;
  }
  // What a filter cannot see through, or what nobody has looked at: as on an older kernel.
  for (long number : {437L /* openat2 */, 435L /* clone3 */, 452L /* fchmodat2 */})
    EXPECT_EQ(Base()(number), kEnosys) << number;
  for (long number = 453; number < 600; ++number) EXPECT_EQ(Base()(number), kEnosys) << number;
}

TEST(SeccompFilter, WhatProgramsNeedIsAllowed) {
  for (long number : {SYS_read,
                      SYS_write,
                      SYS_openat,
                      SYS_close,
                      SYS_mmap,
                      SYS_mprotect,
                      SYS_brk,
                      SYS_execve,
                      SYS_execveat,
                      SYS_fork,
                      SYS_vfork,
                      SYS_wait4,
                      SYS_exit_group,
                      SYS_kill,
                      SYS_futex,
                      SYS_epoll_wait,
                      SYS_poll,
                      SYS_connect,
                      SYS_bind,
                      SYS_sendmsg,
                      SYS_getrandom,
                      SYS_memfd_create,
                      SYS_shmget,
                      SYS_rt_sigaction,
                      SYS_clock_gettime,
                      SYS_rseq,
                      SYS_set_robust_list,
                      SYS_landlock_create_ruleset,
                      SYS_landlock_restrict_self,
                      SYS_flock,
                      SYS_rename,
                      SYS_statx,
                      SYS_copy_file_range,
                      SYS_uname})
    EXPECT_EQ(Base()(number), kAllow) << number;
}

TEST(SeccompFilter, CloneWithoutNamespaces) {
  EXPECT_EQ(Base()(SYS_clone, {SIGCHLD}), kAllow);
  EXPECT_EQ(Base()(SYS_clone,
                   {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID}),
            kAllow);
  for (uint64_t flag : Values{CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID,
                              CLONE_NEWNET, CLONE_NEWCGROUP}) {
    EXPECT_EQ(Base()(SYS_clone, {flag | SIGCHLD}), kEperm) << flag;
    // The kernel looks at 32 bits.
    EXPECT_NE(Base()(SYS_clone, {flag | SIGCHLD | kHigh}), kAllow) << flag;
    EXPECT_NE(Base()(SYS_clone, {flag | 0xffffffff00000000ull}), kAllow) << flag;
  }
  EXPECT_NE(Base()(SYS_clone, {CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID}), kAllow);
}

TEST(SeccompFilter, SocketsOfOneFamily) {
  for (long call : {SYS_socket, SYS_socketpair}) {
    for (uint64_t type :
         Values{SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM | SOCK_CLOEXEC})
      EXPECT_EQ(Base()(call, {AF_UNIX, type}), kAllow);
    for (uint64_t family = 0; family < 64; ++family) {
      if (family == AF_UNIX) continue;
      EXPECT_NE(Base()(call, {family, SOCK_STREAM}), kAllow) << family;
      EXPECT_NE(Base()(call, {family | kHigh, SOCK_STREAM}), kAllow) << family;
      EXPECT_EQ(Base()(call, {family, SOCK_RAW}), family < 46 ? kEperm : kEnosys) << family;
    }
  }
}

TEST(SeccompFilter, LoopbackProfileHasTcpAndUdpAlone) {
  for (uint64_t family : Values{AF_INET, AF_INET6}) {
    for (uint64_t flags : Values{0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK}) {
      EXPECT_EQ(Loopback()(SYS_socket, {family, SOCK_STREAM | flags, 0}), kAllow);
      EXPECT_EQ(Loopback()(SYS_socket, {family, SOCK_STREAM | flags, 6}), kAllow);
      EXPECT_EQ(Loopback()(SYS_socket, {family, SOCK_DGRAM | flags, 0}), kAllow);
      EXPECT_EQ(Loopback()(SYS_socket, {family, SOCK_DGRAM | flags, 17}), kAllow);
      EXPECT_NE(Loopback()(SYS_socket, {family, SOCK_RAW | flags, 0}), kAllow);
      EXPECT_NE(Loopback()(SYS_socket, {family, SOCK_RAW | flags | kHigh, 1}), kAllow);
      for (uint64_t protocol :
           Values{1ull, 58ull, 132ull, 136ull, 255ull, 262ull, kHigh | 1, kHigh | 132})
        for (uint64_t type : Values{SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET})
          EXPECT_NE(Loopback()(SYS_socket, {family, type | flags, protocol}), kAllow) << protocol;
    }
    EXPECT_NE(Loopback()(SYS_socketpair, {family, SOCK_STREAM}), kAllow);
  }
  for (uint64_t family = 0; family < 64; ++family)
    for (uint64_t type = 0; type < 12; ++type) {
      if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
      EXPECT_NE(Loopback()(SYS_socket, {family, type}), kAllow) << family;
    }
}

// The gateway's clients, and nobody's servers.
TEST(SeccompFilter, GatewayProfileHasClientsAlone) {
  for (long call : {SYS_bind, SYS_listen, SYS_accept, SYS_accept4}) {
    EXPECT_EQ(Gateway()(call), kEperm) << call;
    EXPECT_EQ(Base()(call), kAllow) << call;
    EXPECT_EQ(Loopback()(call), kAllow) << call;
  }
  EXPECT_EQ(Gateway()(SYS_connect), kAllow);
  for (uint64_t family = 0; family < 64; ++family)
    for (uint64_t type = 0; type < 12; ++type)
      EXPECT_EQ(Gateway()(SYS_socket, {family, type}), Loopback()(SYS_socket, {family, type}))
          << family << " " << type;
}

// On a bind the action's files outlive it, as the files of a user of the host.
TEST(SeccompFilter, NoSetuidFilesAreMade) {
  for (uint64_t high : Values{0ull, kHigh, 0xffffffff00000000ull}) {
    for (uint64_t mode : Values{0ull, 0644ull, 0777ull, 01777ull}) {
      for (uint64_t flags : Values{uint64_t{O_CREAT | O_WRONLY}, uint64_t{O_TMPFILE | O_RDWR}, 0}) {
        EXPECT_EQ(Base()(SYS_open, {0, high | flags, high | mode}), kAllow) << flags << mode;
        EXPECT_EQ(Base()(SYS_openat, {0, 0, high | flags, high | mode}), kAllow) << flags << mode;
      }
      for (long call : {SYS_creat, SYS_chmod, SYS_fchmod})
        EXPECT_EQ(Base()(call, {0, high | mode}), kAllow) << call;
      EXPECT_EQ(Base()(SYS_fchmodat, {0, 0, high | mode}), kAllow);
    }
    for (uint64_t mode : Values{04755ull, 02755ull, 06000ull, 07777ull}) {
      for (uint64_t flags : Values{uint64_t{O_CREAT | O_WRONLY}, uint64_t{O_TMPFILE | O_RDWR},
                                   uint64_t{O_CREAT | O_TMPFILE | O_RDWR}}) {
        EXPECT_EQ(Base()(SYS_open, {0, high | flags, high | mode}), kEperm) << flags << mode;
        EXPECT_EQ(Base()(SYS_openat, {0, 0, high | flags, high | mode}), kEperm) << flags << mode;
      }
      // Without a new file the mode is what is left in a register.
      EXPECT_EQ(Base()(SYS_openat, {0, 0, high | O_DIRECTORY, high | mode}), kAllow);
      EXPECT_EQ(Base()(SYS_open, {0, high | O_RDONLY, high | mode}), kAllow);
      for (long call : {SYS_creat, SYS_chmod, SYS_fchmod})
        EXPECT_EQ(Base()(call, {0, high | mode}), kEperm) << call;
      EXPECT_EQ(Base()(SYS_fchmodat, {0, 0, high | mode}), kEperm);
      EXPECT_NE(Base()(SYS_mknod, {0, high | S_IFREG | mode}), kAllow);
      EXPECT_NE(Base()(SYS_mknodat, {0, 0, high | S_IFREG | mode}), kAllow);
    }
  }
}

TEST(SeccompFilter, IoctlCommandsWhateverTheHighBits) {
  for (uint64_t high : Values{0ull, kHigh, 0xffffffff00000000ull}) {
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | TCGETS}), kAllow);
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | FIONREAD}), kAllow);
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | TIOCSTI}), kEperm);
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | TIOCLINUX}), kEperm);
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | TIOCSCTTY}), kEnosys);
    EXPECT_EQ(Base()(SYS_ioctl, {0, high | 0xae01}), kEnosys);  // KVM_CREATE_VM
  }
}

TEST(SeccompFilter, ArgumentsAtTheirEdges) {
  EXPECT_EQ(Base()(SYS_personality, {0}), kAllow);
  EXPECT_EQ(Base()(SYS_personality, {0xffffffff}), kAllow);
  for (uint64_t persona : Values{uint64_t{ADDR_NO_RANDOMIZE}, uint64_t{PER_LINUX32},
                                 uint64_t{READ_IMPLIES_EXEC}, kHigh | ADDR_NO_RANDOMIZE})
    EXPECT_NE(Base()(SYS_personality, {persona}), kAllow) << persona;

  EXPECT_EQ(Base()(SYS_seccomp, {1, 0}), kAllow);
  EXPECT_EQ(Base()(SYS_seccomp, {1, SECCOMP_FILTER_FLAG_TSYNC}), kAllow);
  for (uint64_t flags : Values{8ull, 9ull, 8ull | kHigh, 0xffffffffull})
    EXPECT_EQ(Base()(SYS_seccomp, {1, flags}), kEperm) << flags;

  EXPECT_EQ(Base()(SYS_prlimit64, {0}), kAllow);
  for (uint64_t pid : Values{1ull, 2ull, 0xffffffffull, kHigh, kHigh | 1})
    EXPECT_EQ(Base()(SYS_prlimit64, {pid}), kEperm) << pid;

  for (uint64_t option : Values{PR_SET_NAME, PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS})
    EXPECT_EQ(Base()(SYS_prctl, {option}), kAllow) << option;
  for (uint64_t option : Values{PR_SET_SECUREBITS, PR_CAPBSET_DROP, PR_SET_MM, PR_SET_KEEPCAPS, 59,
                                62, PR_TASK_PERF_EVENTS_DISABLE})
    EXPECT_NE(Base()(SYS_prctl, {option}), kAllow) << option;
}

TEST(SeccompFilter, FilesThatCanBeMade) {
  for (uint64_t more : Values{0ull, 0666ull, 0x10000ull, kHigh}) {
    for (uint64_t type : Values{0u, static_cast<unsigned>(S_IFREG), static_cast<unsigned>(S_IFIFO),
                                static_cast<unsigned>(S_IFSOCK)}) {
      EXPECT_EQ(Base()(SYS_mknod, {0, type | more}), kAllow) << type;
      EXPECT_EQ(Base()(SYS_mknodat, {0, 0, type | more}), kAllow) << type;
    }
    for (uint64_t type : Values{static_cast<unsigned>(S_IFCHR), static_cast<unsigned>(S_IFBLK)}) {
      EXPECT_EQ(Base()(SYS_mknod, {0, type | more}), kEperm) << type;
      EXPECT_EQ(Base()(SYS_mknodat, {0, 0, type | more}), kEperm) << type;
    }
  }
}

TEST(SeccompFilter, DescriptorsWithoutWatchesAndLeases) {
  for (uint64_t high : Values{0ull, kHigh}) {
    for (uint64_t command : Values{F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK,
                                   F_SETLKW, F_SETOWN, F_OFD_SETLK, F_DUPFD_CLOEXEC, F_SETPIPE_SZ,
                                   F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS, F_GETLEASE})
      EXPECT_EQ(Base()(SYS_fcntl, {0, high | command}), kAllow) << command;
    for (uint64_t command : Values{F_SETLEASE, F_NOTIFY})
      EXPECT_EQ(Base()(SYS_fcntl, {0, high | command}), kEperm) << command;
  }
}

TEST(SeccompFilter, NoWhiteoutsAreLeft) {
  for (uint64_t high : Values{0ull, kHigh}) {
    for (uint64_t flags : Values{0ull, 1ull /* NOREPLACE */, 2ull /* EXCHANGE */})
      EXPECT_EQ(Base()(SYS_renameat2, {0, 0, 0, 0, high | flags}), kAllow) << flags;
    for (uint64_t flags : Values{4ull, 5ull, 7ull, 0xffffffffull})
      EXPECT_EQ(Base()(SYS_renameat2, {0, 0, 0, 0, high | flags}), kEperm) << flags;
  }
}

TEST(SeccompFilter, MemoryOfTheHostIsNotTaken) {
  for (uint64_t high : Values{0ull, kHigh}) {
    EXPECT_EQ(Base()(SYS_mmap, {0, 4096, 3, high | MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK}),
              kAllow);
    EXPECT_EQ(Base()(SYS_mmap, {0, 4096, 3, high | MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB}),
              kEperm);
    EXPECT_EQ(Base()(SYS_memfd_create, {0, high | MFD_CLOEXEC | MFD_ALLOW_SEALING}), kAllow);
    EXPECT_EQ(Base()(SYS_memfd_create, {0, high | MFD_CLOEXEC | MFD_HUGETLB}), kEperm);
    for (uint64_t advice = 0; advice < 128; ++advice) {
      const bool harms = advice == 12 || advice == 100 || advice == 101;
      const bool known = advice < 32 || advice == 102 || advice == 103;
      EXPECT_EQ(Base()(SYS_madvise, {0, 4096, high | advice}),
                harms ? kEperm : (known ? kAllow : kEnosys))
          << advice;
    }
    EXPECT_EQ(Base()(SYS_preadv2, {0, 0, 0, 0, 0, high}), kAllow);
    EXPECT_EQ(Base()(SYS_preadv2, {0, 0, 0, 0, 0, high | RWF_NOWAIT}), kEnosys);
  }
}

TEST(SeccompFilter, SchedulingClassesThatStarveNobody) {
  for (uint64_t more : Values{0ull, uint64_t{SCHED_RESET_ON_FORK}, kHigh}) {
    for (uint64_t policy : Values{SCHED_OTHER, SCHED_BATCH, SCHED_IDLE})
      EXPECT_EQ(Base()(SYS_sched_setscheduler, {0, more | policy}), kAllow) << policy;
    for (uint64_t policy : Values{SCHED_FIFO, SCHED_RR, SCHED_DEADLINE})
      EXPECT_EQ(Base()(SYS_sched_setscheduler, {0, more | policy}), kEperm) << policy;
    EXPECT_EQ(Base()(SYS_sched_setscheduler, {0, more | 7}), kEnosys);
  }
}

TEST(SeccompFilter, UrgentDataIsRefused) {
  for (uint64_t high : Values{0ull, kHigh}) {
    for (long call : {SYS_sendto, SYS_recvfrom, SYS_sendmmsg, SYS_recvmmsg}) {
      EXPECT_EQ(Base()(call, {0, 0, 0, high | MSG_NOSIGNAL | MSG_PEEK}), kAllow) << call;
      EXPECT_EQ(Base()(call, {0, 0, 0, high | MSG_OOB | MSG_PEEK}), kEperm) << call;
    }
    for (long call : {SYS_sendmsg, SYS_recvmsg}) {
      EXPECT_EQ(Base()(call, {0, 0, high | MSG_NOSIGNAL | MSG_DONTWAIT}), kAllow) << call;
      EXPECT_EQ(Base()(call, {0, 0, high | MSG_OOB}), kEperm) << call;
    }
  }
}

TEST(SeccompFilter, SocketOptionsThatProgramsUse) {
  for (uint64_t high : Values{0ull, kHigh}) {
    const auto answer = [&](uint64_t level, uint64_t option) {
      return Base()(SYS_setsockopt, {0, high | level, high | option});
    };
    for (uint64_t option : Values{SO_REUSEADDR, SO_SNDBUF, SO_KEEPALIVE, SO_LINGER, SO_REUSEPORT,
                                  SO_PASSCRED, SO_RCVTIMEO, SO_TIMESTAMP})
      EXPECT_EQ(answer(SOL_SOCKET, option), kAllow) << option;
    // Programs of the kernel's, whether classic or not.
    for (uint64_t option : Values{SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF,
                                  SO_ATTACH_REUSEPORT_EBPF})
      EXPECT_EQ(answer(SOL_SOCKET, option), kEperm) << option;
    for (uint64_t option : Values{SO_BINDTODEVICE, SO_MARK, SO_BUSY_POLL})
      EXPECT_EQ(answer(SOL_SOCKET, option), kEnosys) << option;
    for (uint64_t option = 1; option < 64; ++option) {
      EXPECT_EQ(answer(IPPROTO_TCP, option), option == TCP_ULP ? kEperm : kAllow) << option;
      EXPECT_EQ(answer(IPPROTO_IP, option), kAllow) << option;
      EXPECT_EQ(answer(IPPROTO_IPV6, option), kAllow) << option;
    }
    EXPECT_EQ(answer(IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */), kEnosys);
    EXPECT_EQ(answer(IPPROTO_IPV6, 64), kEnosys);
    EXPECT_EQ(answer(255 /* SOL_RAW */, 1), kEnosys);
  }
}

// Each call costs a walk through the filter: a binary tree, no list.
TEST(SeccompFilter, IsNoLongerThanTheKernelTakes) {
  EXPECT_LT(Base().size(), 4096u);
  EXPECT_LT(Loopback().size(), 4096u);
  EXPECT_LT(Gateway().size(), 4096u);
}

}  // namespace
}  // namespace carrel
