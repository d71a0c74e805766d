#include "audit/render.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "audit/syscall_names.h"
#include "base/clock.h"

namespace carrel {
namespace {

// Bytes of the UTF-8 sequence at the start of `text`, or 0 when it is none. `point` is its value.
size_t SequenceLength(std::string_view text, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return *point = first, 1;
  size_t length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (first >= 0xf5 || length == 0 || text.size() < length) return 0;
  uint32_t value = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff) return 0;
  *point = value;
  return length;
}

// What a terminal or a reader's eye could be misled by: controls and changes of direction.
bool Misleads(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x200e || point == 0x200f ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
         point == 0xfeff;
}

std::string Escape(std::string_view text, bool for_terminal) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    uint32_t point = 0;
    size_t length = SequenceLength(text, &point);
    const bool plain = length != 0 && !(for_terminal && Misleads(point));
    if (length == 0) length = 1;
    if (plain) {
      out += text.substr(0, length);
    } else {
      for (char c : text.substr(0, length))
        out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    }
    text.remove_prefix(length);
  }
  return out;
}

const char* KindName(EventKind kind) {
  static constexpr const char* kNames[] = {"call", "record", "task", "exec",
                                           "exit", "comm",   "stop"};
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

void AddData(const AuditEvent& event, OrderedJson& out) {
  bool truncated = false;
  OrderedJson strings = OrderedJson::object();
  for (const Datum& datum : event.data) {
    truncated |= (datum.flags & kDataTruncated) != 0;
    if ((datum.flags & kDataFault) != 0) {
      out["unreadable"] = true;
    } else if (datum.kind == kDataString) {
      if (!out.contains("path")) out["path"] = Utf8(datum.bytes);
      strings[std::to_string(datum.arg)] = Utf8(datum.bytes);
    } else if (datum.kind == kDataSockaddr) {
      out["address"] = Utf8(SocketAddress(datum.bytes));
    } else if (datum.kind == kDataFilename) {
      out["path"] = Utf8(datum.bytes);
    } else if (datum.kind == kDataArgv) {
      OrderedJson argv = OrderedJson::array();
      for (const std::string& arg : SplitArgv(datum.bytes)) argv.push_back(Utf8(arg));
      out["argv"] = std::move(argv);
    }
  }
  if (strings.size() > 1) out["strings"] = std::move(strings);
  if (truncated) out["truncated"] = true;
  if (event.has_file) {
    out["file"] = {
        {"path", Utf8(event.file.path)},
        {"device", fmt::format("{}:{}", event.file.device >> 20, event.file.device & 0xfffff)},
        {"inode", event.file.inode},
        {"mode", fmt::format("{:o}", event.file.mode)}};
    if ((event.file.flags & kDataOutside) != 0) out["file"]["outside_root"] = true;
    if ((event.file.flags & kDataTruncated) != 0) out["file"]["truncated"] = true;
  }
}

void AddCall(const AuditEvent& event, OrderedJson& out) {
  out["syscall"] = SyscallName(event.nr, (event.flags & kCallCompat) != 0);
  out["nr"] = event.nr;
  out["args"] = event.args;
  if ((event.flags & kCallNoReturn) != 0) {
    out["ret"] = nullptr;
    out["returned"] = false;
  } else {
    out["ret"] = event.result;
  }
  if (std::string error = ErrorOf(event); !error.empty()) out["error"] = error;
  out["denied"] = (event.flags & kCallDenied) != 0;
  out["duration_ns"] = event.duration_ns;
}

std::string Quoted(std::string_view text) { return '"' + Printable(text) + '"'; }

std::string CallText(const AuditEvent& event) {
  std::string line = SyscallName(event.nr, (event.flags & kCallCompat) != 0) + '(';
  for (size_t i = 0; i < 6; ++i) {
    const Datum* shown = nullptr;
    for (const Datum& datum : event.data)
      if (datum.arg == i && (datum.flags & kDataFault) == 0) shown = &datum;
    if (i > 0) line += ", ";
    if (shown == nullptr)
      line += event.args[i] < 4096 ? std::to_string(event.args[i])
                                   : fmt::format("{:#x}", event.args[i]);
    else if (shown->kind == kDataSockaddr)
      line += Printable(SocketAddress(shown->bytes));
    else
      line += Quoted(shown->bytes);
  }
  line += ')';
  if ((event.flags & kCallNoReturn) != 0) return line + " = ?";
  line += fmt::format(" = {}", event.result);
  if (std::string error = ErrorOf(event); !error.empty()) line += ' ' + error;
  if ((event.flags & kCallDenied) != 0) line += " (denied)";
  if (event.has_file) line += " <" + Printable(event.file.path) + '>';
  return line;
}

}  // namespace

