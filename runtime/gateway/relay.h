// The sockets of a gateway: accepts the action's connections, makes those to the database, and
// moves bytes between them through a Protocol. One thread, one loop, whatever the number of
// connections.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gateway/peer_process.h"
#include "gateway/protocol.h"
#include "gateway/record.h"

namespace carrel::gateway {

struct RelayOptions {
  std::string address;  ///< of the database: numeric, the only one ever connected to
  uint16_t port = 0;
  uint32_t max_connections = 256;  ///< at once
  /// So many more are told, after their login, that there is no room (Protocol::NoRoom), or cancel
  /// what another runs. One more than that is reset. All of them are counted as refused.
  uint32_t max_surplus = 32;
  uint32_t surplus_seconds = 5;  ///< for the login of one that is only told so
  uint32_t idle_seconds = 14'400;
  uint32_t connect_seconds = 10;
  uint32_t login_seconds = 60;
  uint16_t port_inside = 0;           ///< where it listens
  std::shared_ptr<PeerFinder> peers;  ///< null: records name no process
};

struct RelayCounts {
  uint64_t connections = 0;
  uint64_t refused = 0;          ///< over the limit, told so or reset
  uint64_t bytes_to_server = 0;  ///< of connections that are over
  uint64_t bytes_to_client = 0;
};

class Relay {
 public:
  virtual ~Relay() = default;  ///< stops it

  /// Starts the thread. `listener` is a TCP socket that listens; `factory` and `records` must live
  /// longer.
  static Result<std::unique_ptr<Relay>> Start(UniqueFd listener, const RelayOptions& options,
                                              ProtocolFactory& factory, RecordQueue& records);

  /// Closes the listener and all connections and waits for the thread: no record comes afterwards.
  virtual void Stop() = 0;
  /// Of all that is over; whole after Stop.
  virtual RelayCounts counts() const = 0;
};

}  // namespace carrel::gateway
