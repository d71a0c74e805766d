#include "gateway/relay.h"

#include <signal.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>
#include <unordered_map>

#include "base/clock.h"
#include "gateway/connection.h"

namespace carrel::gateway {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTick = std::chrono::seconds(1);
constexpr auto kRetry = std::chrono::milliseconds(20);
constexpr auto kCancelLimit = std::chrono::milliseconds(900);  // at the end, for all statements

class AsioRelay final : public Relay {
 public:
  AsioRelay(const RelayOptions& options, ProtocolFactory& factory, RecordQueue& records)
      : factory_(factory),
        acceptor_(shared_.io),
        tick_(shared_.io),
        retry_(shared_.io),
        limit_(shared_.io) {
    shared_.options = options;
    shared_.records = &records;
    shared_.ended = [this](Connection& connection) { Ended(connection); };
    shared_.starved = [this] { WaitForLog(); };
    shared_.cancel = [this](Connection& of, const std::string& why) { CancelThrough(of, why); };
  }
  ~AsioRelay() override { Stop(); }

  Result<void> Run(UniqueFd listener) {
    error_code error;
    shared_.database = {boost::asio::ip::make_address(shared_.options.address, error),
                        shared_.options.port};
    if (error) return BadInput("database", "not a numeric address: " + shared_.options.address);
    acceptor_.assign(tcp::v4(), listener.release(), error);
    if (error) return SysFault("gateway", "listen", error.value());
    Accept();
    Tick();
    // Signals are the supervisor's to take.
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { shared_.io.run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return {};
  }

  void Stop() override {
    if (!thread_.joinable()) return;
    boost::asio::post(shared_.io, [this] { CloseAll(); });
    thread_.join();
  }

  RelayCounts counts() const override {
    return {connections_, refused_, bytes_to_server_, bytes_to_client_};
  }

 private:
  void Accept() {
    accepting_ = true;
    acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
      accepting_ = false;
      if (!acceptor_.is_open()) return;
      if (!error) Accepted(std::move(socket));
      // No descriptors, or no room in the log: the tick tries again, and clients wait in the
      // backlog.
      if (shared_.records->Full()) return;
      if (!error || error == boost::asio::error::connection_aborted) Accept();
    });
  }

  void Accepted(tcp::socket socket) {
    ++connections_;
    const uint64_t id = connections_;
    const bool surplus = open_.size() - surplus_ >= shared_.options.max_connections;
    if (surplus && !TakeSurplus(id)) return;  // a reset
    auto connection = std::make_shared<Connection>(shared_, id, std::move(socket), surplus);
    open_.emplace(id, connection);
    connection->Start(factory_);
  }

  // One over the limit. False: there are too many of these, too.
  bool TakeSurplus(uint64_t id) {
    ++refused_;
    // The first says it; the number of the others comes at the end.
    if (refused_ == 1)
      shared_.records->Push(Event{"gateway-refused", id, {{"why", "too many connections"}}});
    if (surplus_ >= shared_.options.max_surplus) return false;
    ++surplus_;
    return true;
  }

  void Ended(Connection& connection) {
    const auto found = open_.find(connection.id());
    if (found != open_.end() && found->second.get() == &connection) {
      bytes_to_server_ += connection.bytes_to_server();
      bytes_to_client_ += connection.bytes_to_client();
      surplus_ -= connection.surplus() ? 1 : 0;
      open_.erase(found);
    } else {
      std::erase_if(cancels_, [&](const auto& cancel) { return cancel.get() == &connection; });
    }
    if (open_.empty() && cancels_.empty()) limit_.cancel();
  }

  std::vector<std::shared_ptr<Connection>> Open() const {
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [id, connection] : open_) all.push_back(connection);
    return all;
  }

  void Tick() {
    tick_.expires_after(kTick);
    tick_.async_wait([this](const error_code& error) {
      if (error || !acceptor_.is_open()) return;
      const int64_t now = MonotonicNs();
      for (const auto& connection : Open()) connection->Tick(now);
      for (const auto& cancel : std::vector(cancels_)) cancel->Tick(now);
      if (!accepting_) Accept();
      Tick();
    });
  }

  // While the log is full no statement is taken from the action.
  void WaitForLog() {
    if (waiting_for_log_) return;
    waiting_for_log_ = true;
    retry_.expires_after(kRetry);
    retry_.async_wait([this](const error_code& error) {
      waiting_for_log_ = false;
      if (error || !acceptor_.is_open()) return;
      for (const auto& connection : Open()) connection->Update();
    });
  }

  void CloseAll() {
    error_code ignored;
    acceptor_.close(ignored);
    tick_.cancel();
    retry_.cancel();
    const std::string ended = "the action has ended";
    for (const auto& connection : Open()) {
      if (connection->CancelHere()) continue;
      CancelThrough(*connection, ended);
      connection->Abort(ended);
    }
    if (open_.empty() && cancels_.empty()) return;
    limit_.expires_after(kCancelLimit);
    limit_.async_wait([this](const error_code& error) {
      if (error) return;
      const std::string why = "the database took too long to take the cancel request";
      for (const auto& connection : Open()) connection->Abort(why);
      for (const auto& cancel : std::vector(cancels_)) cancel->Abort(why);
    });
  }

  // A statement does not outlive its connection, nor its job.
  void CancelThrough(Connection& of, const std::string& why) {
    if (cancels_.size() >= shared_.options.max_connections) return;
    auto other = std::make_shared<Connection>(shared_, of.id());
    if (other->StartCancel(of, why)) cancels_.push_back(std::move(other));
  }

  LoopShared shared_;
  ProtocolFactory& factory_;
  tcp::acceptor acceptor_;
  boost::asio::steady_timer tick_, retry_, limit_;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> open_;
  size_t surplus_ = 0;                                ///< of open_: those over the limit
  std::vector<std::shared_ptr<Connection>> cancels_;  ///< of statements that outlived the action
  std::atomic<uint64_t> connections_ = 0, refused_ = 0, bytes_to_server_ = 0, bytes_to_client_ = 0;
  bool accepting_ = false, waiting_for_log_ = false;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Relay>> Relay::Start(UniqueFd listener, const RelayOptions& options,
                                            ProtocolFactory& factory, RecordQueue& records) {
  auto relay = std::make_unique<AsioRelay>(options, factory, records);
  CARREL_TRY(relay->Run(std::move(listener)));
  return std::unique_ptr<Relay>(std::move(relay));
}

}  // namespace carrel::gateway
