#include "gateway/tds_statements.h"

#include <algorithm>

#include "base/clock.h"

namespace carrel::gateway::tds {
namespace {

constexpr uint8_t kChangeDatabase = 1;
constexpr uint8_t kChangeServer = 20;
constexpr std::string_view kCovered = "[redacted]";

}  // namespace

Statements::Statements(Link& link, std::string_view secret, std::string database, bool wide)
    : link_(link),
      secret_(secret),
      database_(std::move(database)),
      requests_(*this),
      replies_(*this) {
  requests_.set_wide(wide);
  replies_.set_wide(wide);
}

bool Statements::FromClient(const Packet& packet) {
  // Whether the server drops what came before is not for a reader to guess.
  if (packet.type == kAttention && requests_.inside()) {
    why_ = "the action cancelled a request that it had not sent whole";
    return false;
  }
  if (packet.type == kAttention) {
    link_.Log(Event{"statement-cancel", link_.id(), {{"statement", numbers_}}});
    return true;
  }
  const bool known = packet.type == kBatch || packet.type == kRpc || packet.type == kBulk ||
                     packet.type == kTransaction;
  if (!known) {
    why_ = "the action sent a message of type " + std::to_string(packet.type);
    return false;
  }
  if (!requests_.Packet(packet)) {
    why_ = "the action's request: " + (why_.empty() ? requests_.why() : why_);
    return false;
  }
  if (!why_.empty()) return false;
  sending_ = !packet.last();
  if (sending_) return true;
  if (packet.ignored()) {
    // The server drops it and answers nothing.
    for (auto& log : reading_) Emit(std::move(log), false);
  } else {
    pending_.push_back(std::move(reading_));
  }
  reading_.clear();
  return true;
}

bool Statements::FromServer(const Packet& packet) {
  if (packet.type != kResult) {
    why_ = "the database sent a message of type " + std::to_string(packet.type);
    return false;
  }
  if (Statement* log = Answered()) log->bytes_out += packet.payload.size();
  if (!replies_.Packet(packet)) return false;
  if (packet.last()) EndMessage();
  return true;
}

void Statements::EndMessage() {
  if (pending_.empty()) return;  // of an attention that came too late
  Message message = std::move(pending_.front());
  pending_.pop_front();
  for (auto& log : message) {
    if (replies_.unread() && log->tag.empty()) log->tag = "reply not read";
    Emit(std::move(log), true);
  }
}

void Statements::BeginRequest(const char* how, const std::string& procedure) {
  if (reading_.size() >= kMaxInMessage) {
    why_ = "too many calls in one message";
    return;
  }
  auto log = std::make_unique<Statement>();
  log->connection = link_.id();
  log->number = ++numbers_;
  log->how = how;
  log->name = procedure.substr(0, 1024);
  log->began_ns = MonotonicNs();
  reading_.push_back(std::move(log));
}

void Statements::RequestText(std::string_view utf8) {
  if (reading_.empty()) return;
  Statement& log = *reading_.back();
  while (!utf8.empty()) {
    size_t take = std::min(utf8.size(), kMaxPart - std::min(kMaxPart, log.text.size()));
    // Not within a character.
    while (take < utf8.size() && take > 0 && (utf8[take] & 0xc0) == 0x80) --take;
    log.text.append(utf8.substr(0, take));
    utf8.remove_prefix(take);
    if (utf8.empty()) return;
    Redact(log.text);
    link_.Log(Event{
        "statement-text",
        link_.id(),
        {{"statement", log.number}, {"part", uint64_t{log.part}}, {"text", std::move(log.text)}}});
    log.text.clear();
    ++log.part;
  }
}

void Statements::RequestParameter(const Type& type) {
  if (!reading_.empty() && reading_.back()->types.size() < kMaxTypes)
    reading_.back()->types.push_back(type.name());
}

void Statements::RequestBytes(uint64_t bytes) {
  if (!reading_.empty()) reading_.back()->bytes_in += bytes;
}

void Statements::RequestHandle(uint32_t handle) {
  auto found = handles_.find(handle);
  if (!reading_.empty() && found != handles_.end()) reading_.back()->prepared = found->second;
}

// The statement that the server answers now: the first of its message that has no end yet.
Statement* Statements::Answered() const {
  if (pending_.empty()) return nullptr;
  for (const auto& log : pending_.front())
    if (log->duration_ns < 0) return log.get();
  return pending_.front().empty() ? nullptr : pending_.front().back().get();
}

void Statements::ReplyRow() {
  if (Statement* log = Answered()) ++log->rows;
}

void Statements::ReplyError(uint32_t number, const std::string&) {
  Statement* log = Answered();
  if (log != nullptr && log->error.empty()) log->error = std::to_string(number);
}

void Statements::ReplyDone(uint64_t rows, bool counted, bool error, bool last, bool more) {
  Statement* log = Answered();
  if (log == nullptr) return;
  if (error && log->error.empty()) log->error = "unknown";
  if (counted) log->tag = std::to_string(rows) + " rows";
  // Of several calls in one message each ends with its own.
  if (last && more) log->duration_ns = MonotonicNs() - log->began_ns;
}

void Statements::ReplyHandle(uint32_t value) {
  Statement* log = Answered();
  if (log == nullptr || handles_.size() >= kMaxHandles) return;
  const bool prepares = log->name == "sp_prepare" || log->name == "sp_prepexec" ||
                        log->name == "sp_cursorprepare" || log->name == "sp_cursorprepexec";
  if (prepares) handles_.emplace(value, log->number);
}

bool Statements::ReplyChange(uint8_t kind, const std::string& value) {
  if (kind == kChangeServer) {
    why_ = "the database sends its clients to another server";
    return false;
  }
  if (kind != kChangeDatabase || database_.empty() || SameName(value, database_)) return true;
  link_.Log(Event{"gateway-refused", link_.id(), {{"why", "another database"}}});
  why_ = "the session went to another database than the granted one";
  return false;
}

void Statements::Redact(std::string& text) const {
  if (secret_.empty()) return;
  for (size_t at = text.find(secret_); at != text.npos;
       at = text.find(secret_, at + kCovered.size()))
    text.replace(at, secret_.size(), kCovered);
}

void Statements::Emit(std::unique_ptr<Statement> log, bool finished) {
  if (finished && log->duration_ns < 0) log->duration_ns = MonotonicNs() - log->began_ns;
  Redact(log->text);
  link_.Log(std::move(*log));
}

void Statements::Finished() {
  pending_.push_back(std::move(reading_));
  for (Message& message : pending_)
    for (auto& log : message) Emit(std::move(log), false);
  pending_.clear();
}

}  // namespace carrel::gateway::tds
