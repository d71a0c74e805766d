#include "gateway/postgres.h"

#include "gateway/pg_session.h"

namespace carrel::gateway {
namespace pg {

Session::~Session() {
  Wipe(client_in_);
  Wipe(server_in_);
}

bool Session::WantsClient() const {
  switch (state_) {
    case State::kStartup:
    case State::kPassword:
    case State::kScramFirst:
    case State::kScramFinal:
      return true;
    case State::kRelay:
      return statements_->Room();
    default:
      return false;
  }
}

// A statement can be six bytes, and what is kept of it is fifty times that. Data are just data.
size_t Session::ClientBytes() const {
  return statements_ != nullptr && statements_->InCopy() ? kBulkBytes : kBulkBytes / 8;
}

void Session::FromClient(std::string_view bytes) {
  if (state_ == State::kRelay) return Relay(true, bytes);
  if (state_ == State::kEnded) return;
  client_in_.append(bytes);
  ReadClientLogin();
}

void Session::FromServer(std::string_view bytes) {
  if (state_ == State::kEnded) return;
  if (state_ == State::kTlsAnswer) return TlsAnswer(bytes);
  if (tls_ == nullptr) return FromServerPlain(bytes);
  auto received = tls_->Receive(bytes, [this](std::string_view plain) { FromServerPlain(plain); });
  if (!received) return ServerFault(received.error().ToString());
  FlushTls();
  if (state_ == State::kTlsHandshake && tls_->secured()) SendStartup();
}

void Session::FromServerPlain(std::string_view bytes) {
  if (state_ == State::kRelay) return Relay(false, bytes);
  ReadServerLogin(bytes);
}

// Read first, then passed on: what is not the protocol goes nowhere.
void Session::Relay(bool from_client, std::string_view bytes) {
  if (bytes.empty()) return;
  if (from_client ? !statements_->FromClient(bytes) : !statements_->FromServer(bytes)) {
    state_ = State::kEnded;
    return link_.Close(from_client ? "the action doesn't speak PostgreSQL's protocol"
                                   : "the database doesn't speak PostgreSQL's protocol");
  }
  from_client ? ToServer(bytes) : link_.ToClient(bytes);
}

void Session::ToServer(std::string_view bytes) {
  if (tls_ == nullptr) return link_.ToServer(bytes);
  if (auto encrypted = tls_->Encrypt(bytes); !encrypted)
    return ServerFault(encrypted.error().ToString());
  FlushTls();
}

void Session::FlushTls() {
  link_.ToServer(tls_->output());
  tls_->ClearOutput();
}

void Session::ServerEnded() {
  if (state_ == State::kCancelSent) {
    state_ = State::kEnded;
    return link_.Close("the cancel request is delivered");
  }
  if (state_ == State::kRelay) {
    state_ = State::kEnded;
    return link_.Close("the database ended the connection");
  }
  ServerFault("the database ended the connection before the login was over");
}

// A server does not look at its client while a statement runs: it has to be told, by another
// connection, as a client would.
std::unique_ptr<Protocol> Session::CancelThrough(Link& link) {
  if (!own_key_) return nullptr;
  auto other = std::make_unique<Session>(link, shared_);
  other->cancel_ = shared_.cancels.at(*own_key_);
  other->Admit();
  return other;
}

void Session::Finished() {
  if (own_key_) shared_.cancels.erase(*own_key_);
  if (statements_ != nullptr) statements_->Finished();
}

}  // namespace pg

Result<std::unique_ptr<ProtocolFactory>> MakePostgres(const Upstream& upstream,
                                                      const JobLogin& login) {
  pg::Shared shared{.upstream = upstream, .login = login};
  CARREL_ASSIGN(const std::string salt, RandomHex(8));
  // The password is random and valid for this job alone: few rounds do.
  CARREL_ASSIGN(shared.client_keys, ScramKeys::Derive(login.password, salt, 4096));
  if (upstream.tls != TlsMode::kDisable) {
    CARREL_ASSIGN(shared.tls, TlsContext::Make(upstream));
  }
  return std::unique_ptr<ProtocolFactory>(
      std::make_unique<SessionFactory<pg::Session, pg::Shared>>(std::move(shared)));
}

}  // namespace carrel::gateway
