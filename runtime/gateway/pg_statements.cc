// Statements: what the client asks, and what goes to the log.
#include "gateway/pg_statements.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "gateway/pg_types.h"

namespace carrel::gateway::pg {
namespace {

constexpr std::string_view kClientTypes = "QPBDECSHdcfFX";

// A name as the server sees it: it keeps 63 bytes.
std::string ServerName(std::string_view name) { return std::string(name.substr(0, 63)); }

}  // namespace

Statements::Statements(Link& link, std::string_view secret) : link_(link), secret_(secret) {}

bool Statements::FromClient(std::string_view bytes) {
  now_ns_ = MonotonicNs();
  ClientSide side{*this};
  return client_reader_.Feed(bytes, side);
}

std::unique_ptr<Statement> Statements::NewStatement(const char* how) {
  auto log = std::make_unique<Statement>();
  log->connection = link_.id();
  log->number = ++numbers_;
  log->how = how;
  log->began_ns = now_ns_;
  return log;
}

bool Statements::BeginClient(char type, uint32_t size) {
  if (kClientTypes.find(type) == kClientTypes.npos) return false;
  if (std::string_view("DECSHXcf").find(type) != std::string_view::npos && size > kMaxSmallBody)
    return false;
  client_type_ = type;
  client_size_ = size;
  client_head_.clear();
  client_wanted_ = type != 'd';
  if (type == 'Q' || type == 'P') {
    reading_ = NewStatement(type == 'Q' ? "query" : "prepare");
    part_ = type == 'Q' ? Part::kText : Part::kName;
  } else if (type == 'd') {
    if (Statement* copy = Front("QE")) copy->bytes_in += size;
  }
  return true;
}

void Statements::ClientPiece(std::string_view bytes) {
  if (reading_ == nullptr) {
    client_head_.append(bytes.substr(0, kMaxHead - client_head_.size()));
    return;
  }
  if (part_ == Part::kName) {
    const size_t end = std::min(bytes.find('\0'), bytes.size());
    client_head_.append(bytes.substr(0, std::min(end, kMaxHead - client_head_.size())));
    if (end == bytes.size()) return;
    reading_->name = ServerName(client_head_);
    client_head_.clear();
    part_ = Part::kText;
    bytes.remove_prefix(end + 1);
  }
  if (part_ == Part::kText) {
    // A Query's text is all of it: what stands behind a NUL byte is to be seen too.
    const size_t end =
        client_type_ == 'Q' ? bytes.size() : std::min(bytes.find('\0'), bytes.size());
    AddText(bytes.substr(0, end));
    if (end == bytes.size()) return;
    part_ = Part::kTail;
    bytes.remove_prefix(end + 1);
  }
  // The tail's size is bounded by its own count: 65535 types.
  client_head_.append(
      bytes.substr(0, (256u << 10) - std::min<size_t>(client_head_.size(), 256u << 10)));
}

// A text that is longer than a record goes out in parts, as it comes: nothing is cut off.
void Statements::AddText(std::string_view bytes) {
  std::string& text = reading_->text;
  while (!bytes.empty()) {
    const size_t take = std::min(bytes.size(), kMaxPart - text.size());
    text.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (text.size() == kMaxPart && !bytes.empty()) AddPart(*reading_);
  }
}

void Statements::AddPart(Statement& statement) {
  Redact(statement.text);
  link_.Log(Event{"statement-text",
                  link_.id(),
                  {{"statement", statement.number},
                   {"part", uint64_t{statement.part}},
                   {"text", std::move(statement.text)}}});
  statement.text.clear();
  ++statement.part;
}

bool Statements::EndClient() {
  switch (client_type_) {
    case 'Q':
      if (reading_->text.ends_with('\0')) reading_->text.pop_back();
      Ask('Q', std::move(reading_));
      return true;
    case 'P':
      return EndParse();
    case 'B':
      return EndBind();
    case 'D':
      return EndDescribe();
    case 'E':
      return EndExecute();
    case 'C':
      return EndCloseStatement();
    case 'F': {
      if (client_head_.size() < 4) return false;
      auto log = NewStatement("function");
      log->name = "oid " + std::to_string(ReadU32(client_head_));
      log->bytes_in = client_size_;
      Ask('F', std::move(log));
      return true;
    }
    case 'c':
    case 'f':
      ++ends_;
      copy_in_ = false;
      return true;
    case 'S':
      Ask('S');
      return true;
    default:  // H, X
      return true;
  }
}

bool Statements::EndParse() {
  auto log = std::move(reading_);
  if (part_ != Part::kTail) return false;
  log->types = TypeNames(client_head_);
  Remember(prepared_, log->name, log->number);
  Ask('P', std::move(log));
  return true;
}

bool Statements::EndBind() {
  std::string_view rest = client_head_, portal, name;
  if (!TakeString(rest, portal) || !TakeString(rest, name)) return false;
  const auto found = prepared_.find(ServerName(name));
  Remember(portals_, portal, found != prepared_.end() ? found->second : 0);
  Ask('B');
  return true;
}

bool Statements::EndDescribe() {
  std::string_view rest = client_head_, name;
  if (rest.empty()) return false;
  const bool statement = rest[0] == 'S';
  rest.remove_prefix(1);
  if (!TakeString(rest, name)) return false;
  const size_t before = pending_.size();
  Ask('D');
  if (!statement || pending_.size() == before) return true;
  const auto found = prepared_.find(ServerName(name));
  if (found != prepared_.end()) pending_.back().of = found->second;
  return true;
}

bool Statements::EndExecute() {
  std::string_view rest = client_head_, portal;
  if (!TakeString(rest, portal)) return false;
  auto log = NewStatement("execute");
  log->name = ServerName(portal);
  const auto found = portals_.find(log->name);
  if (found != portals_.end()) log->prepared = found->second;
  Ask('E', std::move(log));
  return true;
}

bool Statements::EndCloseStatement() {
  std::string_view rest = client_head_, name;
  if (rest.empty()) return false;
  const char what = rest[0];
  rest.remove_prefix(1);
  if (!TakeString(rest, name)) return false;
  (what == 'S' ? prepared_ : portals_).erase(ServerName(name));
  Ask('C');
  return true;
}

void Statements::Remember(std::map<std::string, uint64_t>& names, std::string_view name,
                          uint64_t number) {
  // A client that has more names than anybody needs gets executions logged by name alone.
  if (names.size() >= kMaxNames) names.erase(names.begin());
  names[ServerName(name)] = number;
}

void Statements::Ask(char type, std::unique_ptr<Statement> log) {
  if (type == 'S') skipping_ = false;
  if (!skipping_) {
    if (log != nullptr) {
      // Where many wait for their answers, their texts don't.
      if (pending_text_ + log->text.size() > kMaxPendingText) AddPart(*log);
      pending_text_ += log->text.size();
    }
    pending_.push_back({type, std::move(log), ends_, type == 'S' && copy_in_});
  } else if (log != nullptr) {
    log->tag = kNotRun;
    Emit(std::move(log));
  }
}

void Statements::Redact(std::string& text) const {
  if (secret_.empty()) return;
  for (size_t at = 0; (at = text.find(secret_, at)) != std::string::npos; at += 2)
    text.replace(at, secret_.size(), "[]");
}

void Statements::Emit(std::unique_ptr<Statement> log) {
  Redact(log->text);
  link_.Log(std::move(*log));
}

void Statements::Finished() {
  if (reading_ != nullptr && !(reading_->text.empty() && reading_->part == 0)) {
    reading_->tag = "not sent whole";
    Emit(std::move(reading_));
  }
  for (Request& request : pending_)
    if (request.log != nullptr) Emit(std::move(request.log));
  pending_.clear();
  if (stray_rows_ == 0) return;
  link_.Log(Event{
      "statement-rows",
      link_.id(),
      {{"rows", stray_rows_}, {"bytes", stray_bytes_}, {"why", "their statement is not known"}}});
}

}  // namespace carrel::gateway::pg
