// Plain blocking sockets for tests of the gateway.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "gateway/listen.h"

namespace carrel::gateway {

inline uint16_t PortOf(int fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

inline UniqueFd Dial(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

inline bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

/// Up to `size` bytes; fewer when the other side ends, or after 20 seconds of silence.
inline std::string ReceiveUpTo(int fd, size_t size) {
  std::string bytes(size, '\0');
  size_t got = 0;
  while (got < size) {
    pollfd entry = {fd, POLLIN, 0};
    if (::poll(&entry, 1, 20'000) <= 0) break;
    const ssize_t n = ::recv(fd, bytes.data() + got, size - got, 0);
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

/// True when the other side ends (or resets) within 20 seconds; what it sent before is dropped.
inline bool EndsSoon(int fd) {
  for (char bytes[4096];;) {
    pollfd entry = {fd, POLLIN, 0};
    if (::poll(&entry, 1, 20'000) <= 0) return false;
    if (::recv(fd, bytes, sizeof bytes, 0) <= 0) return true;
  }
}

/// A server on the loopback: `serve` runs once for each connection, in a thread of its own.
class Server {
 public:
  explicit Server(std::function<void(int)> serve)
      : listener_(std::move(*ListenHere(0))), serve_(std::move(serve)) {
    ::fcntl(listener_.get(), F_SETFL, 0);
    port_ = PortOf(listener_.get());
    thread_ = std::thread([this] { Run(); });
  }
  ~Server() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (std::thread& thread : threads_) thread.join();
  }
  uint16_t port() const { return port_; }

 private:
  void Run() {
    for (;;) {
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      threads_.emplace_back([this, owned = std::move(fd)] { serve_(owned.get()); });
    }
  }

  UniqueFd listener_;
  std::function<void(int)> serve_;
  uint16_t port_ = 0;
  std::vector<std::thread> threads_;
  std::thread thread_;
};

}  // namespace carrel::gateway
