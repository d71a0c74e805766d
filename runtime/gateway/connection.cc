#include "gateway/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/clock.h"

namespace carrel::gateway {

using boost::asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kLingerNs = 2 * kSecondNs;
constexpr size_t kKeptRoom = 16u << 10;  // of a buffer that was needed once

// A peer that is gone without a word is found out within two minutes, and not in the kernel's two
// hours. (TCP_USER_TIMEOUT would end a server too that doesn't read for so long.)
void SetOptions(tcp::socket& socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(boost::asio::socket_base::keep_alive(true), ignored);
  using boost::asio::detail::socket_option::integer;
  socket.set_option(integer<IPPROTO_TCP, TCP_KEEPIDLE>(60), ignored);
  socket.set_option(integer<IPPROTO_TCP, TCP_KEEPINTVL>(10), ignored);
  socket.set_option(integer<IPPROTO_TCP, TCP_KEEPCNT>(6), ignored);
}

}  // namespace

Connection::Connection(LoopShared& shared, uint64_t id, tcp::socket client, bool surplus)
    : shared_(shared), id_(id), surplus_(surplus), client_(std::move(client)), server_(shared.io) {
  client_.name = "the action";
  client_.connected = true;
  server_.name = "the database";
  opened_ns_ = active_ns_ = MonotonicNs();
}

Connection::Connection(LoopShared& shared, uint64_t id)
    : shared_(shared),
      id_(id),
      surplus_(false),
      client_(shared.io),
      server_(shared.io),
      cancels_other_(true) {
  server_.name = "the database";
  opened_ns_ = active_ns_ = MonotonicNs();
}

bool Connection::StartCancel(Connection& of, const std::string& why) {
  if (of.state_ != State::kOpen || of.protocol_ == nullptr || !of.protocol_->Busy()) return false;
  protocol_ = of.protocol_->CancelThrough(*this);
  if (protocol_ == nullptr) return false;
  cancels_why_ = why;
  // A reset: the server cannot answer, so it doesn't go on with what else the client had sent.
  error_code ignored;
  of.server_.socket.set_option(boost::asio::socket_base::linger(true, 0), ignored);
  Update();
  return true;
}

bool Connection::CancelHere() {
  if (state_ != State::kOpen || !protocol_->Busy() || !protocol_->CancelHere()) return false;
  cancels_own_ = true;
  cancels_why_ = "the action has ended";
  error_code ignored;
  client_.socket.close(ignored);
  client_.connected = false;
  client_.ended = false;
  client_.unsent.clear();
  client_.sent = 0;
  Update();
  return true;
}

void Connection::Start(ProtocolFactory& factory) {
  SetOptions(client_.socket);
  error_code error;
  const tcp::endpoint from = client_.socket.remote_endpoint(error);
  Event opened{"gateway-open", id_, {{"port", uint64_t{from.port()}}}};
  if (const auto& peers = shared_.options.peers; peers != nullptr && from.address().is_v4())
    if (auto process = peers->Find(from.address().to_v4().to_uint(), from.port(),
                                   shared_.options.port_inside)) {
      opened.members.emplace_back("pid", static_cast<uint64_t>(process->pid));
      opened.members.emplace_back("host_pid", static_cast<uint64_t>(process->host_pid));
      opened.members.emplace_back("comm", std::move(process->comm));
    }
  Log(std::move(opened));
  protocol_ = factory.Make(*this);
  Update();
}

void Connection::Unreachable(int code) {
  Log(Event{"gateway-unreachable", id_, {{"error", ErrnoName(code)}}});
  protocol_->ConnectFailed("the database cannot be reached: " + ErrnoName(code));
}

// A connect that does not happen: later, as the protocol may be in the middle of a call.
void Connection::TellNoRoom() {
  boost::asio::post(shared_.io, [self = shared_from_this()] {
    if (self->state_ != State::kOpen) return;
    self->connecting_ = false;
    self->protocol_->NoRoom("too many connections: the job may have " +
                            std::to_string(self->shared_.options.max_connections) + " at once");
    self->Update();
  });
}

void Connection::Connect() {
  if (!surplus_) return ConnectToCancel();
  connecting_ = true;
  connecting_ns_ = MonotonicNs();
  TellNoRoom();
}

