#include "audit/render.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "audit/syscall_names.h"
#include "audit/tables/flag_names.h"
#include "base/clock.h"
#include "base/json.h"

namespace carrel {
namespace {

// A structure begins with its flags where it has any.
std::string StructureText(const AuditEvent& event, const Datum& datum) {
  uint64_t first = 0;
  if (datum.bytes.size() < sizeof first) return fmt::format("{{{} bytes}}", datum.bytes.size());
  memcpy(&first, datum.bytes.data(), sizeof first);
  const std::string name = SyscallOf(event);
  if (name == "openat2") return '{' + FlagText(FlagGroup::kOpenFlags, first) + ", ...}";
  if (name == "clone3") return '{' + FlagText(FlagGroup::kCloneFlags, first) + ", ...}";
  return fmt::format("{{{} bytes}}", datum.bytes.size());
}

std::string DatumText(const AuditEvent& event, const Datum& datum) {
  if (datum.kind == kDataSockaddr) return Printable(SocketAddress(datum.bytes));
  if (datum.kind == kDataBytes) return StructureText(event, datum);
  return Quoted(datum.bytes);
}

bool HasResult(const AuditEvent& call) {
  return (call.flags & (kCallNoReturn | kCallEntryOnly)) == 0;
}

std::string ArgText(const AuditEvent& event, size_t i, bool decoded) {
  if (decoded)
    if (std::string text = ArgumentText(event.nr, i, event.args); !text.empty()) return text;
  const uint64_t value = event.args[i];
  return value < 4096 ? std::to_string(value) : fmt::format("{:#x}", value);
}

}  // namespace

const char* KindName(EventKind kind) {
  static constexpr const char* kNames[] = {"call", "record", "task", "exec",
                                           "exit", "comm",   "stop", "digest"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<std::string> SplitArgv(std::string_view bytes) {
  std::vector<std::string> argv;
  while (!bytes.empty()) {
    size_t end = std::min(bytes.find('\0'), bytes.size());
    argv.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  return argv;
}

std::string SocketAddress(std::string_view bytes) {
  sa_family_t family = 0;
  if (bytes.size() < sizeof family) return "none";
  memcpy(&family, bytes.data(), sizeof family);
  char text[INET6_ADDRSTRLEN] = "";
  if (family == AF_UNIX) {
    std::string_view path = bytes.substr(offsetof(sockaddr_un, sun_path));
    if (!path.empty() && path[0] == '\0') return "unix:@" + std::string(path.substr(1));
    return "unix:" + std::string(path.substr(0, path.find('\0')));
  }
  if (family == AF_INET && bytes.size() >= sizeof(sockaddr_in)) {
    sockaddr_in address;
    memcpy(&address, bytes.data(), sizeof address);
    inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    return fmt::format("inet:{}:{}", text, ntohs(address.sin_port));
  }
  if (family == AF_INET6 && bytes.size() >= sizeof(sockaddr_in6)) {
    sockaddr_in6 address;
    memcpy(&address, bytes.data(), sizeof address);
    inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    return fmt::format("inet6:[{}]:{}", text, ntohs(address.sin6_port));
  }
  return fmt::format("family {}", family);
}

std::string ExitText(uint32_t code) {
  const int signal = static_cast<int>(code & 0x7f);
  if (signal == 0) return fmt::format("exit {}", (code >> 8) & 0xff);
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? fmt::format("signal SIG{}", name) : fmt::format("signal {}", signal);
}

namespace {

constexpr int kMaxError = 4095;

std::string ErrorName(int number) {
  switch (number) {
    case 512:
      return "ERESTARTSYS";
    case 513:
      return "ERESTARTNOINTR";
    case 514:
      return "ERESTARTNOHAND";
    case 516:
      return "ERESTART_RESTARTBLOCK";
    default:
      return ErrnoName(number);
  }
}

}  // namespace

std::string ErrorOf(const AuditEvent& event) {
  if (event.kind != EventKind::kCall || !HasResult(event)) return "";
  if (event.result >= 0 || event.result < -kMaxError) return "";
  return ErrorName(static_cast<int>(-event.result));
}

bool IsErrorName(std::string_view name) {
  for (int number = 1; number <= kMaxError; ++number)
    if (name == ErrorName(number)) return true;
  return false;
}

std::string SyscallOf(const AuditEvent& event) {
  return SyscallName(event.nr, (event.flags & kCallCompat) != 0);
}

std::string ArgumentsText(const AuditEvent& event) {
  std::string line = SyscallOf(event) + '(';
  const bool decoded = (event.flags & kCallCompat) == 0;  // the tables are those of x86-64
  const size_t count = decoded ? ArgumentCount(event.nr) : 6;
  for (size_t i = 0; i < count; ++i) {
    const Datum* shown = nullptr;
    for (const Datum& datum : event.data)
      if (datum.arg == i && (datum.flags & kDataFault) == 0) shown = &datum;
    if (i > 0) line += ", ";
    line += shown != nullptr ? DatumText(event, *shown) : ArgText(event, i, decoded);
  }
  return line + ')';
}

std::string DigestText(const AuditEvent& event) {
  for (const Datum& datum : event.data) {
    if (datum.kind != kDataDigest) continue;
    Hash digest;
    if (datum.bytes.size() == digest.size()) {
      memcpy(digest.data(), datum.bytes.data(), digest.size());
      return HexOf(digest);
    }
    return (datum.flags & kDataChanged) != 0     ? "unknown: changed"
           : (datum.flags & kDataTruncated) != 0 ? "unknown: too large"
                                                 : "unknown: gone";
  }
  return "unknown";
}

std::string CallText(const AuditEvent& event) {
  std::string line = ArgumentsText(event);
  if (!HasResult(event)) return line + " = ?";
  line += fmt::format(" = {}", event.result);
  if (std::string error = ErrorOf(event); !error.empty()) line += ' ' + error;
  if ((event.flags & kCallDenied) != 0) line += " (denied)";
  if (event.has_file) line += " <" + Printable(event.file.path) + '>';
  return line;
}

const char* EventCsvHead() {
  return "job,time,kind,pid,tid,comm,syscall,arg0,arg1,arg2,arg3,arg4,arg5,ret,error,denied,"
         "duration_ns,path,file,address,text";
}

std::string EventCsv(const AuditEvent& event, const LogReader& log) {
  std::string line;
  auto field = [&](std::string_view text) {
    std::string shown = Printable(text);
    // A spreadsheet must not take a file's name for a formula.
    if (!shown.empty() && std::string_view("=+-@").find(shown[0]) != std::string_view::npos)
      shown.insert(0, "'");
    if (!line.empty()) line += ',';
    if (shown.find_first_of(",\"") == std::string::npos) {
      line += shown;
      return;
    }
    line += '"';
    for (char c : shown) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  };
  auto number = [&](auto value) { line += ',' + std::to_string(value); };
  const bool call = event.kind == EventKind::kCall;
  field(log.job());
  field(Rfc3339(log.RealTime(event.time_ns)));
  field(KindName(event.kind));
  number(event.task.inner_tgid);
  number(event.task.inner_tid);
  field(event.task.comm);
  field(call ? SyscallOf(event) : "");
  for (uint64_t arg : event.args) call ? number(arg) : field("");
  (call && HasResult(event)) ? number(event.result) : field("");
  field(ErrorOf(event));
  field(call && (event.flags & kCallDenied) != 0 ? "1" : "0");
  call ? number(event.duration_ns) : field("");
  std::string path, address;
  for (const Datum& datum : event.data) {
    if (datum.kind == kDataSockaddr) address = SocketAddress(datum.bytes);
    if ((datum.kind == kDataString || datum.kind == kDataFilename) && path.empty())
      path = datum.bytes;
  }
  field(path);
  field(event.has_file ? event.file.path : "");
  field(address);
  field(EventText(event));
  return line;
}

std::string EventText(const AuditEvent& event) {
  switch (event.kind) {
    case EventKind::kCall:
      return CallText(event);
    case EventKind::kRecord:
      return Printable(event.record);
    case EventKind::kTask:
      return (event.flags & kTaskThread) != 0 ? "* new thread" : "* new process";
    case EventKind::kExec: {
      std::string line = "* executes";
      if (event.has_file) line += " <" + Printable(event.file.path) + '>';
      for (const Datum& datum : event.data)
        if (datum.kind == kDataArgv)
          for (const std::string& arg : SplitArgv(datum.bytes)) line += ' ' + Quoted(arg);
      return line;
    }
    case EventKind::kExit:
      return "* ends: " + ExitText(event.last ? event.group_code : event.code) +
             ((event.flags & kExitOom) != 0 ? ", memory had run out" : "");
    case EventKind::kComm:
      return "* is its name now";
    case EventKind::kStop:
      return fmt::format("* {}, {} bytes waited",
                         (event.flags & kStopKilled) != 0 ? "killed: it could not be held" : "held",
                         event.waiting);
    case EventKind::kDigest:
      return "* was executed: <" + Printable(event.file.path) + "> SHA-256 " + DigestText(event);
  }
  return "";
}

namespace {

// What a call came to, in few columns.
std::string OutcomeText(const AuditEvent& event) {
  if (event.kind != EventKind::kCall) return "";
  if (!HasResult(event)) return "?";
  std::string text = ErrorOf(event);
  if (text.empty())
    text = event.result >= 0 && event.result < 1'000'000
               ? std::to_string(event.result)
               : fmt::format("{:#x}", static_cast<uint64_t>(event.result));
  return (event.flags & kCallDenied) != 0 ? text + " denied" : text;
}

// A record's kind before its members, of which there can be many.
std::string RecordText(const AuditEvent& event) {
  auto record = ParseJson(event.record, "record");
  if (!record || !record->is_object()) return EventText(event);
  const Json kind = record->value("kind", Json());
  if (!kind.is_string()) return EventText(event);
  record->erase("kind");
  return Printable(kind.get<std::string>() + ' ' +
                   record->dump(-1, ' ', false, Json::error_handler_t::replace));
}

constexpr size_t kWide = 110;  ///< from here on there is room for microseconds and whole names

}  // namespace

std::string EventLineHead(size_t columns) {
  return columns < kWide ? "time           tid command    result        what"
                         : "time               tid command          result        what";
}

std::string EventLine(const AuditEvent& event, const LogReader& log, size_t columns) {
  const bool wide = columns >= kWide, record = event.kind == EventKind::kRecord;
  const std::string time = Rfc3339(log.RealTime(event.time_ns)).substr(11, wide ? 15 : 12);
  const size_t room = wide ? 16 : 10;
  std::string comm = Fit(record ? "carrel" : Printable(event.task.comm), room);
  comm.append(room - std::min(room, DisplayWidth(comm)), ' ');
  std::string what = event.kind == EventKind::kCall ? ArgumentsText(event)
                     : record                       ? RecordText(event)
                                                    : EventText(event);
  if (event.kind == EventKind::kCall && event.has_file)
    what += " <" + Printable(event.file.path) + '>';
  return Fit(fmt::format("{} {:>5} {} {:<13} {}", time, record ? 0 : event.task.inner_tid, comm,
                         OutcomeText(event), what),
             columns);
}

}  // namespace carrel
