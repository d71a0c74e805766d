// Statements: what the server answers, and to which of the requests.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/clock.h"
#include "gateway/pg_statements.h"
#include "gateway/pg_types.h"

namespace carrel::gateway::pg {
namespace {

constexpr std::string_view kServerTypes = "123ACDEGHINSTVZcdnst";
constexpr uint64_t kMaxStrayErrors = 16;  // in the log of one connection

}  // namespace

bool Statements::FromServer(std::string_view bytes) {
  now_ns_ = MonotonicNs();
  ServerSide side{*this};
  return server_reader_.Feed(bytes, side);
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

}  // namespace carrel::gateway::pg
