#include "gateway/tds.h"

#include <algorithm>

#include "gateway/tds_session.h"

namespace carrel::gateway {
namespace tds {
namespace {

constexpr size_t kMaxLogin = 64u << 10;
// The server's own numbers.
constexpr uint32_t kLoginFailed = 18456;
constexpr uint32_t kTooManyConnections = 17809;
constexpr uint8_t kTlsRecord = 0x16;  // where a client begins TLS at once ("strict")
constexpr char kNoTls[] =
    "the action's client demands TLS, which the gateway doesn't speak with the action: on its own "
    "loopback a job needs none. Set Encrypt=no (ODBC), encrypt=false (JDBC, .NET) or "
    "encryption = off (FreeTDS)";

}  // namespace

Session::~Session() {
  Wipe(client_in_);
  Wipe(server_in_);
}

bool Session::WantsClient() const {
  if (state_ == State::kRelay) return statements_->Room();
  return state_ == State::kStart || state_ == State::kLogin;
}

void Session::FromClient(std::string_view bytes) {
  if (state_ == State::kEnded || bytes.empty()) return;
  const bool good = client_reader_.Feed(bytes, [this](const Packet& p) { return ClientPacket(p); });
  if (good || state_ == State::kEnded) return;
  std::string why = "the action doesn't speak TDS";
  if ((state_ == State::kStart && static_cast<uint8_t>(bytes[0]) == kTlsRecord) ||
      (state_ == State::kLogin && client_demands_tls_))
    why = kNoTls;
  else if (statements_ != nullptr && !statements_->why().empty())
    why = statements_->why();
  state_ = State::kEnded;
  link_.Close(why);
}

// Read first, then passed on: what is not the protocol goes nowhere.
bool Session::ClientPacket(const Packet& packet) {
  if (state_ == State::kEnded) return false;
  if (state_ == State::kRelay) {
    if (!statements_->FromClient(packet)) return false;
    ToServer(packet.whole);
    return state_ != State::kEnded;
  }
  const bool login = state_ == State::kStart || state_ == State::kLogin;
  if (!login || (packet.type != kPrelogin && packet.type != kLogin7)) return false;
  if (client_in_.size() + packet.payload.size() > kMaxLogin) return false;
  client_in_.append(packet.payload);
  return !packet.last() || ClientMessage(packet.type);
}

bool Session::ClientMessage(uint8_t type) {
  if (type == kPrelogin) {
    auto read = ReadPrelogin(client_in_);
    client_in_.clear();
    if (!read || state_ != State::kStart) return false;
    client_demands_tls_ = *read == Encryption::kOn || *read == Encryption::kRequired;
    state_ = State::kLogin;
    // A client that demands it ends here, and tells its user so in its own words: no error of the
    // gateway's would be read before a login.
    link_.ToClient(Packets(kResult, WritePrelogin(Encryption::kNotSupported)));
    return true;
  }
  auto login = ReadLogin7(client_in_);
  Wipe(client_in_);
  client_in_.clear();
  if (!login) {
    Reject(login.error().what, login.error().what);
    return false;
  }
  login_ = std::move(*login);
  Admit();
  return state_ == State::kConnecting;
}

void Session::Admit() {
  version_ = static_cast<uint8_t>(login_.version >> 24);
  const bool user = SameBytes(login_.user, shared_.login.user);
  const bool password = SameBytes(login_.password, shared_.login.password);
  Wipe(login_.password);
  if (!user || !password)
    return Reject("Login failed: use the user and password of DATABASE_URL", "wrong credentials");
  if (!login_.database.empty() && !SameName(login_.database, shared_.upstream.database))
    return Reject("Login failed: the job has been granted another database", "another database");
  state_ = State::kConnecting;
  link_.Connect();
}

void Session::Reject(const std::string& text, const std::string& why) {
  link_.Log(Event{"gateway-refused", link_.id(), {{"why", why}}});
  link_.ToClient(ErrorReply(kLoginFailed, text, version_ >= kWideVersion));
  state_ = State::kEnded;
  link_.Close("refused: " + why);
}

void Session::ConnectFailed(const std::string& why) { ServerFault(why); }

void Session::NoRoom(const std::string& why) {
  link_.ToClient(ErrorReply(kTooManyConnections, "carrel: " + why, version_ >= kWideVersion));
  state_ = State::kEnded;
  link_.Close(why);
}

void Session::Connected() {
  state_ = State::kServerPrelogin;
  const auto wanted = shared_.tls != nullptr ? Encryption::kOn : Encryption::kNotSupported;
  link_.ToServer(Packets(kPrelogin, WritePrelogin(wanted)));
}

void Session::FromServer(std::string_view bytes) {
  if (state_ == State::kEnded || bytes.empty()) return;
  if (tls_ == nullptr) return FromServerPlain(bytes);
  // The handshake, and with TLS 1.3 what follows it, comes in PRELOGIN packets. A record of TLS
  // begins with another byte.
  if (state_ != State::kTls && !server_reader_.inside() &&
      static_cast<uint8_t>(bytes[0]) != kPrelogin)
    wrapped_ = false;
  if (wrapped_) return FromServerWrapped(bytes);
  auto received = tls_->Receive(bytes, [this](std::string_view plain) { FromServerPlain(plain); });
  if (!received) return ServerFault(received.error().ToString());
  if (state_ != State::kEnded) FlushTls();
}

void Session::FromServerPlain(std::string_view bytes) {
  if (state_ == State::kEnded) return;
  if (server_reader_.Feed(bytes, [this](const Packet& p) { return ServerPacket(p); })) return;
  if (state_ != State::kEnded) ServerFault("the database doesn't speak TDS");
}

// TLS records as the payload of packets.
void Session::FromServerWrapped(std::string_view bytes) {
  const bool good = server_reader_.Feed(bytes, [this](const Packet& packet) {
    if (packet.type != kPrelogin && packet.type != kResult) return false;
    auto received = tls_->Receive(packet.payload, [](std::string_view) {});
    if (!received) {
      ServerFault(received.error().ToString());
      return false;
    }
    const std::string_view answer = tls_->output();
    if (!answer.empty()) link_.ToServer(Packets(kPrelogin, answer));
    tls_->ClearOutput();
    if (state_ == State::kTls && tls_->secured()) SendLogin();
    return state_ != State::kEnded;
  });
  if (!good && state_ != State::kEnded) ServerFault("the database's TLS handshake is not TDS");
}

void Session::FlushTls() {
  link_.ToServer(tls_->output());
  tls_->ClearOutput();
}

void Session::ToServer(std::string_view bytes) {
  if (tls_ == nullptr) return link_.ToServer(bytes);
  if (auto encrypted = tls_->Encrypt(bytes); !encrypted)
    return ServerFault(encrypted.error().ToString());
  FlushTls();
}

bool Session::ServerPacket(const Packet& packet) {
  if (state_ == State::kRelay) {
    if (!statements_->FromServer(packet)) {
      state_ = State::kEnded;
      link_.Close(statements_->why().empty() ? "the database doesn't speak TDS"
                                             : statements_->why());
      return false;
    }
    link_.ToClient(packet.whole);
    return true;
  }
  if (packet.type != kResult || server_in_.size() + packet.whole.size() > kMaxLogin) return false;
  if (state_ == State::kServerPrelogin) {
    server_in_.append(packet.payload);
    return !packet.last() || ServerPrelogin();
  }
  if (state_ != State::kServerLogin) return false;
  server_in_.append(packet.whole);
  if (!login_replies_.Packet(packet)) return false;
  return !packet.last() || EndLogin();
}

bool Session::ServerPrelogin() {
  auto encryption = ReadPrelogin(server_in_);
  server_in_.clear();
  if (!encryption) return false;
  if (shared_.tls == nullptr) {
    if (*encryption != Encryption::kNotSupported) {
      ServerFault("the database demands TLS, which its configuration switches off");
      return false;
    }
    SendLogin();
    return true;
  }
  // Never a weaker connection than the configuration asks for.
  if (*encryption != Encryption::kOn && *encryption != Encryption::kRequired) {
    ServerFault("the database has no TLS, which its configuration asks for");
    return false;
  }
  auto engine = TlsEngine::Make(*shared_.tls);
  if (engine) tls_ = std::move(*engine);
  Result<void> begun = engine ? tls_->Handshake() : Result<void>(engine.error());
  if (!begun) {
    ServerFault(begun.error().ToString());
    return false;
  }
  state_ = State::kTls;
  wrapped_ = true;
  link_.ToServer(Packets(kPrelogin, tls_->output()));
  tls_->ClearOutput();
  return true;
}

void Session::SendLogin() {
  state_ = State::kServerLogin;
  const Upstream& upstream = shared_.upstream;
  login_.host = "carrel";
  login_.user = upstream.user;
  login_.server = upstream.host.substr(0, 128);
  login_.database = upstream.database;
  login_.packet_size = std::clamp<uint32_t>(login_.packet_size, 512, 32'767);
  login_replies_.set_wide(version_ >= kWideVersion);
  std::string message = WriteLogin7(login_, upstream.password.view());
  std::string packets = Packets(kLogin7, message);
  ToServer(packets);
  Wipe(message);
  Wipe(packets);
}

void Session::ReplyError(uint32_t number, const std::string&) {
  if (login_error_ == 0) login_error_ = number;
}

bool Session::ReplyChange(uint8_t kind, const std::string&) {
  if (kind != 20) return true;
  ServerFault("the database sends its clients to another server");
  return false;
}

void Session::ReplyLoggedIn(uint8_t version) {
  // Of two answers the client may take another than the gateway.
  if (logged_in_) login_odd_ = "the database answers the login twice";
  logged_in_ = version >= 0x71 && version <= 0x74;
  version_ = version;
  login_replies_.set_wide(version >= kWideVersion);
}

bool Session::EndLogin() {
  if (login_odd_ != nullptr) {
    ServerFault(login_odd_);
    return false;
  }
  if (!logged_in_ || login_replies_.unread()) {
    // Its own words would hold the real user's name.
    link_.Log(Event{"gateway-login-failed", link_.id(), {{"error", uint64_t{login_error_}}}});
    ServerFault("the database refused carrel's login, error " + std::to_string(login_error_));
    return false;
  }
  state_ = State::kRelay;
  link_.Log(Event{"gateway-login",
                  link_.id(),
                  {{"method", "password"},
                   {"tls", tls_ != nullptr ? "yes" : "no"},
                   {"tds", "7." + std::to_string(version_ & 0x0f)}}});
  statements_ = std::make_unique<Statements>(link_, shared_.upstream.password.view(),
                                             shared_.upstream.database, version_ >= kWideVersion);
  link_.ToClient(server_in_);
  server_in_ = {};
  return true;
}

void Session::ServerFault(const std::string& why) {
  if (state_ == State::kEnded) return;
  if (state_ != State::kRelay)
    link_.ToClient(ErrorReply(kLoginFailed, "carrel: " + why, version_ >= kWideVersion));
  state_ = State::kEnded;
  link_.Close(why);
}

void Session::ServerEnded() {
  ServerFault(client_ended_ ? "the action ended the connection"
              : state_ == State::kRelay
                  ? "the database ended the connection"
                  : "the database ended the connection before the login was over");
}

// The server takes it between two messages only; one that is not whole yet runs nothing.
bool Session::CancelHere() {
  if (state_ != State::kRelay || statements_->sending()) return false;
  if (!attention_sent_) ToServer(Packets(kAttention, ""));
  attention_sent_ = true;
  return state_ == State::kRelay;
}

// Nobody is there for an answer; the relay ends the server's side next.
void Session::ClientEnded() {
  client_ended_ = true;
  if (state_ == State::kLogin && client_demands_tls_) {
    state_ = State::kEnded;
    return link_.Close(kNoTls);
  }
  if (!Busy() || attention_sent_ || !CancelHere()) return;
  link_.Log(Event{"gateway-cancel", link_.id(), {{"why", "the action ended the connection"}}});
}

void Session::Finished() {
  if (statements_ != nullptr) statements_->Finished();
}

}  // namespace tds

Result<std::unique_ptr<ProtocolFactory>> MakeTds(const Upstream& upstream, const JobLogin& login) {
  tds::Shared shared{.upstream = upstream, .login = login, .tls = nullptr};
  if (upstream.tls != TlsMode::kDisable) {
    CARREL_ASSIGN(shared.tls, TlsContext::Make(upstream));
  }
  return std::unique_ptr<ProtocolFactory>(
      std::make_unique<SessionFactory<tds::Session, tds::Shared>>(std::move(shared)));
}

}  // namespace carrel::gateway
