#include "gateway/tds_requests.h"

#include <algorithm>

namespace carrel::gateway::tds {
namespace {

constexpr uint32_t kMaxHeaders = 64u << 10;
constexpr uint16_t kByNumber = 0xffff;

// The system's procedures that are called by number: their name, which parameter is a statement's
// text, which the number of a prepared statement; -1: none.
struct System {
  const char* name;
  const char* how;
  int text;
  int handle;
};
constexpr System kSystem[] = {
    {"", "rpc", -1, -1},
    {"sp_cursor", "execute", -1, -1},
    {"sp_cursoropen", "rpc", 1, -1},
    {"sp_cursorprepare", "prepare", 2, -1},
    {"sp_cursorexecute", "execute", -1, 0},
    {"sp_cursorprepexec", "rpc", 3, -1},
    {"sp_cursorunprepare", "function", -1, 0},
    {"sp_cursorfetch", "function", -1, -1},
    {"sp_cursoroption", "function", -1, -1},
    {"sp_cursorclose", "function", -1, -1},
    {"sp_executesql", "rpc", 0, -1},
    {"sp_prepare", "prepare", 2, -1},
    {"sp_execute", "execute", -1, 0},
    {"sp_prepexec", "rpc", 2, -1},
    {"sp_prepexecrpc", "rpc", 1, -1},
    {"sp_unprepare", "function", -1, 0},
};
constexpr uint16_t kSystemCount = std::size(kSystem);

std::string Lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return text;
}

// "[sys].sp_executesql" is the number 10; 0 for what is none of the system's.
uint16_t NumberOf(const std::string& name) {
  std::string last = Lower(name.substr(name.rfind('.') + 1));
  std::erase_if(last, [](char c) { return c == '[' || c == ']' || c == '"' || c == ' '; });
  for (uint16_t i = 1; i < kSystemCount; ++i)
    if (last == kSystem[i].name) return i;
  return 0;
}

// "sp_executesql;1", or with a tab behind it: the server may take it for the system's own, whose
// statement would not be read.
bool IsNearlySystem(const std::string& name) {
  const std::string lower = Lower(name);
  return std::any_of(std::begin(kSystem) + 1, std::end(kSystem),
                     [&](const System& system) { return lower.find(system.name) != lower.npos; });
}

const char* TransactionName(uint16_t request) {
  switch (request) {
    case 5:
      return "begin";
    case 6:
      return "promote";
    case 7:
      return "commit";
    case 8:
      return "rollback";
    case 9:
      return "save";
    default:
      return nullptr;  // distributed ones: they name another server
  }
}

}  // namespace

ItemReader::Step Requests::Refuse(const std::string& why) {
  why_ = why;
  return Step::kBad;
}

bool Requests::Packet(const tds::Packet& packet) {
  if (state_ == State::kNothing) Begin(packet.type);
  if (packet.type != type_) {
    why_ = "a message within another";
    return false;
  }
  if (!Feed(packet.payload)) {
    if (why_.empty()) why_ = "a request that is not TDS";
    return false;
  }
  return !packet.last() || End();
}

void Requests::Begin(uint8_t type) {
  type_ = type;
  Reset();
  procedure_ = 0;
  decoder_ = {};
  const bool headers = wide_ && type != kBulk;
  state_ = headers ? State::kHeaders : AfterHeaders();
  if (type == kBatch) sink_.BeginRequest("batch", "");
  if (type == kBulk) sink_.BeginRequest("bulk", "");
}

Requests::State Requests::AfterHeaders() const {
  switch (type_) {
    case kBatch:
      return State::kText;
    case kRpc:
      return State::kName;
    case kTransaction:
      return State::kTransactionKind;
    default:
      return State::kRest;
  }
}

bool Requests::End() {
  const State state = state_;
  state_ = State::kNothing;
  if (state == State::kText) {
    std::string rest;
    decoder_.Finish(rest);
    if (!rest.empty()) sink_.RequestText(rest);
    return true;
  }
  const bool whole = AtRest() && (state == State::kParameter || state == State::kRest);
  if (!whole) why_ = "a request that ends too soon";
  return whole;
}

ItemReader::Step Requests::Next(std::string_view& bytes) {
  switch (state_) {
    case State::kHeaders:
      return ReadHeaders(bytes);
    case State::kText: {
      std::string text;
      decoder_.Append(bytes, text);
      sink_.RequestText(text);
      bytes = {};
      return Step::kDone;
    }
    case State::kName:
      return ReadName(bytes);
    case State::kFlags:
      if (bytes.size() < 2) return Step::kMore;
      bytes.remove_prefix(2);
      state_ = State::kParameter;
      parameter_ = 0;
      return Step::kDone;
    case State::kParameter:
      return ReadParameter(bytes);
    case State::kTransactionKind:
      return ReadTransaction(bytes);
    case State::kRest:
      sink_.RequestBytes(bytes.size());
      bytes = {};
      return Step::kDone;
    case State::kNothing:
      break;
  }
  return Step::kBad;
}

