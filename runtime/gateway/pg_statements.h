// Reads a PostgreSQL conversation after its login, for the log of statements: what was asked, and
// what came of it. Passes nothing on and changes nothing.
//
// What a client asked is logged whatever the order of the answers: a client that confuses the
// matching (it can, by sending what the protocol doesn't allow) spoils the durations and rows of
// its own statements, and hides none.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "gateway/pg_wire.h"
#include "gateway/protocol.h"

namespace carrel::gateway::pg {

class Statements {
 public:
  /// `secret` is taken out of all texts.
  Statements(Link& link, std::string_view secret);

  /// All bytes, in order. False: they are not the protocol; nothing more may be passed on.
  bool FromClient(std::string_view bytes);
  bool FromServer(std::string_view bytes);

  /// A request has no answer yet.
  bool Busy() const { return !pending_.empty(); }
  /// False: so many requests are without an answer that no more is to be taken.
  bool Room() const { return pending_.size() < kMaxPending; }
  /// Logs what has no answer.
  void Finished();

 private:
  static constexpr size_t kMaxPending = 16384;
  static constexpr size_t kMaxNames = 10'000;    ///< prepared statements, portals
  static constexpr size_t kMaxHead = 4096;       ///< of a body of which the start is of interest
  static constexpr size_t kMaxPart = 64u << 10;  ///< of a text in one record

  // A request that will be answered; `log` when it is one to log.
  struct Request {
    char type;
    std::unique_ptr<Statement> log;
  };

  // What MessageReader calls, for each side.
  struct ClientSide {
    Statements& all;
    bool Begin(char type, uint32_t size) { return all.BeginClient(type, size); }
    bool Wants() const { return all.client_wanted_; }
    void Piece(std::string_view bytes) { all.ClientPiece(bytes); }
    bool End() { return all.EndClient(); }
  };
  struct ServerSide {
    Statements& all;
    bool Begin(char type, uint32_t size) { return all.BeginServer(type, size); }
    bool Wants() const { return all.server_wanted_; }
    void Piece(std::string_view bytes) {
      all.server_head_.append(bytes.substr(0, kMaxHead - all.server_head_.size()));
    }
    bool End() { return all.EndServer(); }
  };

  bool BeginClient(char type, uint32_t size);
  void ClientPiece(std::string_view bytes);
  void AddText(std::string_view bytes);
  bool EndClient();
  bool EndParse();
  bool EndBind();
  bool EndExecute();
  bool EndCloseStatement();
  bool BeginServer(char type, uint32_t size);
  bool EndServer();

  std::unique_ptr<Statement> NewStatement(const char* how);
  void Ask(char type, std::unique_ptr<Statement> log = nullptr);
  Statement* Front(std::string_view types);
  void Answered(std::string_view types, std::string_view tag);
  void Failed(std::string_view sqlstate);
  void Ready();
  void DropSyncs();
  void Emit(std::unique_ptr<Statement> log);
  void Redact(std::string& text) const;
  void AddTag(std::string_view tag);
  void NoteTypes();
  void Remember(std::map<std::string, uint64_t>& names, std::string_view name, uint64_t number);

  Link& link_;
  const std::string_view secret_;
  MessageReader client_reader_, server_reader_;
  int64_t now_ns_ = 0;
  uint64_t numbers_ = 0;

  // The message that is being read.
  char client_type_ = 0, server_type_ = 0;
  bool client_wanted_ = false, server_wanted_ = false;
  uint32_t client_size_ = 0;
  std::string client_head_, server_head_;
  std::unique_ptr<Statement> reading_;  ///< of Query and Parse
  enum class Part { kName, kText, kTail } part_ = Part::kText;

  std::deque<Request> pending_;
  bool copy_in_ = false;
  bool skipping_ = false;  ///< an error: the server drops all until the next Sync
  std::map<std::string, uint64_t> prepared_, portals_;  ///< names to statements' numbers
  uint64_t described_ = 0;
};

}  // namespace carrel::gateway::pg