void Connection::ConnectToCancel() {
  connecting_ = true;
  connecting_ns_ = MonotonicNs();
  error_code error;
  server_.socket.open(shared_.database.protocol(), error);
  if (error) {
    boost::asio::post(shared_.io, [self = shared_from_this(), error] { self->OnConnect(error); });
    return;
  }
  SetOptions(server_.socket);
  server_.socket.async_connect(
      shared_.database, [self = shared_from_this()](const error_code& e) { self->OnConnect(e); });
}

void Connection::OnConnect(const error_code& error) {
  if (state_ != State::kOpen || !connecting_) return;
  connecting_ = false;
  if (error) {
    Unreachable(error.value());
  } else {
    server_.connected = true;
    protocol_->Connected();
  }
  Update();
}

size_t Connection::TrySend(Peer& peer, std::string_view bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(peer.socket.native_handle(), bytes.data() + sent, bytes.size() - sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (errno != EAGAIN) Broken(peer, errno);
      break;
    }
    sent += static_cast<size_t>(n);
  }
  peer.bytes += sent;
  return sent;
}

void Connection::Send(Peer& peer, std::string_view bytes) {
  if (state_ != State::kOpen || !peer.connected || peer.shut) return;
  if (!peer.blocked()) bytes.remove_prefix(TrySend(peer, bytes));
  if (bytes.empty() || state_ != State::kOpen) return;
  peer.unsent.append(bytes);
}

void Connection::OnWritable(Peer& peer) {
  if (state_ == State::kDone) return;
  active_ns_ = MonotonicNs();
  peer.sent += TrySend(peer, std::string_view(peer.unsent).substr(peer.sent));
  if (!peer.blocked()) {
    peer.sent = 0;
    peer.unsent.clear();
    if (peer.unsent.capacity() > kKeptRoom) peer.unsent.shrink_to_fit();
  }
  Update();
}

void Connection::OnReadable(Peer& peer) {
  if (state_ == State::kDone) return;
  // Others were read since this was asked for, and the log may be full now.
  if (&peer == &client_ ? !MayReadClient() : !LogHasRoom()) return Update();
  const size_t most = &peer == &client_ ? protocol_->ClientBytes() : shared_.buffer.size();
  const ssize_t n = ::recv(peer.socket.native_handle(), shared_.buffer.data(), most, MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN && errno != EINTR) Broken(peer, errno);
  if (n == 0) peer.ended = true;
  if (n >= 0 && state_ == State::kOpen) {
    active_ns_ = MonotonicNs();
    const std::string_view bytes(shared_.buffer.data(), static_cast<size_t>(n));
    if (&peer == &client_)
      bytes.empty() ? protocol_->ClientEnded() : protocol_->FromClient(bytes);
    else
      bytes.empty() ? protocol_->ServerEnded() : protocol_->FromServer(bytes);
  }
  Update();
}

void Connection::ArmRead(Peer& peer) {
  if (peer.reading || peer.ended || !peer.connected) return;
  peer.reading = true;
  peer.socket.async_wait(tcp::socket::wait_read,
                         [self = shared_from_this(), &peer](const error_code& error) {
                           peer.reading = false;
                           if (!error) self->OnReadable(peer);
                         });
}

void Connection::ArmWrite(Peer& peer) {
  if (peer.writing || !peer.blocked()) return;
  peer.writing = true;
  peer.socket.async_wait(tcp::socket::wait_write,
                         [self = shared_from_this(), &peer](const error_code& error) {
                           peer.writing = false;
                           if (!error) self->OnWritable(peer);
                         });
}

// The end of one side's bytes is passed on after the bytes.
void Connection::PassEnd(const Peer& from, Peer& to) {
  if (!from.ended || to.shut || !to.connected || to.blocked()) return;
  to.shut = true;
  error_code ignored;
  to.socket.shutdown(tcp::socket::shutdown_send, ignored);
}

bool Connection::MayReadClient() {
  if (state_ == State::kLingering) return true;
  if (state_ != State::kOpen || server_.blocked() || !protocol_->WantsClient()) return false;
  return LogHasRoom();
}

