// One connection of PostgreSQL's, up to the end of its login; then Statements reads along. The
// classes behind postgres.h.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "gateway/pg_statements.h"
#include "gateway/protocol.h"
#include "gateway/scram.h"
#include "gateway/tls.h"

namespace carrel::gateway::pg {

/// A session that a client can cancel: the server's own key for the gateway's.
struct CancelKey {
  uint32_t process = 0;
  uint32_t key = 0;
  bool operator<(const CancelKey& other) const {
    return std::pair(process, key) < std::pair(other.process, other.key);
  }
};

/// What the sessions of one job share.
struct Shared {
  const Upstream& upstream;
  JobLogin login;
  ScramKeys client_keys;  ///< of the job's password
  ScramKeys server_keys;  ///< of the real one, as the server last asked for them
  std::unique_ptr<TlsContext> tls;
  std::map<CancelKey, CancelKey> cancels;  ///< the gateway's to the server's; of this job alone
};

class Session final : public Protocol {
 public:
  Session(Link& link, Shared& shared) : link_(link), shared_(shared) {}
  ~Session() override;

  void FromClient(std::string_view bytes) override;
  void FromServer(std::string_view bytes) override;
  void Connected() override;
  void ConnectFailed(const std::string& why) override;
  void NoRoom(const std::string& why) override;
  void Idle(const std::string& why) override;
  void ServerEnded() override;
  bool WantsClient() const override;
  size_t ClientBytes() const override;
  bool LoggedIn() const override { return state_ == State::kRelay; }
  bool Busy() const override { return statements_ && statements_->Busy(); }
  std::unique_ptr<Protocol> CancelThrough(Link& link) override;
  void Finished() override;

 private:
  enum class State {
    kStartup,     ///< the client's first message
    kPassword,    ///< the client's answer: a password, or md5
    kScramFirst,  ///< the client's first SCRAM message
    kScramFinal,  ///< its proof
    kConnecting,  ///< to the server
    kTlsAnswer,   ///< one byte: S or N
    kTlsHandshake,
    kServerLogin,  ///< the server's demands
    kServerReady,  ///< its parameters, up to ReadyForQuery
    kServerSet,    ///< a setting of the gateway's own, up to the next ReadyForQuery
    kCancelSent,   ///< the server closes
    kRelay,
    kEnded,
  };

  // The client's side (pg_client_login.cc).
  void ReadClientLogin();
  bool TakeStartup();
  void Startup(uint32_t version, std::string_view parameters);
  bool TakeParameters(std::string_view parameters);
  void NegotiateVersion(uint32_t version);
  void AskClient();
  bool TakeClientMessage();
  void CheckClientPassword(std::string_view body);
  void ClientScramFirst(std::string_view body);
  void ClientScramFinal(std::string_view body);
  void Cancel(std::string_view body);
  void Admit();
  void Reject(std::string_view sqlstate, const std::string& text, const std::string& why);

  // The server's side (pg_server_login.cc).
  void FromServerPlain(std::string_view bytes);
  void TlsAnswer(std::string_view bytes);
  void SendStartup();
  void ReadServerLogin(std::string_view bytes);
  void ServerMessage(char type, std::string_view body);
  void Authentication(std::string_view body);
  void ServerScram(std::string_view mechanisms);
  void ServerScramContinue(std::string_view body);
  void ServerError(std::string_view body);
  void BackendKey(std::string_view body);
  void Ready();
  void Begin();
  void ToServer(std::string_view bytes);
  void FlushTls();
  void ServerFault(const std::string& why);

  void Relay(bool from_client, std::string_view bytes);

  Link& link_;
  Shared& shared_;
  State state_ = State::kStartup;
  std::string client_in_;  ///< of the login; bounded
  std::string server_in_;
  std::map<std::string, std::string> parameters_;  ///< of the client's startup
  std::string md5_salt_;
  std::optional<ScramServer> client_scram_;
  std::optional<ScramClient> server_scram_;
  bool server_verified_ = false;  ///< its SCRAM signature
  uint32_t demands_ = 0;          ///< of the server: 1 for a login, 2 for SCRAM's next step
  bool wrong_user_ = false;
  std::optional<CancelKey> cancel_;    ///< what to send instead of a startup
  std::optional<CancelKey> own_key_;   ///< in shared_.cancels
  int server_version_ = 0;             ///< its first number
  std::string server_login_ = "none";  ///< what it asked for: for the record
  std::unique_ptr<TlsEngine> tls_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace carrel::gateway::pg
