// One connection of TDS, up to the end of its login; then Statements reads along. Behind tds.h.
#pragma once

#include <memory>
#include <string>

#include "gateway/protocol.h"
#include "gateway/tds_login.h"
#include "gateway/tds_replies.h"
#include "gateway/tds_statements.h"
#include "gateway/tls.h"

namespace carrel::gateway::tds {

/// What the sessions of one job share.
struct Shared {
  const Upstream& upstream;
  JobLogin login;
  std::unique_ptr<TlsContext> tls;  ///< null: plain
};

class Session final : public Protocol, private ReplySink {
 public:
  Session(Link& link, const Shared& shared) : link_(link), shared_(shared) {}
  ~Session() override;

  void FromClient(std::string_view bytes) override;
  void FromServer(std::string_view bytes) override;
  void Connected() override;
  void ConnectFailed(const std::string& why) override;
  void NoRoom(const std::string& why) override;
  void ClientEnded() override;
  void ServerEnded() override;
  bool WantsClient() const override;
  bool LoggedIn() const override { return state_ == State::kRelay; }
  bool Busy() const override { return statements_ && statements_->Busy(); }
  bool CancelHere() override;
  void Finished() override;

 private:
  enum class State {
    kStart,
    kLogin,
    kConnecting,
    kServerPrelogin,
    kTls,
    kServerLogin,
    kRelay,
    kEnded,
  };

  // The client's side.
  bool ClientPacket(const Packet& packet);
  bool ClientMessage(uint8_t type);
  void Admit();
  void Reject(const std::string& text, const std::string& why);

  // The server's side.
  void FromServerPlain(std::string_view bytes);
  void FromServerWrapped(std::string_view bytes);
  bool ServerPacket(const Packet& packet);
  bool ServerPrelogin();
  void FlushTls();
  void SendLogin();
  bool EndLogin();
  void ToServer(std::string_view bytes);
  void ServerFault(const std::string& why);

  // Of the reply to the login.
  void ReplyRow() override { login_odd_ = "the database answers the login with rows"; }
  void ReplyError(uint32_t number, const std::string& text) override;
  void ReplyDone(uint64_t, bool, bool, bool, bool) override {}
  void ReplyHandle(uint32_t) override {}
  bool ReplyChange(uint8_t kind, const std::string& value) override;
  void ReplyLoggedIn(uint8_t version) override;

  Link& link_;
  const Shared& shared_;
  State state_ = State::kStart;
  PacketReader client_reader_, server_reader_;
  std::string client_in_;  ///< payload of the login message that is being read
  std::string server_in_;  ///< of the server's; then its packets, up to the login's end
  Login7 login_;
  uint8_t version_ = 0x74;
  uint32_t login_error_ = 0;
  bool logged_in_ = false;
  const char* login_odd_ = nullptr;  ///< what no server does
  bool client_demands_tls_ = false;
  bool client_ended_ = false, attention_sent_ = false;
  bool wrapped_ = false;  ///< the server's TLS still comes in packets
  Replies login_replies_{*this};
  std::unique_ptr<TlsEngine> tls_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace carrel::gateway::tds