// What either side sends can make records.
bool Connection::LogHasRoom() {
  if (!shared_.records->Full()) return true;
  shared_.starved();
  return false;
}

void Connection::Update() {
  if (cancels_own_ && !protocol_->Busy()) return Abort("the action has ended");
  if (state_ == State::kFlushing && !client_.connected) return Done();
  if (state_ == State::kOpen) {
    PassEnd(client_, server_);
    PassEnd(server_, client_);
    const bool nobody = !server_.connected && !connecting_;
    if (client_.ended && (nobody || (server_.ended && !client_.blocked()))) return Done();
  }
  if (state_ == State::kFlushing && !client_.blocked()) {
    state_ = State::kLingering;
    error_code ignored;
    client_.socket.shutdown(tcp::socket::shutdown_send, ignored);
  }
  if (state_ == State::kLingering && client_.ended) return Done();
  if (state_ == State::kDone) return;
  ArmWrite(client_);
  if (MayReadClient()) ArmRead(client_);
  if (state_ != State::kOpen) return;
  ArmWrite(server_);
  if (!client_.blocked() && LogHasRoom()) ArmRead(server_);
}

void Connection::Tick(int64_t now_ns) {
  if (state_ == State::kFlushing || state_ == State::kLingering) {
    if (now_ns - closing_ns_ >= kLingerNs) Done();
    return;
  }
  if (state_ != State::kOpen) return;
  const RelayOptions& options = shared_.options;
  if (connecting_ && now_ns - connecting_ns_ >= options.connect_seconds * kSecondNs) {
    error_code ignored;
    server_.socket.close(ignored);
    connecting_ = false;
    Unreachable(ETIMEDOUT);
  } else if (!protocol_->LoggedIn()) {
    const uint32_t most =
        surplus_ ? std::min(options.surplus_seconds, options.login_seconds) : options.login_seconds;
    if (now_ns - opened_ns_ >= most * kSecondNs) Close("the login took too long");
  } else if (!protocol_->Busy() && now_ns - active_ns_ >= options.idle_seconds * kSecondNs) {
    protocol_->Idle("idle for too long: the limit is " + std::to_string(options.idle_seconds) +
                    " seconds");
    Close("idle for too long");
  }
  Update();
}

void Connection::Close(const std::string& why) {
  if (state_ != State::kOpen) return;
  why_ = why;
  if (!server_.ended && !cancels_own_) shared_.cancel(*this, why);
  state_ = State::kFlushing;
  closing_ns_ = MonotonicNs();
  error_code ignored;
  server_.socket.close(ignored);
  server_.connected = false;
  // Done and Update follow from whoever called the protocol.
}

// A socket failed. The protocol may be in the middle of a call: it finds its sends ignored.
void Connection::Broken(Peer& peer, int code) {
  if (state_ == State::kOpen) why_ = std::string(peer.name) + ": " + ErrnoName(code);
  if (&peer == &client_) {
    client_.ended = true;
    client_.unsent.clear();
    client_.sent = 0;
    if (state_ == State::kOpen) {
      Close(why_);
      state_ = State::kLingering;
    }
  } else {
    Close(why_);
  }
}

void Connection::Abort(const std::string& why) {
  if (state_ == State::kOpen) why_ = why;
  Done();
}

// What ran to the last, and how its cancelling went.
void Connection::LogCancel() {
  const std::string how = cancels_other_      ? why_
                          : protocol_->Busy() ? "not answered: " + why_
                                              : "answered by the database";
  Log(Event{"gateway-cancel", id_, {{"why", cancels_why_}, {"how", how}}});
}

void Connection::Done() {
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  const auto self = shared_from_this();
  if (cancels_other_ || cancels_own_) LogCancel();
  protocol_->Finished();
  if (!cancels_other_)
    Log(Event{"gateway-close",
              id_,
              {{"why", why_},
               {"bytes_to_server", server_.bytes},
               {"bytes_to_client", client_.bytes},
               {"duration_us", static_cast<uint64_t>((MonotonicNs() - opened_ns_) / 1000)}}});
  error_code ignored;
  client_.socket.close(ignored);
  server_.socket.close(ignored);
  shared_.ended(*this);
}

}  // namespace carrel::gateway
