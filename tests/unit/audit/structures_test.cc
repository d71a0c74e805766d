#include "audit/structures.h"

#include <asm/unistd_64.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace carrel {
namespace {

std::string Text(uint32_t nr, size_t arg, std::array<uint64_t, 6> args, const void* bytes,
                 size_t size) {
  return StructureText(nr, args, arg, {static_cast<const char*>(bytes), size});
}

TEST(Structures, OpenatTwo) {
  const open_how how{.flags = O_WRONLY | O_CREAT, .mode = 0640, .resolve = RESOLVE_IN_ROOT};
  EXPECT_EQ(Text(__NR_openat2, 2, {}, &how, sizeof how),
            "{flags=O_WRONLY|O_CREAT, mode=0640, resolve=RESOLVE_IN_ROOT}");
  EXPECT_EQ(Text(__NR_openat2, 2, {}, &how, 8), "{flags=O_WRONLY|O_CREAT, mode=00, resolve=0}");
  EXPECT_EQ(Text(__NR_openat2, 2, {}, &how, 0), "{flags=O_RDONLY, mode=00, resolve=0}");
}

TEST(Structures, CloneThree) {
  const uint64_t clone[11] = {CLONE_NEWUSER | CLONE_NEWNET, 0, 0, 0, SIGCHLD};
  EXPECT_EQ(Text(__NR_clone3, 0, {}, clone, sizeof clone),
            "{flags=CLONE_NEWNET|CLONE_NEWUSER, exit_signal=SIGCHLD}");
}

TEST(Structures, Limits) {
  const uint64_t limits[2] = {100, RLIM_INFINITY};
  EXPECT_EQ(Text(__NR_prlimit64, 2, {}, limits, sizeof limits), "{cur=100, max=unlimited}");
}

TEST(Structures, Capabilities) {
  const uint32_t sets[6] = {1u << 21, 0, 3, 1u << 8, 0, 0};
  EXPECT_EQ(Text(__NR_capset, 1, {}, sets, sizeof sets),
            "{effective=CAP_SYS_ADMIN|CAP_CHECKPOINT_RESTORE, permitted=0, "
            "inheritable=CAP_CHOWN|CAP_DAC_OVERRIDE}");
}

TEST(Structures, SocketOptions) {
  const int one = 1;
  EXPECT_EQ(Text(__NR_setsockopt, 3, {3, SOL_SOCKET, SO_REUSEADDR}, &one, sizeof one), "{1}");
  EXPECT_EQ(Text(__NR_setsockopt, 3, {3, SOL_SOCKET, SO_BINDTODEVICE}, "e\x1b", 3), "\"e\\x1b\"");
}

TEST(Structures, Landlock) {
  const uint64_t ruleset = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE;
  EXPECT_EQ(Text(__NR_landlock_create_ruleset, 0, {}, &ruleset, sizeof ruleset),
            "{handled_access_fs=LANDLOCK_ACCESS_FS_EXECUTE|LANDLOCK_ACCESS_FS_WRITE_FILE, "
            "handled_access_net=0x0}");
  const landlock_path_beneath_attr rule{.allowed_access = LANDLOCK_ACCESS_FS_READ_DIR,
                                        .parent_fd = 5};
  EXPECT_EQ(Text(__NR_landlock_add_rule, 2, {4, LANDLOCK_RULE_PATH_BENEATH}, &rule, sizeof rule),
            "{allowed_access=LANDLOCK_ACCESS_FS_READ_DIR, parent_fd=5}");
}

TEST(Structures, WhatIsNotKnownIsNothing) {
  EXPECT_EQ(Text(__NR_bpf, 1, {}, "abcdefgh", 8), "");
  EXPECT_EQ(Text(__NR_seccomp, 2, {3}, "abcdefgh", 8), "");
}

}  // namespace
}  // namespace carrel
