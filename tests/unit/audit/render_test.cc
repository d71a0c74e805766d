#include "audit/render.h"

#include <gtest/gtest.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "audit/recorder.h"
#include "audit/syscall_names.h"

namespace carrel {
namespace {

TEST(Printable, NothingReachesTheTerminal) {
  EXPECT_EQ(Printable("plain caf\xc3\xa9"), "plain caf\xc3\xa9");
  EXPECT_EQ(Printable("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(Quoted("a\", O_RDONLY) = 3"), "\"a\\x22, O_RDONLY) = 3\"");
  EXPECT_EQ(Quoted("\\x22"), "\"\\x5cx22\"");
  EXPECT_EQ(Printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");           // CSI as a C1 control
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(Printable("\xff\xfe\xc3"), "\\xff\\xfe\\xc3");  // no UTF-8
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(SyscallNames, ComeFromTheKernelsHeaders) {
  EXPECT_EQ(SyscallName(257, false), "openat");
  EXPECT_EQ(SyscallName(5, true), "i386:open");
  EXPECT_EQ(SyscallName(0x40000000u | 39, false), "x32:getpid");
  EXPECT_EQ(SyscallName(60000, false), "syscall_60000");
  EXPECT_EQ(SyscallName(~0u, false), "syscall_-1");
  EXPECT_EQ(SyscallName(static_cast<uint32_t>(-38), false), "syscall_-38");
  EXPECT_EQ(SyscallName(452, false), "fchmodat2");  // newer than Debian 12's headers
  EXPECT_EQ(SyscallNumber("openat2"), 437u);
  EXPECT_FALSE(SyscallNumber("no_such").has_value());
}

template <typename T>
std::string Address(const T& address) {
  return SocketAddress({reinterpret_cast<const char*>(&address), sizeof address});
}

TEST(SocketAddress, IsDecoded) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(5432);
  in.sin_addr.s_addr = htonl(0x7f000001);
  EXPECT_EQ(SocketAddress({reinterpret_cast<char*>(&in), sizeof in}), "inet:127.0.0.1:5432");
  EXPECT_EQ(SocketAddress(std::string("\x01\0/run/x\0y", 10)), "unix:/run/x");
  EXPECT_EQ(SocketAddress(std::string("\x01\0\0abstract", 11)), "unix:@abstract");
  EXPECT_EQ(SocketAddress(std::string("\x28\0\0\0", 4)), "family 40");
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(80);
  in6.sin6_addr.s6_addr[15] = 1;
  EXPECT_EQ(Address(in6), "inet6:[::1]:80");
  in6.sin6_scope_id = 3;
  EXPECT_EQ(Address(in6), "inet6:[::1%3]:80");
  sockaddr_vm vm{};
  vm.svm_family = AF_VSOCK;
  vm.svm_port = 1024;
  vm.svm_cid = 2;
  EXPECT_EQ(Address(vm), "vsock:2:1024");
  sockaddr_nl netlink{};
  netlink.nl_family = AF_NETLINK;
  netlink.nl_pid = 7;
  netlink.nl_groups = 1;
  EXPECT_EQ(Address(netlink), "netlink:7:0x1");
  sockaddr_alg alg{};
  alg.salg_family = AF_ALG;
  memcpy(alg.salg_type, "hash", 4);
  memcpy(alg.salg_name, "sha256", 6);
  EXPECT_EQ(Address(alg), "alg:hash:sha256");
  sockaddr_ll packet{};
  packet.sll_family = AF_PACKET;
  packet.sll_protocol = htons(3);
  packet.sll_ifindex = 2;
  EXPECT_EQ(Address(packet), "packet:0x0003:2");
  EXPECT_EQ(SocketAddress(std::string(16, '\0')), "unspecified");
  EXPECT_EQ(SocketAddress("x"), "none");
}

TEST(ExitText, TellsExitFromSignal) {
  EXPECT_EQ(ExitText(3 << 8), "exit 3");
  EXPECT_EQ(ExitText(9), "signal SIGKILL");
  EXPECT_EQ(ExitText(11 | 0x80), "signal SIGSEGV");
}

TEST(JoinParts, TurnsThePathAround) {
  EXPECT_EQ(JoinParts(std::string("c\0b\0a\0", 6)), "/a/b/c");
  EXPECT_EQ(JoinParts(""), "/");
  EXPECT_EQ(JoinParts("x"), "/x");
}

}  // namespace
}  // namespace carrel
