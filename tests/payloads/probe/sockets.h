// Socket families, and what is at the other end of those that there are.
#ifndef PROBE_SOCKETS_H_
#define PROBE_SOCKETS_H_

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "report.h"

static int loopback_allowed(void) { return getenv("PROBE_LOOPBACK") != NULL; }

static int answered_by_filter(long result) {
  if (result >= 0) close((int)result);
  return result == -1 && (errno == EPERM || errno == ENOSYS);
}

// One point a family: every type of it, and pairs.
static void probe_families(void) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM,     SOCK_RAW,
                              SOCK_RDM,    SOCK_SEQPACKET, SOCK_STREAM | SOCK_CLOEXEC};
  for (long family = 0; family <= 47; ++family) {
    if (family == AF_UNIX) continue;
    if (loopback_allowed() && (family == AF_INET || family == AF_INET6)) continue;
    int closed = 1, pair[2];
    for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i) {
      closed &= answered_by_filter(syscall(SYS_socket, family, types[i], 0));
      closed &= answered_by_filter(syscall(SYS_socketpair, family, types[i], 0, pair));
    }
    char name[40];
    snprintf(name, sizeof name, "socket-family-%ld", family);
    barred(name, closed, "every type");
  }
  // The kernel looks at 32 bits of the family, a filter sees 64.
  for (long family = 2; family <= 40; family += 14) {
    char name[40];
    snprintf(name, sizeof name, "socket-family-%ld-high-bits", family);
    barred(name, answered_by_filter(syscall(SYS_socket, 1L << 32 | family, SOCK_DGRAM, 0)), "%s",
           strerrorname_np(errno));
  }
}

// INET sockets, where the profile has them: TCP and UDP and nothing else.
static void probe_inet_types(void) {
  static const struct {
    const char* name;
    int type, protocol;
  } kinds[] = {{"raw", SOCK_RAW, IPPROTO_RAW},
               {"raw-icmp", SOCK_RAW, IPPROTO_ICMP},
               {"ping", SOCK_DGRAM, IPPROTO_ICMP},
               {"sctp", SOCK_STREAM, 132},
               {"mptcp", SOCK_STREAM, 262},
               {"udplite", SOCK_DGRAM, 136},
               {"dccp", 6, 33},
               {"packet", SOCK_PACKET, 0},
               {"seqpacket-sctp", SOCK_SEQPACKET, 132}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
    for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
      char name[60];
      snprintf(name, sizeof name, "inet%s-%s", family == AF_INET ? "" : "6", kinds[i].name);
      barred(name,
             answered_by_filter(syscall(SYS_socket, family, kinds[i].type, kinds[i].protocol)),
             "%s", strerrorname_np(errno));
    }
}

static int connect_inet(const char* address, int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &to.sin_addr);
  const int code = connect(fd, (struct sockaddr*)&to, sizeof to) == 0 ? 0 : errno;
  close(fd);
  return code;
}

static int tcp_to_self(void) {
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof at;
  if (bind(server, (struct sockaddr*)&at, sizeof at) || listen(server, 1)) return 1;
  if (getsockname(server, (struct sockaddr*)&at, &length)) return 2;
  return connect(client, (struct sockaddr*)&at, sizeof at) ? 3 : 0;
}

static void probe_loopback(void) {
  if (!loopback_allowed()) return;
  needed("loopback-tcp", in_child(tcp_to_self) == 0, "connect to oneself on 127.0.0.1");
  const char* port = getenv("PROBE_HOST_TCP");
  if (port != NULL) {
    const int code = connect_inet("127.0.0.1", atoi(port));
    barred("host-loopback-tcp", code == ECONNREFUSED, "%s", strerrorname_np(code));
  }
  for (size_t i = 0; i < 3; ++i) {
    static const char* const addresses[] = {"10.0.0.1", "169.254.169.254", "192.0.2.1"};
    const int code = connect_inet(addresses[i], 80);
    char name[60];
    snprintf(name, sizeof name, "route-to-%s", addresses[i]);
    barred(name, code == ENETUNREACH || code == EHOSTUNREACH, "%s", strerrorname_np(code));
  }
}

static int connect_abstract(const char* name) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  strncpy(to.sun_path + 1, name, sizeof to.sun_path - 2);
  const socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
  const int code = connect(fd, (struct sockaddr*)&to, length) == 0 ? 0 : errno;
  close(fd);
  return code;
}

static int unix_in(const char* path, int abstract) {
  int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strcpy(at.sun_path + abstract, path);
  const socklen_t length =
      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path));
  if (server < 0 || client < 0) return 1;
  if (bind(server, (struct sockaddr*)&at, length) || listen(server, 4)) return 2;
  return connect(client, (struct sockaddr*)&at, length) ? 3 : 0;
}
static int unix_path(void) { return unix_in("/tmp/probe.socket", 0); }
static int unix_abstract(void) { return unix_in("probe-abstract", 1); }

static int pass_descriptor(void) {
  int pair[2], data = 7;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
  char space[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec vector = {&data, sizeof data};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &pair[0], sizeof(int));
  if (sendmsg(pair[0], &message, 0) != sizeof data) return 2;
  return recvmsg(pair[1], &message, 0) == sizeof data ? 0 : 3;
}

// What a socket can be made to do in the kernel beyond moving bytes.
static void probe_socket_options(void) {
  struct sock_filter accept_all = BPF_STMT(BPF_RET | BPF_K, 0xffff);
  struct sock_fprog program = {1, &accept_all};
  const struct timeval soon = {1, 0};
  const int bad = -1;
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  const struct {
    const char* name;
    int option;
    const void* value;
    socklen_t size;
  } options[] = {{"socket-filter", SO_ATTACH_FILTER, &program, sizeof program},
                 {"socket-bpf", SO_ATTACH_BPF, &bad, sizeof bad},
                 {"socket-to-device", SO_BINDTODEVICE, "lo", 3}};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; ++i) {
    const int result =
        setsockopt(pair[0], SOL_SOCKET, options[i].option, options[i].value, options[i].size);
    barred(options[i].name, result == -1 && (errno == EPERM || errno == ENOSYS), "%s",
           strerrorname_np(errno));
  }
  // CVE-2025-38236
  barred("unix-urgent-data", send(pair[0], "x", 1, MSG_OOB) == -1, "%s", strerrorname_np(errno));
  needed("socket-options", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0,
         "SO_RCVTIMEO");
}

static void probe_unix(void) {
  needed("unix-path", in_child(unix_path) == 0, "bind, listen, connect in /tmp");
  needed("unix-abstract", in_child(unix_abstract) == 0, "of one's own");
  needed("unix-pass-descriptor", in_child(pass_descriptor) == 0, "SCM_RIGHTS to oneself");
  const char* host = getenv("PROBE_HOST_ABSTRACT");
  if (host != NULL) {
    const int code = connect_abstract(host);
    barred("host-abstract-socket", code == ECONNREFUSED || code == EPERM, "%s",
           strerrorname_np(code));
  }
  char text[4096];
  slurp("/proc/net/unix", text, sizeof text);
  int lines = 0;
  for (char* c = text; *c; ++c) lines += *c == '\n';
  barred("proc-net-unix", lines <= 1, "%d lines", lines);
  slurp("/proc/net/dev", text, sizeof text);
  int others = 0;
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (strchr(line, ':') && !strstr(line, "lo:")) ++others;
  barred("network-interfaces", others == 0, "%d beside lo", others);
}

static void probe_sockets(void) {
  probe_families();
  probe_inet_types();
  probe_loopback();
  probe_unix();
  probe_socket_options();
}

#endif
