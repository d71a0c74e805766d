#include "audit/tables/flag_names.h"

#include <asm/unistd_64.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace carrel {
namespace {

std::string Argument(uint32_t nr, size_t i, std::array<uint64_t, 6> args) {
  return ArgumentText(nr, i, args);
}

TEST(FlagNames, OpenFlagsAreANumberAndBits) {
  EXPECT_EQ(FlagText(FlagGroup::kOpenFlags, O_RDONLY), "O_RDONLY");
  EXPECT_EQ(FlagText(FlagGroup::kOpenFlags, O_WRONLY | O_CREAT), "O_WRONLY|O_CREAT");
  EXPECT_EQ(FlagText(FlagGroup::kOpenFlags, O_RDWR | O_SYNC), "O_RDWR|O_SYNC");
  EXPECT_EQ(FlagText(FlagGroup::kOpenFlags, O_RDWR | O_TMPFILE), "O_RDWR|O_TMPFILE");
}

TEST(FlagNames, WhatHasNoNameIsANumber) {
  EXPECT_EQ(FlagText(FlagGroup::kProtection, 0), "PROT_NONE");
  EXPECT_EQ(FlagText(FlagGroup::kProtection, 0x80000003), "PROT_READ|PROT_WRITE|0x80000000");
  EXPECT_EQ(FlagText(FlagGroup::kSignal, 61), "");
  EXPECT_EQ(FlagText(FlagGroup::kRenameFlags, 0), "0");
}

TEST(FlagNames, ArgumentsByCall) {
  EXPECT_EQ(Argument(__NR_openat, 0, {static_cast<uint64_t>(AT_FDCWD)}), "AT_FDCWD");
  EXPECT_EQ(Argument(__NR_openat, 0, {static_cast<uint32_t>(AT_FDCWD)}), "AT_FDCWD");
  EXPECT_EQ(Argument(__NR_openat, 2, {0, 0, O_RDONLY | O_CLOEXEC}), "O_RDONLY|O_CLOEXEC");
  EXPECT_EQ(Argument(__NR_openat, 3, {0, 0, 0, 0640}), "0640");
  EXPECT_EQ(Argument(__NR_openat, 1, {0, 1}), "");
  EXPECT_EQ(Argument(__NR_clone, 0, {CLONE_VM | SIGCHLD}), "CLONE_VM|SIGCHLD");
  EXPECT_EQ(Argument(__NR_socket, 0, {AF_UNIX}), "AF_UNIX");
  EXPECT_EQ(Argument(__NR_socket, 1, {0, SOCK_STREAM | SOCK_CLOEXEC}), "SOCK_STREAM|SOCK_CLOEXEC");
  EXPECT_EQ(Argument(__NR_kill, 1, {1, SIGKILL}), "SIGKILL");
  EXPECT_EQ(Argument(__NR_kill, 0, {static_cast<uint64_t>(-1)}), "-1");
  EXPECT_EQ(Argument(__NR_fcntl, 2, {3, F_SETFL, O_RDWR | O_NONBLOCK}), "O_RDWR|O_NONBLOCK");
  EXPECT_EQ(Argument(__NR_fcntl, 2, {3, F_GETFL, 0}), "");
  EXPECT_EQ(Argument(__NR_mknod, 1, {0, S_IFIFO | 0600}), "S_IFIFO|0600");
  EXPECT_EQ(Argument(__NR_futex, 1, {0, 128}), "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
  EXPECT_EQ(Argument(__NR_ioctl, 1, {0, 0x5401}), "TCGETS");
  EXPECT_EQ(Argument(__NR_unshare, 0, {CLONE_NEWUSER | CLONE_NEWTIME}),
            "CLONE_NEWTIME|CLONE_NEWUSER");
  EXPECT_EQ(Argument(100000, 0, {1}), "");
}

TEST(FlagNames, DescriptorFlagsAreThoseOfTheirCall) {
  EXPECT_EQ(Argument(__NR_eventfd2, 1, {0, 1 | O_CLOEXEC}), "EFD_CLOEXEC|EFD_SEMAPHORE");
  EXPECT_EQ(Argument(__NR_timerfd_create, 1, {0, O_CLOEXEC}), "TFD_CLOEXEC");
  EXPECT_EQ(Argument(__NR_epoll_create1, 0, {O_CLOEXEC}), "EPOLL_CLOEXEC");
  EXPECT_EQ(Argument(__NR_pipe2, 1, {0, O_NONBLOCK}), "O_NONBLOCK");
  EXPECT_EQ(Argument(__NR_dup3, 2, {0, 0, O_CLOEXEC}), "O_CLOEXEC");
  EXPECT_EQ(Argument(__NR_shmat, 2, {0, 0, 010000}), "SHM_RDONLY");
}

TEST(FlagNames, SocketArgumentsGoByFamilyAndLevel) {
  EXPECT_EQ(Argument(__NR_socket, 2, {AF_INET, SOCK_DGRAM, 17}), "IPPROTO_UDP");
  EXPECT_EQ(Argument(__NR_socket, 2, {AF_NETLINK, SOCK_RAW, 0}), "");
  EXPECT_EQ(Argument(__NR_setsockopt, 2, {3, SOL_SOCKET, SO_REUSEADDR}), "SO_REUSEADDR");
  EXPECT_EQ(Argument(__NR_setsockopt, 1, {3, 6, 1}), "SOL_TCP");
  EXPECT_EQ(Argument(__NR_setsockopt, 2, {3, 6, 1}), "TCP_NODELAY");
  EXPECT_EQ(Argument(__NR_setsockopt, 2, {3, 41, 1}), "");
}

TEST(FlagNames, SignalsHugePagesAndCapabilities) {
  EXPECT_EQ(Argument(__NR_kill, 1, {1, 34}), "SIGRT_2");
  EXPECT_EQ(Argument(__NR_kill, 1, {1, 0}), "0");
  EXPECT_EQ(Argument(__NR_mmap, 3, {0, 0, 0, MAP_PRIVATE | MAP_HUGETLB | (21u << 26)}),
            "MAP_HUGETLB|MAP_PRIVATE|21<<MAP_HUGE_SHIFT");
  EXPECT_EQ(Argument(__NR_prctl, 1, {47, 2, 13}), "PR_CAP_AMBIENT_RAISE");
  EXPECT_EQ(Argument(__NR_prctl, 2, {47, 2, 13}), "CAP_NET_RAW");
  EXPECT_EQ(Argument(__NR_prctl, 2, {15, 2, 13}), "");
}

// What is left in the upper half of a register is not looked at by the kernel.
TEST(FlagNames, FlagsAreIntsWhereTheKernelTakesInts) {
  constexpr uint64_t kLeftOver = 0xabcd00000000;
  EXPECT_EQ(Argument(__NR_openat, 2, {0, 0, kLeftOver | O_WRONLY}), "O_WRONLY");
  EXPECT_EQ(Argument(__NR_openat, 3, {0, 0, 0, kLeftOver | 0640}), "0640");
  EXPECT_EQ(Argument(__NR_splice, 5, {0, 0, 0, 0, 0, kLeftOver | 1}), "SPLICE_F_MOVE");
  EXPECT_EQ(Argument(__NR_mmap, 3, {0, 0, 0, kLeftOver | 2}), "MAP_PRIVATE|0xabcd00000000");
}

TEST(FlagNames, ArgumentCounts) {
  EXPECT_EQ(ArgumentCount(__NR_getppid), 0u);
  EXPECT_EQ(ArgumentCount(__NR_openat), 4u);
  EXPECT_EQ(ArgumentCount(100000), 6u);
}

TEST(FlagNames, WritableAndExecutableMemory) {
  EXPECT_TRUE(AsksWritableExecutable(__NR_mprotect, {0, 0, PROT_WRITE | PROT_EXEC}));
  EXPECT_FALSE(AsksWritableExecutable(__NR_mprotect, {0, 0, PROT_READ | PROT_EXEC}));
  EXPECT_FALSE(AsksWritableExecutable(__NR_read, {0, 0, 6}));
}

}  // namespace
}  // namespace carrel
