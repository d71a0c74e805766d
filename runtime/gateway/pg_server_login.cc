// The login at the server, with the real credentials: the gateway as PostgreSQL's client.
#include <charconv>

#include "gateway/pg_session.h"

namespace carrel::gateway::pg {

void Session::Connected() {
  if (shared_.tls == nullptr) return SendStartup();
  link_.ToServer(U32(8) + U32(kSslRequest));
  state_ = State::kTlsAnswer;
}

void Session::ConnectFailed(const std::string& why) {
  state_ = State::kEnded;
  if (!cancel_) link_.ToClient(FatalError("08006", "the database cannot be reached"));
  link_.Close(why);
}

// As PostgreSQL itself says it, by class: clients wait and try again.
void Session::NoRoom(const std::string& why) {
  state_ = State::kEnded;
  link_.ToClient(FatalError("53300", why));
  link_.Close(why);
}

// As the server's own idle_session_timeout.
void Session::Idle(const std::string& why) { link_.ToClient(FatalError("57P05", why)); }

void Session::TlsAnswer(std::string_view bytes) {
  // More than the one byte would be plain text that somebody put before the handshake.
  if (bytes != "S")
    return ServerFault("the database doesn't offer TLS, which the configuration demands");
  auto engine = TlsEngine::Make(*shared_.tls);
  if (!engine) return ServerFault(engine.error().ToString());
  tls_ = std::move(*engine);
  state_ = State::kTlsHandshake;
  if (auto begun = tls_->Handshake(); !begun) return ServerFault(begun.error().ToString());
  FlushTls();
}

void Session::SendStartup() {
  if (cancel_) {
    state_ = State::kCancelSent;
    return ToServer(U32(16) + U32(kCancelRequest) + U32(cancel_->process) + U32(cancel_->key));
  }
  state_ = State::kServerLogin;
  std::string body = U32(kVersion3);
  auto add = [&](const std::string& name, const std::string& value) {
    body += name + '\0' + value + '\0';
  };
  add("user", shared_.upstream.user);
  add("database", shared_.upstream.database);
  // They set what a statement could: a role, a search path.
  std::string settings;
  for (const auto& [name, value] : parameters_) {
    if (name == "user" || name == "database" || name == "replication") continue;
    add(name, value);
    settings += (settings.empty() ? "" : ", ") + name + "=" + value;
  }
  if (!settings.empty())
    link_.Log(Event{"gateway-settings", link_.id(), {{"text", std::move(settings)}}});
  body += '\0';
  ToServer(U32(static_cast<uint32_t>(body.size() + 4)) + body);
}

void Session::ReadServerLogin(std::string_view bytes) {
  server_in_.append(bytes);
  std::string_view rest = server_in_;
  while (state_ == State::kServerLogin || state_ == State::kServerReady ||
         state_ == State::kServerSet) {
    if (rest.size() < 5) break;
    const uint32_t length = ReadU32(rest.substr(1));
    if (length < 4 || length - 4 > kMaxLoginBody)
      return ServerFault("the database doesn't speak PostgreSQL's protocol");
    if (rest.size() < length + 1) break;
    ServerMessage(rest[0], rest.substr(5, length - 4));
    rest.remove_prefix(length + 1);
  }
  if (state_ == State::kRelay) {
    const std::string early(rest);
    server_in_.clear();
    return Relay(false, early);
  }
  server_in_.erase(0, server_in_.size() - rest.size());
}

void Session::ServerMessage(char type, std::string_view body) {
  // What the server says to the gateway's own setting is not the client's; one that doesn't take it
  // goes without.
  if (state_ == State::kServerSet) return type == 'Z' ? Begin() : void();
  if (type == 'E') return ServerError(body);
  if (state_ == State::kServerLogin && type == 'R') return Authentication(body);
  if (state_ == State::kServerReady && type == 'S') {
    constexpr std::string_view kVersion("server_version\0", 15);
    if (body.starts_with(kVersion))
      std::from_chars(body.data() + kVersion.size(), body.data() + body.size(), server_version_);
    return link_.ToClient(Message(type, body));
  }
  if (type == 'N') return link_.ToClient(Message(type, body));
  if (state_ == State::kServerReady && type == 'K') return BackendKey(body);
  if (state_ == State::kServerReady && type == 'Z') return Ready();
  ServerFault("the database sends what doesn't belong into a login");
}

void Session::Authentication(std::string_view body) {
  if (body.size() < 4) return ServerFault("the database's demand for a login is malformed");
  const uint32_t demand = ReadU32(body);
  body.remove_prefix(4);
  // Each demand is made once. A hostile server's next salts would cost a tenth of a second each,
  // and be more samples of what the password makes of them.
  const uint32_t step = demand == 11 ? 2 : demand == 0 || demand == 12 ? 0 : 1;
  if ((demands_ & step) != 0) return ServerFault("the database demands the same login again");
  demands_ |= step;
  const Upstream& upstream = shared_.upstream;
  switch (demand) {
    case 0:
      // A server that began SCRAM has to show that it knows the password, too.
      if (server_scram_ && !server_verified_)
        return ServerFault("the database did not prove that it knows the password");
      state_ = State::kServerReady;
      link_.Log(Event{"gateway-login",
                      link_.id(),
                      {{"method", server_login_}, {"tls", tls_ != nullptr ? "yes" : "no"}}});
      return link_.ToClient(Message('R', U32(0)));
    case 3: {
      if (tls_ == nullptr && !upstream.cleartext_password_without_tls)
        return ServerFault("the database wants the password in clear, without TLS");
      server_login_ = "password";
      std::string password(upstream.password.view());
      password += '\0';
      std::string message = Message('p', password);
      ToServer(message);
      Wipe(password);
      return Wipe(message);
    }
    case 5: {
      if (body.size() != 4) return ServerFault("the database's demand for a login is malformed");
      server_login_ = "md5";
      return ToServer(
          Message('p', Md5Password(upstream.user, upstream.password.view(), body) + '\0'));
    }
    case 10:
      return ServerScram(body);
    case 11:
      return ServerScramContinue(body);
    case 12:
      if (!server_scram_ || !server_scram_->Verify(body))
        return ServerFault("the server doesn't know the password: it is not the database");
      server_verified_ = true;
      return;
    default:
      ServerFault("the database wants a login of kind " + std::to_string(demand) +
                  ", which the gateway doesn't have");
  }
}

void Session::ServerScram(std::string_view mechanisms) {
  constexpr std::string_view kPlain = "SCRAM-SHA-256", kPlus = "SCRAM-SHA-256-PLUS";
  bool plain = false, plus = false;
  std::string_view mechanism;
  while (TakeString(mechanisms, mechanism) && !mechanism.empty()) {
    plain = plain || mechanism == kPlain;
    plus = plus || mechanism == kPlus;
  }
  const std::string end_point = tls_ != nullptr ? tls_->EndPoint() : "";
  plus = plus && !end_point.empty();
  auto nonce = RandomHex(12);
  if ((!plain && !plus) || !nonce || server_scram_)
    return ServerFault("the database doesn't offer SCRAM-SHA-256");
  ChannelBinding binding;
  if (plus)
    binding = ChannelBinding::To(end_point);
  else if (!end_point.empty())
    binding.header = "y,,";  // a server that can would know that somebody took its offer away
  server_login_ = plus ? kPlus : kPlain;
  server_scram_.emplace(*nonce, binding);
  const std::string first = server_scram_->First();
  ToServer(Message('p', std::string(plus ? kPlus : kPlain) + '\0' +
                            U32(static_cast<uint32_t>(first.size())) + first));
}

void Session::ServerScramContinue(std::string_view body) {
  if (!server_scram_) return ServerFault("the database's SCRAM has no beginning");
  if (auto read = server_scram_->Challenge(body); !read)
    return ServerFault(read.error().ToString());
  ScramKeys& keys = shared_.server_keys;
  if (keys.salt != server_scram_->salt() || keys.iterations != server_scram_->iterations()) {
    auto derived = ScramKeys::Derive(shared_.upstream.password.view(), server_scram_->salt(),
                                     server_scram_->iterations());
    if (!derived) return ServerFault(derived.error().ToString());
    keys = std::move(*derived);
  }
  ToServer(Message('p', server_scram_->Final(keys)));
}

// The client is told what the server says, but for the real user's name.
void Session::ServerError(std::string_view body) {
  const std::string sqlstate(ErrorField(body, 'C').substr(0, 5));
  std::string text(ErrorField(body, 'M').substr(0, 2000));
  for (const std::string_view real :
       {std::string_view(shared_.upstream.user), shared_.upstream.password.view()})
    for (size_t at = 0; !real.empty() && (at = text.find(real, at)) != std::string::npos;)
      text.replace(at, real.size(), "...");
  link_.Log(Event{"gateway-login-failed", link_.id(), {{"error", sqlstate}, {"text", text}}});
  state_ = State::kEnded;
  link_.ToClient(FatalError(sqlstate, text));
  link_.Close("the database refused the login: " + sqlstate);
}

void Session::BackendKey(std::string_view body) {
  auto random = RandomHex(4);
  if (body.size() != 8 || own_key_ || !random)
    return ServerFault("the database's cancel key is malformed");
  own_key_ = CancelKey{ReadU32(body), static_cast<uint32_t>(std::stoul(*random, nullptr, 16))};
  shared_.cancels[*own_key_] = {ReadU32(body), ReadU32(body.substr(4))};
  link_.ToClient(Message('K', U32(own_key_->process) + U32(own_key_->key)));
}

// Where carrel itself is killed nobody cancels: the server is to look by itself whether its client
// is there. (Since version 14; what the session sets later on holds.)
void Session::Ready() {
  if (server_version_ < 14) return Begin();
  state_ = State::kServerSet;
  ToServer(Message('Q', std::string("SET client_connection_check_interval = '10s'") + '\0'));
}

void Session::Begin() {
  link_.ToClient(Message('Z', "I"));
  statements_ = std::make_unique<Statements>(link_, shared_.upstream.password.view());
  state_ = State::kRelay;
  std::string early = std::move(client_in_);
  client_in_.clear();
  Relay(true, early);
}

void Session::ServerFault(const std::string& why) {
  if (state_ == State::kEnded) return;
  const bool login = state_ != State::kRelay && !cancel_;
  state_ = State::kEnded;
  link_.Log(Event{"gateway-login-failed", link_.id(), {{"text", why}}});
  if (login) link_.ToClient(FatalError("08006", "the gateway could not log in to the database"));
  link_.Close(why);
}

}  // namespace carrel::gateway::pg