ItemReader::Step Requests::ReadHeaders(std::string_view& bytes) {
  if (bytes.size() < 4) return Step::kMore;
  const uint32_t total = Reader(bytes).U32();
  if (total < 4 || total > kMaxHeaders) return Refuse("headers of an impossible length");
  bytes.remove_prefix(4);
  state_ = AfterHeaders();
  Skip(total - 4);
  return Step::kDone;
}

ItemReader::Step Requests::ReadName(std::string_view& bytes) {
  Reader in(bytes);
  const uint16_t length = in.U16();
  std::string name;
  if (length == kByNumber) {
    procedure_ = in.U16();
    if (in.good() && (procedure_ == 0 || procedure_ >= kSystemCount))
      return Refuse("a call of an unknown system procedure");
    if (in.good()) name = kSystem[procedure_].name;
  } else {
    name = FromUtf16(in.Bytes(size_t{2} * length));
    procedure_ = NumberOf(name);
  }
  if (!in.good()) return Step::kMore;
  if (procedure_ == 0 && IsNearlySystem(name))
    return Refuse("a call of a system procedure by an odd name");
  bytes.remove_prefix(bytes.size() - in.left());
  sink_.BeginRequest(kSystem[procedure_].how, name);
  state_ = State::kFlags;
  return Step::kDone;
}

// The statement is where the procedure expects it, or wherever a name says that it is.
bool Requests::IsStatementText(const std::string& name) const {
  const int index = kSystem[procedure_].text;
  if (index < 0 || !value_type_.is_text()) return false;
  const std::string lower = Lower(name);
  return parameter_ == index || lower == "@stmt" || lower == "@statement";
}

ItemReader::Step Requests::ReadParameter(std::string_view& bytes) {
  Reader in(bytes);
  const auto first = static_cast<uint8_t>(bytes[0]);
  // Between calls: 0x80 up to TDS 7.1, 0xff (and 0xfe: do not execute) from 7.2 on, where 0x80 is
  // the length of the longest name, "@" with 127 characters. A reader that took it for a separator
  // there could be led past the call that the server executes.
  const bool separator = wide_ ? first >= 0xfe : first == 0x80;
  if (first >= 0x80 && !separator && !(wide_ && first == 0x80))
    return Refuse("a parameter with an impossible name");
  if (separator) {
    bytes.remove_prefix(1);
    state_ = State::kName;
    return Step::kDone;
  }
  const std::string_view name = in.ShortText();
  in.U8();  // by reference, default
  bool known = true;
  Type type;
  if (!in.good() || !ReadType(in, Where::kParameter, wide_, type, known))
    return known ? Step::kMore : Refuse("a parameter of a type that carrel does not read");
  bytes.remove_prefix(bytes.size() - in.left());
  value_type_ = type;
  take_ = Take::kNothing;
  if (IsStatementText(FromUtf16(name)))
    take_ = Take::kText;
  else if (parameter_ == kSystem[procedure_].handle && type.id == 0x26)
    take_ = Take::kHandle;
  else
    sink_.RequestParameter(type);
  ++parameter_;
  handle_.clear();
  decoder_ = {};
  BeginValue(type, Where::kParameter);
  return Step::kDone;
}

ItemReader::Step Requests::ReadTransaction(std::string_view& bytes) {
  if (bytes.size() < 2) return Step::kMore;
  const char* name = TransactionName(Reader(bytes).U16());
  if (name == nullptr) return Refuse("a distributed transaction");
  sink_.BeginRequest("transaction", name);
  bytes.remove_prefix(2);
  state_ = State::kRest;  // its name and isolation level
  return Step::kDone;
}

void Requests::Piece(std::string_view bytes) {
  if (take_ == Take::kHandle) {
    handle_.append(bytes.substr(0, 8 - std::min<size_t>(8, handle_.size())));
  } else if (take_ == Take::kNothing) {
    sink_.RequestBytes(bytes.size());
  } else if (value_type_.is_utf16()) {
    std::string text;
    decoder_.Append(bytes, text);
    sink_.RequestText(text);
  } else {
    // A code page that carrel does not know: ASCII is the same in all.
    std::string text(bytes);
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) >= 0x80; }, '?');
    sink_.RequestText(text);
  }
}

void Requests::ValueEnd(bool) {
  if (take_ == Take::kHandle && handle_.size() == 4) sink_.RequestHandle(Reader(handle_).U32());
  if (take_ != Take::kText) return;
  std::string rest;
  decoder_.Finish(rest);
  if (!rest.empty()) sink_.RequestText(rest);
}

}  // namespace carrel::gateway::tds
