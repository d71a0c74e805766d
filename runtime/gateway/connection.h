// One connection of the action and its twin to the database. Only relay.cc uses this: it holds
// Asio.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "gateway/protocol.h"
#include "gateway/relay.h"

namespace carrel::gateway {

class Connection;

/// What the connections of one loop share.
struct LoopShared {
  boost::asio::io_context io{1};
  RelayOptions options;
  boost::asio::ip::tcp::endpoint database;
  RecordQueue* records = nullptr;
  std::string buffer = std::string(Protocol::kBulkBytes, '\0');  ///< what is being read now
  std::function<void()> starved;  ///< a connection waits for room in the log: Update it later
  std::function<void(Connection&)> ended;
  /// A connection to the database is about to be closed: what runs in it is cancelled.
  std::function<void(Connection&, const std::string& why)> cancel;
};

class Connection final : public Link, public std::enable_shared_from_this<Connection> {
 public:
  /// `surplus`: over the limit. It is not connected to the database, unless to cancel.
  Connection(LoopShared& shared, uint64_t id, boost::asio::ip::tcp::socket client, bool surplus);
  /// One without a client, which only cancels what runs in connection `id`.
  Connection(LoopShared& shared, uint64_t id);

  void Start(ProtocolFactory& factory);
  /// Begins to cancel what runs in `of`, which is to be closed for `why`. False: there is nothing
  /// that is cancelled in this way.
  bool StartCancel(Connection& of, const std::string& why);
  /// The action has ended: the client is dropped, and what runs is cancelled on this connection,
  /// which ends by itself. False: nothing to cancel in this way.
  bool CancelHere();
  /// Arms what can be armed: called when something outside has changed.
  void Update();
  /// Time limits; once a second.
  void Tick(int64_t now_ns);
  /// Ends it now.
  void Abort(const std::string& why);

  bool surplus() const { return surplus_; }
  uint64_t bytes_to_server() const { return server_.bytes; }
  uint64_t bytes_to_client() const { return client_.bytes; }

  void ToClient(std::string_view bytes) override { Send(client_, bytes); }
  void ToServer(std::string_view bytes) override { Send(server_, bytes); }
  void Connect() override;
  void ConnectToCancel() override;
  void Close(const std::string& why) override;
  uint64_t id() const override { return id_; }
  void Log(Record record) override { shared_.records->Push(std::move(record)); }

 private:
  // kFlushing: what is queued for the client goes out. kLingering: its own bytes are read and
  // dropped until it ends, as a reset would take the last message from it.
  enum class State { kOpen, kFlushing, kLingering, kDone };

  struct Peer {
    explicit Peer(boost::asio::io_context& io) : socket(io) {}
    explicit Peer(boost::asio::ip::tcp::socket s) : socket(std::move(s)) {}
    boost::asio::ip::tcp::socket socket;
    const char* name = "";
    std::string unsent;  ///< from `sent` on
    size_t sent = 0;
    uint64_t bytes = 0;  ///< given to it
    bool connected = false, reading = false, writing = false;
    bool ended = false;  ///< it sends no more
    bool shut = false;   ///< it is sent no more
    bool blocked() const { return sent < unsent.size(); }
  };

  void Send(Peer& peer, std::string_view bytes);
  size_t TrySend(Peer& peer, std::string_view bytes);
  void OnConnect(const boost::system::error_code& error);
  void TellNoRoom();
  void Unreachable(int code);
  void OnReadable(Peer& peer);
  void OnWritable(Peer& peer);
  void ArmRead(Peer& peer);
  void ArmWrite(Peer& peer);
  void PassEnd(const Peer& from, Peer& to);
  bool MayReadClient();
  bool LogHasRoom();
  void Broken(Peer& peer, int code);
  void LogCancel();
  void Done();

  LoopShared& shared_;
  const uint64_t id_;
  const bool surplus_;
  Peer client_, server_;
  std::unique_ptr<Protocol> protocol_;
  State state_ = State::kOpen;
  std::string why_ = "closed";
  bool connecting_ = false;
  bool cancels_other_ = false, cancels_own_ = false;
  std::string cancels_why_;
  int64_t opened_ns_ = 0, connecting_ns_ = 0, active_ns_ = 0, closing_ns_ = 0;
};

}  // namespace carrel::gateway
