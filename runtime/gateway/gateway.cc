#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>

#include "gateway/listen.h"
#include "gateway/peer_process.h"
#include "gateway/postgres.h"
#include "gateway/protocol.h"
#include "gateway/scram.h"
#include "gateway/tds.h"

namespace carrel::gateway {
namespace {

// Two descriptors a connection. The soft limit is carrel's own to raise.
void MakeRoomForDescriptors(uint32_t connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 2 * rlim_t{connections} + 256);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// What is not plain in a URL's path is percent-encoded.
std::string UrlEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0 ||
        std::string_view("-._~").find(static_cast<char>(c)) != std::string_view::npos)
      encoded += static_cast<char>(c);
    else
      encoded += {'%', kHex[c >> 4], kHex[c & 15]};
  }
  return encoded;
}

// Of the job's own login; a protocol that isn't read has no place for one.
std::string UrlOf(const Upstream& upstream, const JobLogin& login) {
  const bool relay = upstream.kind == "relay";
  std::string url = (relay ? upstream.scheme : upstream.kind) + "://";
  if (!relay)
    url += login.user + ":" + login.password + "@";
  else if (upstream.inject_real_credentials)
    url += UrlEncode(upstream.user) + ":" + UrlEncode(upstream.password.view()) + "@";
  url += "127.0.0.1:" + std::to_string(PortInside(upstream.kind));
  if (!upstream.database.empty()) url += "/" + UrlEncode(upstream.database);
  return url;
}

}  // namespace

Result<std::unique_ptr<ProtocolFactory>> MakeProtocol(const Upstream& upstream,
                                                      const JobLogin& login) {
  if (upstream.kind == "postgresql") return MakePostgres(upstream, login);
  if (upstream.kind == "mssql") return MakeTds(upstream, login);
  if (upstream.kind == "relay") return MakePlainRelay();
  return BadInput("database", "the gateway knows no databases of kind " + upstream.kind);
}

uint16_t PortInside(const std::string& kind) { return kind == "mssql" ? 1433 : 5432; }

Gateway::~Gateway() = default;

// As they are, and as HTTP's basic authentication has them.
std::shared_ptr<const Redactor> Gateway::redactor() const {
  if (!upstream_.inject_real_credentials || upstream_.password.empty()) return nullptr;
  const std::string password(upstream_.password.view());
  std::vector<std::string> secrets = {password};
  for (const std::string& text : {password, upstream_.user + ":" + password}) {
    std::string encoded = Base64(text);
    encoded.resize(encoded.find_last_not_of('=') + 1);
    secrets.push_back(encoded);
    std::replace(encoded.begin(), encoded.end(), '+', '-');
    std::replace(encoded.begin(), encoded.end(), '/', '_');
    secrets.push_back(std::move(encoded));
  }
  return std::make_shared<Redactor>(std::move(secrets));
}

Result<std::unique_ptr<Gateway>> Gateway::Prepare(Upstream upstream) {
  std::unique_ptr<Gateway> gateway(new Gateway);
  if (upstream.address.empty()) {
    CARREL_ASSIGN(upstream.address, ResolveAddress(upstream.host));
  }
  CARREL_ASSIGN(gateway->login_, MakeJobLogin());
  CARREL_ASSIGN(gateway->records_, RecordQueue::Make());
  gateway->upstream_ = std::move(upstream);
  gateway->records_->Hide(gateway->upstream_.password.view());
  const Upstream& up = gateway->upstream_;
  CARREL_ASSIGN(gateway->factory_, MakeProtocol(up, gateway->login_));
  gateway->environment_["DATABASE_URL"] = UrlOf(up, gateway->login_);
  return gateway;
}

Result<void> Gateway::Relaying(UniqueFd listener, std::shared_ptr<PeerFinder> peers) {
  MakeRoomForDescriptors(upstream_.max_connections);
  const RelayOptions options = {.address = upstream_.address,
                                .port = upstream_.port,
                                .max_connections = upstream_.max_connections,
                                .idle_seconds = upstream_.idle_seconds,
                                .connect_seconds = upstream_.connect_seconds,
                                .login_seconds = upstream_.login_seconds,
                                .port_inside = PortInside(upstream_.kind),
                                .peers = std::move(peers)};
  records_->Push(Event{"gateway-start",
                       0,
                       {{"database", upstream_.name},
                        {"protocol", upstream_.kind},
                        {"address", upstream_.address},
                        {"port", uint64_t{upstream_.port}}}});
  CARREL_ASSIGN(relay_, Relay::Start(std::move(listener), options, *factory_, *records_));
  return {};
}

Result<void> Gateway::Open(int pidfd, const std::string& processes) {
  CARREL_ASSIGN(InsideSockets sockets, ListenInside(pidfd, PortInside(upstream_.kind)));
  return Relaying(std::move(sockets.listener),
                  std::make_shared<PeerFinder>(std::move(sockets.diag), processes));
}

Result<uint16_t> Gateway::OpenHere() {
  CARREL_ASSIGN(UniqueFd listener, ListenHere(0));
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return SysFault("gateway", "getsockname");
  CARREL_TRY(Relaying(std::move(listener), nullptr));
  return ntohs(address.sin_port);
}

int Gateway::poll_fd() const { return records_->poll_fd(); }

Result<void> Gateway::Service(const AppendRecord& append) { return records_->Drain(append); }

Result<void> Gateway::Close(const AppendRecord& append) {
  if (relay_ == nullptr) return {};
  relay_->Stop();
  const RelayCounts counts = relay_->counts();
  relay_.reset();
  CARREL_TRY(records_->Drain(append));
  return append("gateway-end", {{"connections", counts.connections},
                                {"refused", counts.refused},
                                {"statements", records_->statements()},
                                {"bytes_to_server", counts.bytes_to_server},
                                {"bytes_to_client", counts.bytes_to_client}});
}

uint64_t Gateway::statements() const { return records_->statements(); }

}  // namespace carrel::gateway
