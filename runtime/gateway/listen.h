// A listening socket in the network namespace of another process.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel::gateway {

/// Listens on 127.0.0.1:`port` (0: any) in the caller's network namespace.
Result<UniqueFd> ListenHere(uint16_t port);

/// Sockets of another network namespace.
struct InsideSockets {
  UniqueFd listener;
  UniqueFd diag;  ///< of peer_process.h; empty where the kernel has none
};

/// Listens on 127.0.0.1:`port` in the network namespace of the process behind `pidfd`. A thread
/// enters it for as long as that takes; no process does, and nothing of the host comes along.
Result<InsideSockets> ListenInside(int pidfd, uint16_t port);

}  // namespace carrel::gateway
