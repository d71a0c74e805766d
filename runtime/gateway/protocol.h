// A database protocol without any I/O: bytes come in from both sides, and what is to go out is
// given to a Link. The relay (relay.h) does the sockets; tests and fuzzers need none.
//
//   client (the action)          Protocol                    server (the database)
//      | connects                                                   |
//      | ---- FromClient ------->  log the client in                |
//      |                           Link::Connect() ---------------> |
//      |                           Connected(), ConnectFailed()    |
//      |                             or NoRoom()                   |
//      |                           log in with the real credentials |
//      | <---- ToClient --------   pass on, log statements  <------ | FromServer
//
// Threat: both ends are hostile. A protocol keeps bounded state, and on the first thing that it
// doesn't know calls Link::Close.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/record.h"
#include "gateway/upstream.h"

namespace carrel::gateway {

/// What a protocol may ask of its connection. All calls return at once.
class Link {
 public:
  virtual ~Link() = default;

  /// Sends bytes to a side, after those that were given before. What the socket doesn't take at
  /// once is copied, and the other side is not read until it has gone.
  virtual void ToClient(std::string_view bytes) = 0;
  virtual void ToServer(std::string_view bytes) = 0;
  /// Begins the connection to the database; Connected, ConnectFailed or NoRoom follows. Once.
  virtual void Connect() = 0;
  /// As Connect, to end what runs in another connection: where the job has as many as it may, too.
  virtual void ConnectToCancel() { Connect(); }
  /// Ends the connection when what was queued for the client is sent. `why` goes to the log.
  virtual void Close(const std::string& why) = 0;
  /// The number of this connection within the job, from 1.
  virtual uint64_t id() const = 0;
  virtual void Log(Record record) = 0;
};

class Protocol {
 public:
  static constexpr size_t kBulkBytes = 128u << 10;

  virtual ~Protocol() = default;

  virtual void FromClient(std::string_view bytes) = 0;
  virtual void FromServer(std::string_view bytes) = 0;
  virtual void Connected() = 0;
  virtual void ConnectFailed(const std::string& why) = 0;
  /// The job has as many connections as it may: nothing was connected to. The client is told so in
  /// its protocol's own words, where that has any, and the connection closed with `why`.
  virtual void NoRoom(const std::string& why) { ConnectFailed(why); }
  /// The connection is closed for having been idle: what its client is told, where the protocol has
  /// words for that.
  virtual void Idle(const std::string& /*why*/) {}
  /// One side will send no more. The relay passes that on to the other side by itself, when what
  /// is queued for it has gone.
  virtual void ClientEnded() {}
  virtual void ServerEnded() {}
  /// False: no more is read from the client until it's true again.
  virtual bool WantsClient() const { return true; }
  /// How many bytes of the client's to take at once: a bound on what they can make a protocol keep.
  virtual size_t ClientBytes() const { return kBulkBytes; }
  /// True once the login is over: its time limit ends, and the idle limit begins.
  virtual bool LoggedIn() const = 0;
  /// True while a statement runs: the connection is not idle then.
  virtual bool Busy() const { return false; }
  /// The action has ended while Busy: asks the database to end what runs. CancelHere does so on
  /// this connection, and Busy is false when the database has answered; CancelThrough on a
  /// connection of its own, `link`, which its Protocol closes when the request is delivered. False
  /// and null: not in this way.
  virtual bool CancelHere() { return false; }
  virtual std::unique_ptr<Protocol> CancelThrough(Link& /*link*/) { return nullptr; }
  /// The connection is over: logs what is unfinished. Nothing is called afterwards.
  virtual void Finished() {}
};

/// Makes a Protocol for each connection of one job. Lives as long as the job's gateway.
class ProtocolFactory {
 public:
  virtual ~ProtocolFactory() = default;
  virtual std::unique_ptr<Protocol> Make(Link& link) = 0;
};

/// Makes sessions that all have what `Shared` holds.
template <typename Session, typename Shared>
class SessionFactory final : public ProtocolFactory {
 public:
  explicit SessionFactory(Shared shared) : shared_(std::move(shared)) {}
  std::unique_ptr<Protocol> Make(Link& link) override {
    return std::make_unique<Session>(link, shared_);
  }

 private:
  Shared shared_;
};

/// Passes bytes on unread. Only for databases that the policy names as `relay`.
std::unique_ptr<ProtocolFactory> MakePlainRelay();

}  // namespace carrel::gateway
