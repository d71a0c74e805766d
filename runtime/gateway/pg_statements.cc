#include "gateway/pg_statements.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/clock.h"

namespace carrel::gateway::pg {
namespace {

constexpr std::string_view kClientTypes = "QPBDECSHdcfFX";
constexpr std::string_view kServerTypes = "123ACDEGHINSTVZcdnst";
constexpr size_t kMaxTypes = 1000;        // in one record
constexpr uint64_t kMaxStrayErrors = 16;  // in the log of one connection
constexpr std::string_view kNotRun = "not run: an earlier statement of the batch failed";

// A name as the server sees it: it keeps 63 bytes.
std::string ServerName(std::string_view name) { return std::string(name.substr(0, 63)); }

// The types that most statements have, by name (pg_type.dat).
std::string TypeName(uint32_t oid) {
  static const std::map<uint32_t, const char*> kNames = {
      {0, "unspecified"},    {16, "bool"},      {17, "bytea"},    {20, "int8"},
      {21, "int2"},          {23, "int4"},      {25, "text"},     {114, "json"},
      {700, "float4"},       {701, "float8"},   {705, "unknown"}, {1042, "char"},
      {1043, "varchar"},     {1082, "date"},    {1083, "time"},   {1114, "timestamp"},
      {1184, "timestamptz"}, {1700, "numeric"}, {2950, "uuid"},   {3802, "jsonb"}};
  const auto found = kNames.find(oid);
  return found != kNames.end() ? found->second : "oid " + std::to_string(oid);
}

std::vector<std::string> TypeNames(std::string_view counted) {
  std::vector<std::string> names;
  if (counted.size() < 2) return names;
  const size_t count = ReadU16(counted);
  counted.remove_prefix(2);
  for (size_t i = 0; i < count && counted.size() >= 4; ++i, counted.remove_prefix(4))
    if (names.size() < kMaxTypes)
      names.push_back(TypeName(ReadU32(counted)));
    else if (i + 1 == count || counted.size() < 8)
      names.push_back("and " + std::to_string(i + 1 - kMaxTypes) + " more");
  return names;
}

}  // namespace

Statements::Statements(Link& link, std::string_view secret) : link_(link), secret_(secret) {}

bool Statements::FromClient(std::string_view bytes) {
  now_ns_ = MonotonicNs();
  ClientSide side{*this};
  return client_reader_.Feed(bytes, side);
}

bool Statements::FromServer(std::string_view bytes) {
  now_ns_ = MonotonicNs();
  ServerSide side{*this};
  return server_reader_.Feed(bytes, side);
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

bool Statements::BeginServer(char type, uint32_t size) {
  if (kServerTypes.find(type) == kServerTypes.npos) return false;
  server_type_ = type;
  server_wanted_ = false;
  switch (type) {
    case 'd':
      ++copied_;
      CountRow(size);
      return true;
    case 'D':
      CountRow(size);
      return true;
    case 'V':
      Meet("F");
      if (Statement* log = Front("F")) log->bytes_out += size;
      return true;
    default:
      server_wanted_ = true;
      server_head_.clear();
      return true;
  }
}

bool Statements::EndServer() {
  switch (server_type_) {
    case '1':
      Meet("P");
      Answered("P", "");
      break;
    case '2':
      Meet("B");
      Answered("B", "");
      break;
    case '3':
      Meet("C");
      Answered("C", "");
      break;
    case 'T':
    case 'n':
      Meet("DQ");
      Answered("D", "");
      break;
    case 't':
      NoteTypes();
      break;
    case 'C':
      AddTag(std::string_view(server_head_).substr(0, server_head_.find('\0')));
      if (copying_) CopyDone();
      Answered("E", "");
      break;
    case 'I':
    case 's':
      Meet("QE");
      Answered("E", server_type_ == 's' ? "suspended" : "");
      break;
    case 'G':
      CopyBegins();
      break;
    case 'E':
      Failed(ErrorField(server_head_, 'C'));
      break;
    case 'Z':
      Ready();
      break;
    default:
      break;
  }
  return true;
}

// The first request without an answer, when it is of these types and one to log.
Statement* Statements::Front(std::string_view types) {
  if (pending_.empty() || types.find(pending_.front().type) == types.npos) return nullptr;
  return pending_.front().log.get();
}

// The answer that came is one to a request of these types. What stands before the first of them
// has no answer any more: it is logged as it is, unfinished.
void Statements::Meet(std::string_view types) {
  const auto fits = [&](const Request& request) { return types.find(request.type) != types.npos; };
  if (pending_.empty() || fits(pending_.front())) return;
  // A few are looked at: a server's answers to nothing must not cost a walk through thousands each.
  const auto end = pending_.begin() + static_cast<ptrdiff_t>(std::min(pending_.size(), kMaxMissed));
  if (std::none_of(pending_.begin(), end, fits)) return;
  while (!fits(pending_.front()))
    if (auto log = TakeFront(); log != nullptr) Emit(std::move(log));
}

std::unique_ptr<Statement> Statements::TakeFront() {
  auto log = std::move(pending_.front().log);
  if (log != nullptr) pending_text_ -= log->text.size();
  pending_.pop_front();
  return log;
}

void Statements::CountRow(uint32_t bytes) {
  Meet("QE");
  Statement* log = Front("QE");
  ++(log != nullptr ? log->rows : stray_rows_);
  (log != nullptr ? log->bytes_out : stray_bytes_) += bytes;
}

void Statements::AddTag(std::string_view tag) {
  Meet("QE");
  Statement* log = Front("QE");
  const uint64_t pieces = std::exchange(copied_, 0);
  if (log == nullptr) return;
  // A COPY's pieces are rows in no format but text; the server says how many there were.
  uint64_t rows = 0;
  constexpr std::string_view kCopy = "COPY ";
  if (tag.starts_with(kCopy) &&
      std::from_chars(tag.data() + kCopy.size(), tag.data() + tag.size(), rows).ec == std::errc())
    log->rows += rows - std::min(pieces, log->rows);
  if (log->tag.size() > 1000) return;
  if (!log->tag.empty()) log->tag += "; ";
  log->tag += tag.substr(0, 100);
}

void Statements::Answered(std::string_view types, std::string_view tag) {
  if (pending_.empty() || types.find(pending_.front().type) == types.npos) return;
  auto log = TakeFront();
  if (log == nullptr) return;
  if (!tag.empty()) log->tag = tag;
  log->duration_ns = now_ns_ - log->began_ns;
  Emit(std::move(log));
}

void Statements::NoteTypes() {
  Meet("D");
  if (pending_.empty() || pending_.front().type != 'D' || pending_.front().described) return;
  pending_.front().described = true;
  const std::vector<std::string> types = TypeNames(server_head_);
  if (types.empty()) return;
  std::string joined;
  for (const std::string& type : types) joined += (joined.empty() ? "" : ", ") + type;
  link_.Log(Event{"statement-types",
                  link_.id(),
                  {{"statement", pending_.front().of}, {"types", std::move(joined)}}});
}

void Statements::Failed(std::string_view sqlstate) {
  const std::string state(sqlstate.substr(0, 5));
  copying_ = copy_in_ = false;
  copied_ = 0;
  while (unsure_ && pending_.size() > 1 && pending_.front().perhaps) pending_.pop_front();
  if (pending_.empty()) return LogError(state);
  Request& front = pending_.front();
  if (front.log != nullptr) front.log->error = state;
  if (front.type == 'Q' || front.type == 'F' || front.type == 'S') return;  // ReadyForQuery follows
  const bool told = front.log != nullptr;
  Answered("PBDEC", "");
  DropBatch(told ? "" : state);
  skipping_ = pending_.empty() && !unsure_;
}

// After an error the server drops what else was asked, up to the next Sync. `unsaid`: the error was
// that of a message without a record of its own, mostly a Bind's (its parameters, the plan): it is
// told with the execution of what was to be bound.
void Statements::DropBatch(const std::string& unsaid) {
  bool told = unsaid.empty(), same = !unsure_;
  while (!pending_.empty() && pending_.front().type != 'S') {
    const char type = pending_.front().type;
    auto log = TakeFront();
    same = same && type != 'P' && type != 'B';
    if (log == nullptr) continue;
    if (!told && same && type == 'E') {
      log->error = unsaid;
      log->duration_ns = now_ns_ - log->began_ns;
      told = true;
    } else if (!unsure_) {
      log->tag = kNotRun;
    }
    Emit(std::move(log));
  }
  if (!told) LogError(unsaid);
}

// One that belongs to no statement that is logged.
void Statements::LogError(const std::string& sqlstate) {
  if (++stray_errors_ > kMaxStrayErrors) return;
  link_.Log(Event{"gateway-server-error", link_.id(), {{"error", sqlstate}}});
}

void Statements::Ready() {
  copying_ = copy_in_ = false;
  copied_ = 0;
  while (!pending_.empty()) {
    const char type = pending_.front().type;
    const bool perhaps = pending_.front().perhaps;
    Answered(std::string_view(&type, 1), "");
    if (type != 'Q' && type != 'F' && type != 'S') continue;
    // This answer may have been that of the next Sync.
    unsure_ = unsure_ || perhaps;
    if (unsure_ && !pending_.empty() && pending_.front().type == 'S')
      pending_.front().perhaps = true;
    break;
  }
  unsure_ = unsure_ && !pending_.empty();
}

// The server now drops each Sync that it reads before the data's end, unless the COPY fails first:
// also those that were sent already.
void Statements::CopyBegins() {
  Meet("QE");
  if (!pending_.empty()) copy_end_ = std::max(copy_end_, pending_.front().ends);
  copying_ = true;
  copy_in_ = ends_ == copy_end_;
  for (Request& request : pending_)
    request.perhaps = request.type == 'S' && request.ends == copy_end_;
}

// It has taken all data: the Syncs on the way to their end are gone.
void Statements::CopyDone() {
  copying_ = copy_in_ = false;
  std::erase_if(pending_, [this](const Request& request) {
    return request.type == 'S' && request.perhaps && request.ends == copy_end_;
  });
  ++copy_end_;
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
