// Reads a PostgreSQL conversation after its login, for the log of statements: what was asked, and
// what came of it. Passes nothing on and changes nothing.
//
// What a client asked is logged whatever the order of the answers: a client that confuses the
// matching (it can, by sending what the protocol doesn't allow) spoils the durations of its own
// statements, and hides none. What is not certain is left "unfinished": "not run" is said only of
// what the server cannot have run, and rows that fit no statement are counted apart.
//
// The one place where the protocol alone doesn't say what the server does is a Sync beside a COPY
// FROM of the extended protocol: the server drops those that it reads before the data's end, and
// answers the first that it reads after the COPY has failed. Which, only later answers show.
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
  /// The client sends a COPY's data: much at once is no more than that.
  bool InCopy() const { return copy_in_; }
  /// Logs what has no answer.
  void Finished();

 private:
  // A server keeps 8 KiB of answers, of 5 bytes or more, before it sends them: with fewer requests
  // than that a client's pipeline could stand still for ever.
  static constexpr size_t kMaxPending = 4096;
  static constexpr size_t kMaxMissed = 64;  ///< requests without an answer before one that has
  static constexpr size_t kMaxPendingText = 1u << 20;
  static constexpr size_t kMaxNames = 10'000;    ///< prepared statements, portals
  static constexpr size_t kMaxHead = 4096;       ///< of a body of which the start is of interest
  static constexpr size_t kMaxPart = 64u << 10;  ///< of a text in one record
  static constexpr std::string_view kNotRun = "not run: an earlier statement of the batch failed";

  // A request that will be answered; `log` when it is one to log.
  struct Request {
    char type;
    std::unique_ptr<Statement> log;
    uint64_t ends = 0;       ///< CopyDone and CopyFail that the client sent before it
    bool perhaps = false;    ///< a Sync that will have no answer if the server dropped it
    bool described = false;  ///< its parameters' types came
    uint64_t of = 0;         ///< a Describe: the prepared statement's number
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

  // The client's side, and the log (pg_statements.cc).
  bool BeginClient(char type, uint32_t size);
  void ClientPiece(std::string_view bytes);
  void AddText(std::string_view bytes);
  bool EndClient();
  bool EndParse();
  bool EndBind();
  bool EndDescribe();
  bool EndExecute();
  bool EndCloseStatement();
  void AddPart(Statement& statement);
  std::unique_ptr<Statement> NewStatement(const char* how);
  void Ask(char type, std::unique_ptr<Statement> log = nullptr);
  void Remember(std::map<std::string, uint64_t>& names, std::string_view name, uint64_t number);
  void Emit(std::unique_ptr<Statement> log);
  void Redact(std::string& text) const;

  // The server's side (pg_answers.cc).
  bool BeginServer(char type, uint32_t size);
  bool EndServer();
  Statement* Front(std::string_view types);
  std::unique_ptr<Statement> TakeFront();
  void Meet(std::string_view types);
  void CountRow(uint32_t bytes);
  void Answered(std::string_view types, std::string_view tag);
  void Failed(std::string_view sqlstate);
  void DropBatch(const std::string& unsaid);
  void LogError(const std::string& sqlstate);
  void Ready();
  void CopyBegins();
  void CopyDone();
  void AddTag(std::string_view tag);
  void NoteTypes();

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
  size_t pending_text_ = 0;  ///< bytes of statements in pending_
  uint64_t stray_rows_ = 0, stray_bytes_ = 0, stray_errors_ = 0;
  uint64_t copied_ = 0;    ///< pieces of data in the COPY TO that goes on
  bool copying_ = false;   ///< a COPY FROM has begun, and the server has not said how it ended
  bool copy_in_ = false;   ///< and the client has not sent the end of its data
  uint64_t ends_ = 0;      ///< CopyDone and CopyFail that the client sent
  uint64_t copy_end_ = 0;  ///< which of them ends the present or next COPY, at least
  /// A Sync may have been dropped that is still waited for: pending_ may begin too early. It is
  /// certain again when nothing is pending.
  bool unsure_ = false;
  bool skipping_ = false;  ///< an error: the server drops all until the next Sync
  std::map<std::string, uint64_t> prepared_, portals_;  ///< names to statements' numbers
};

}  // namespace carrel::gateway::pg
