// The process at the other end of a connection from inside the job: its statements are its own, and
// the audit log's calls have its pid.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel::gateway {

struct PeerProcess {
  pid_t pid = 0;       ///< as the job sees it
  pid_t host_pid = 0;  ///< as the host does
  std::string comm;    ///< the name that it has now; its own choice
};

class PeerFinder {
 public:
  PeerFinder() = default;
  /// `diag`: a socket of MakeDiagSocket. `processes`: a cgroup.procs of all that could connect.
  PeerFinder(UniqueFd diag, std::string processes)
      : diag_(std::move(diag)), processes_(std::move(processes)) {}

  /// A process that has the socket 127.0.0.1:`from` open that is connected to 127.0.0.1:`to`. Null
  /// when it's gone, or has more descriptors than are looked at.
  std::optional<PeerProcess> Find(uint32_t from_address, uint16_t from, uint16_t to);

 private:
  uint64_t InodeOf(uint32_t from_address, uint16_t from, uint16_t to) const;

  UniqueFd diag_;
  std::string processes_;
  pid_t last_ = 0;  ///< found last: most jobs connect from one process
};

/// Asks about TCP sockets of the network namespace in which it is made.
Result<UniqueFd> MakeDiagSocket();

}  // namespace carrel::gateway
