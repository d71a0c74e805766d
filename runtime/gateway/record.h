// What the gateway tells the job's audit log, and the way there: from the gateway's thread to the
// supervisor's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel::gateway {

/// One statement, or a part of one that is too long for one record.
struct Statement {
  uint64_t connection = 0;  ///< number within the job, from 1
  uint64_t number = 0;      ///< within the connection, from 1
  const char* how = "";     ///< "query", "prepare", "execute", "function", "batch", "rpc"
  std::string text;         ///< whole, or its last part when `part` > 0
  uint32_t part = 0;        ///< how many "statement-text" records with the same number came before
  uint64_t prepared = 0;    ///< of an execution: the number of the statement that it executes
  std::string name;         ///< of a prepared statement, a procedure or a function
  std::vector<std::string> types;  ///< of the parameters
  uint64_t rows = 0;               ///< received by the action, or copied
  uint64_t bytes_in = 0;           ///< data that the action sent (parameters, COPY)
  uint64_t bytes_out = 0;          ///< data that the action received
  int64_t began_ns = 0;            ///< CLOCK_MONOTONIC
  int64_t duration_ns = -1;        ///< -1: its end was not seen
  std::string tag;                 ///< what the server called it: "SELECT 5"
  std::string error;               ///< SQLSTATE or number, or empty
};

/// Anything else: "gateway-open", "gateway-close", "gateway-refused", "statement-text"...
struct Event {
  std::string kind;
  uint64_t connection = 0;
  std::vector<std::pair<std::string, std::variant<std::string, uint64_t>>> members;
};

using Record = std::variant<Statement, Event>;

/// Appends one record of `kind` to a log.
using AppendRecord = std::function<Result<void>(const std::string& kind, const Json& members)>;

/// Bounded: a producer that finds it full stops reading from the action until it has room.
class RecordQueue {
 public:
  static Result<std::unique_ptr<RecordQueue>> Make();

  /// Takes `secret`, which lives longer, out of names and all else that is not a statement's text
  /// (where the protocol does so itself, part by part).
  void Hide(std::string_view secret) { secret_ = secret; }
  /// Takes any number more: those of the bytes that were read already.
  void Push(Record record);
  bool Full() const;
  /// Readable when there is enough to drain at once; the rest waits for the consumer's tick.
  int poll_fd() const { return event_.get(); }
  /// The consumer's: hands all records over, in order.
  Result<void> Drain(const AppendRecord& append);
  /// Statements executed so far: a prepared one counts when it is executed.
  uint64_t statements() const;

 private:
  void Cover(std::string& text) const;
  void Cover(Record& record) const;

  std::string_view secret_;
  mutable std::mutex mutex_;
  std::vector<Record> records_;
  size_t bytes_ = 0;
  uint64_t statements_ = 0;
  bool signalled_ = false;
  UniqueFd event_;
};

}  // namespace carrel::gateway