std::string Printable(std::string_view text) { return Escape(text, true); }
std::string Utf8(std::string_view bytes) { return Escape(bytes, false); }

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

std::string ErrorOf(const AuditEvent& event) {
  if (event.kind != EventKind::kCall || (event.flags & kCallNoReturn) != 0) return "";
  if (event.result >= 0 || event.result < -4095) return "";
  switch (event.result) {
    case -512:
      return "ERESTARTSYS";
    case -513:
      return "ERESTARTNOINTR";
    case -514:
      return "ERESTARTNOHAND";
    case -516:
      return "ERESTART_RESTARTBLOCK";
    default:
      return ErrnoName(static_cast<int>(-event.result));
  }
}

OrderedJson EventJson(const AuditEvent& event, const LogReader& log) {
  OrderedJson out;
  out["time"] = Rfc3339(log.RealTime(event.time_ns));
  out["kind"] = KindName(event.kind);
  if (event.kind == EventKind::kRecord) {
    // Its own kind is the more useful one.
    if (auto record = ParseJson(event.record, "record"); record && record->is_object())
      for (auto& [key, value] : record->items()) out[key] = value;
    return out;
  }
  out["pid"] = event.task.inner_tgid;
  out["tid"] = event.task.inner_tid;
  out["host_pid"] = event.task.tgid;
  out["host_tid"] = event.task.tid;
  out["comm"] = Utf8(event.task.comm);
  if (event.kind == EventKind::kCall) AddCall(event, out);
  if (event.kind == EventKind::kTask) {
    out["parent"] = event.task.parent;
    out["thread"] = (event.flags & kTaskThread) != 0;
    out["shares_memory"] = (event.flags & kTaskSharesVm) != 0;
  }
  if (event.kind == EventKind::kExec) out["argc"] = event.argc;
  if (event.kind == EventKind::kExit) {
    out["status"] = ExitText(event.last ? event.group_code : event.code);
    out["last"] = event.last;
  }
  if (event.kind == EventKind::kStop) out["waiting_bytes"] = event.waiting;
  AddData(event, out);
  return out;
}

const char* EventCsvHead() {
  return "time,kind,pid,tid,comm,syscall,arg0,arg1,arg2,arg3,arg4,arg5,ret,error,denied,"
         "duration_ns,path,file,address";
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
  field(Rfc3339(log.RealTime(event.time_ns)));
  field(KindName(event.kind));
  number(event.task.inner_tgid);
  number(event.task.inner_tid);
  field(event.task.comm);
  field(call ? SyscallName(event.nr, (event.flags & kCallCompat) != 0) : "");
  for (uint64_t arg : event.args) call ? number(arg) : field("");
  call && (event.flags & kCallNoReturn) == 0 ? number(event.result) : field("");
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
  return line;
}

std::string EventLine(const AuditEvent& event, const LogReader& log) {
  std::string line = Rfc3339(log.RealTime(event.time_ns)).substr(11, 15);
  if (event.kind == EventKind::kRecord) return line + "  " + Printable(event.record);
  line += fmt::format(" {:5} {} ", event.task.inner_tid, Printable(event.task.comm));
  switch (event.kind) {
    case EventKind::kCall:
      return line + CallText(event);
    case EventKind::kTask:
      return line + ((event.flags & kTaskThread) != 0 ? "* new thread" : "* new process");
    case EventKind::kExec: {
      line += "* executes";
      if (event.has_file) line += " <" + Printable(event.file.path) + '>';
      for (const Datum& datum : event.data)
        if (datum.kind == kDataArgv)
          for (const std::string& arg : SplitArgv(datum.bytes)) line += ' ' + Quoted(arg);
      return line;
    }
    case EventKind::kExit:
      return line + "* ends: " + ExitText(event.last ? event.group_code : event.code);
    case EventKind::kComm:
      return line + "* is its name now";
    case EventKind::kStop:
      return line + fmt::format("* held, {} bytes waited", event.waiting);
    case EventKind::kRecord:
      break;
  }
  return line;
}

}  // namespace carrel
