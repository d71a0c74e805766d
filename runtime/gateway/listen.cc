#include "gateway/listen.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>

#include <thread>

#include "gateway/peer_process.h"

namespace carrel::gateway {

Result<UniqueFd> ListenHere(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SysFault("gateway", "socket");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string where = "127.0.0.1:" + std::to_string(port);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return SysFault("gateway", "bind " + where);
  if (::listen(fd.get(), SOMAXCONN) != 0) return SysFault("gateway", "listen on " + where);
  return fd;
}

Result<InsideSockets> ListenInside(int pidfd, uint16_t port) {
  Result<InsideSockets> made = Fault("gateway", "no socket was made");
  // A namespace is a thread's own: this one ends with it.
  std::thread([&] {
    made = [&]() -> Result<InsideSockets> {
      if (::setns(pidfd, CLONE_NEWNET) != 0)
        return SysFault("gateway", "enter the job's network namespace");
      InsideSockets sockets;
      CARREL_ASSIGN(sockets.listener, ListenHere(port));
      if (auto diag = MakeDiagSocket()) sockets.diag = std::move(*diag);
      return sockets;
    }();
  }).join();
  return made;
}

}  // namespace carrel::gateway
