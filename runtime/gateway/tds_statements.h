// The statements of one TDS connection, for the job's log: what was asked, and what came of it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "gateway/protocol.h"
#include "gateway/tds_replies.h"
#include "gateway/tds_requests.h"

namespace carrel::gateway::tds {

class Statements final : private RequestSink, private ReplySink {
 public:
  /// `secret` is taken out of all texts. `database`: the only one that the session may be in, or
  /// empty. `wide`: the version agreed has headers before requests.
  Statements(Link& link, std::string_view secret, std::string database, bool wide);

  /// Each side's packets, in order. False: nothing of the packet may be passed on; why() says why.
  bool FromClient(const Packet& packet);
  bool FromServer(const Packet& packet);

  bool Busy() const { return !pending_.empty(); }
  /// The client has begun a message, and not ended it.
  bool sending() const { return sending_; }
  bool Room() const { return pending_.size() < kMaxPending; }
  const std::string& why() const { return why_; }
  /// Logs what has no answer.
  void Finished();

 private:
  static constexpr size_t kMaxPending = 4;         ///< messages; clients wait for each one's answer
  static constexpr size_t kMaxInMessage = 10'000;  ///< calls
  static constexpr size_t kMaxHandles = 10'000;
  static constexpr size_t kMaxPart = 64u << 10;  ///< of a text in one record
  static constexpr size_t kMaxTypes = 4096;

  using Message = std::deque<std::unique_ptr<Statement>>;

  void BeginRequest(const char* how, const std::string& procedure) override;
  void RequestText(std::string_view utf8) override;
  void RequestParameter(const Type& type) override;
  void RequestBytes(uint64_t bytes) override;
  void RequestHandle(uint32_t handle) override;

  void ReplyRow() override;
  void ReplyError(uint32_t number, const std::string& text) override;
  void ReplyDone(uint64_t rows, bool counted, bool error, bool last, bool more) override;
  void ReplyHandle(uint32_t value) override;
  bool ReplyChange(uint8_t kind, const std::string& value) override;
  void ReplyLoggedIn(uint8_t) override {}

  Statement* Answered() const;
  void EndMessage();
  void Emit(std::unique_ptr<Statement> log, bool finished);
  void Redact(std::string& text) const;

  Link& link_;
  const std::string_view secret_;
  const std::string database_;
  Requests requests_;
  Replies replies_;
  std::string why_;
  uint64_t numbers_ = 0;
  bool sending_ = false;
  Message reading_;                       ///< of the message that the client is sending
  std::deque<Message> pending_;           ///< whole messages without an answer
  std::map<uint32_t, uint64_t> handles_;  ///< of prepared statements, to their numbers
};

}  // namespace carrel::gateway::tds
