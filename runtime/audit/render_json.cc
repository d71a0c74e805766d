// Events as JSON, written straight into a string: a log has millions of them.
#include <fmt/format.h>

#include <iterator>
#include <optional>

#include "audit/render.h"
#include "audit/structures.h"
#include "audit/tables/flag_names.h"
#include "base/clock.h"
#include "base/json.h"

namespace carrel {
namespace {

// One object whose members are appended as they come.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  ~ObjectWriter() { out_ += '}'; }
  ObjectWriter(const ObjectWriter&) = delete;
  ObjectWriter& operator=(const ObjectWriter&) = delete;

  /// For a value that the caller appends. Names are literals of this file, or go through Text.
  std::string& Name(const char* name) {
    if (!first_) out_ += ',';
    first_ = false;
    out_ += '"';
    out_ += name;
    out_ += "\":";
    return out_;
  }
  void Text(const char* name, std::string_view bytes) { AppendJsonString(bytes, Name(name)); }
  template <typename T>
  void Number(const char* name, T value) {
    fmt::format_to(std::back_inserter(Name(name)), "{}", value);
  }
  void Bool(const char* name, bool value) { Name(name) += value ? "true" : "false"; }
  void Raw(const char* name, std::string_view json) { Name(name) += json; }

 private:
  std::string& out_;
  bool first_ = true;
};

void AddArgv(std::string_view bytes, ObjectWriter& object) {
  std::string& out = object.Name("argv");
  char before = '[';
  for (const std::string& arg : SplitArgv(bytes)) {
    out += before;
    before = ',';
    AppendJsonString(arg, out);
  }
  if (before == '[') out += before;
  out += ']';
}

void AddFile(const FileInfo& file, ObjectWriter& object) {
  ObjectWriter inner(object.Name("file"));
  inner.Text("path", file.path);
  inner.Text("device", fmt::format("{}:{}", file.device >> 20, file.device & 0xfffff));
  inner.Number("inode", file.inode);
  inner.Text("mode", fmt::format("{:o}", file.mode));
  if ((file.flags & kDataOutside) != 0) inner.Bool("outside_root", true);
  if ((file.flags & kDataTruncated) != 0) inner.Bool("truncated", true);
}

bool IsName(const Datum& datum) {
  return (datum.kind == kDataString || datum.kind == kDataFilename) &&
         (datum.flags & kDataFault) == 0;
}

// Calls such as rename have several: `path` is the first, `strings` has all by argument.
void AddStrings(const AuditEvent& event, ObjectWriter& object) {
  size_t strings = 0;
  for (const Datum& datum : event.data)
    if (IsName(datum) && ++strings == 1) object.Text("path", datum.bytes);
  if (strings < 2) return;
  ObjectWriter inner(object.Name("strings"));
  for (const Datum& datum : event.data)
    if (IsName(datum)) inner.Text(std::to_string(datum.arg).c_str(), datum.bytes);
}

void AddData(const AuditEvent& event, ObjectWriter& object) {
  uint8_t flags = 0;
  AddStrings(event, object);
  for (const Datum& datum : event.data) {
    flags |= datum.flags;
    if ((datum.flags & kDataFault) != 0) continue;
    if (datum.kind == kDataSockaddr) object.Text("address", SocketAddress(datum.bytes));
    if (datum.kind == kDataArgv) AddArgv(datum.bytes, object);
  }
  if ((flags & kDataTruncated) != 0) object.Bool("truncated", true);
  if ((flags & kDataFault) != 0) object.Bool("unreadable", true);
  if (event.has_file) AddFile(event.file, object);
}

// Arguments that say something in words: {"0":"AT_FDCWD","2":"O_RDONLY|O_CLOEXEC"}; a structure
// that was kept, too.
void AddDecoded(const AuditEvent& event, ObjectWriter& object) {
  if ((event.flags & kCallCompat) != 0) return;
  std::optional<ObjectWriter> decoded;
  static constexpr const char* kIndex[] = {"0", "1", "2", "3", "4", "5"};
  for (size_t i = 0; i < 6; ++i) {
    std::string text = ArgumentText(event.nr, i, event.args);
    for (const Datum& datum : event.data)
      if (datum.kind == kDataBytes && datum.arg == i && (datum.flags & kDataFault) == 0)
        text = StructureText(event.nr, event.args, i, datum.bytes);
    if (text.empty()) continue;
    if (!decoded) decoded.emplace(object.Name("decoded"));
    decoded->Text(kIndex[i], text);
  }
}

void AddCall(const AuditEvent& event, ObjectWriter& object) {
  object.Number("nr", event.nr);
  const auto& a = event.args;
  object.Raw("args", fmt::format("[{},{},{},{},{},{}]", a[0], a[1], a[2], a[3], a[4], a[5]));
  AddDecoded(event, object);
  if ((event.flags & kCallEntryOnly) != 0) {
    object.Raw("ret", "null");
    object.Bool("entry_only", true);
  } else if ((event.flags & kCallNoReturn) != 0) {
    object.Raw("ret", "null");
    object.Bool("returned", false);
  } else {
    object.Number("ret", event.result);
  }
  if (const std::string error = ErrorOf(event); !error.empty()) object.Text("error", error);
  object.Bool("denied", (event.flags & kCallDenied) != 0);
}

void AddDigest(const AuditEvent& event, ObjectWriter& object) {
  for (const Datum& datum : event.data) {
    Hash digest;
    if (datum.bytes.size() == digest.size()) {
      std::copy(datum.bytes.begin(), datum.bytes.end(), digest.begin());
      object.Text("sha256", HexOf(digest));
    } else {
      const bool changed = (datum.flags & kDataChanged) != 0;
      object.Text("no_digest", changed                               ? "changed"
                               : (datum.flags & kDataTruncated) != 0 ? "too large"
                                                                     : "gone");
    }
  }
}

void AddDetails(const AuditEvent& event, ObjectWriter& object) {
  switch (event.kind) {
    case EventKind::kCall:
      AddCall(event, object);
      break;
    case EventKind::kTask:
      object.Number("parent", event.task.parent);
      object.Bool("thread", (event.flags & kTaskThread) != 0);
      object.Bool("shares_memory", (event.flags & kTaskSharesVm) != 0);
      break;
    case EventKind::kExec:
      object.Number("argc", event.argc);
      break;
    case EventKind::kExit:
      object.Text("status", ExitText(event.last ? event.group_code : event.code));
      object.Bool("last", event.last);
      if ((event.flags & kExitOom) != 0) object.Bool("oom", true);
      break;
    case EventKind::kStop:
      object.Number("waiting_bytes", event.waiting);
      object.Bool("frozen", (event.flags & kStopFrozen) != 0);
      break;
    case EventKind::kDigest:
      AddDigest(event, object);
      break;
    case EventKind::kComm:
    case EventKind::kRecord:
      break;
  }
  AddData(event, object);
}

// The members of a lifecycle record. Those that every object has are not theirs to set.
void AddRecord(const AuditEvent& event, ObjectWriter& object) {
  auto record = ParseJson(event.record, "record");
  object.Text("kind", "record");
  if (!record || !record->is_object()) return object.Text("record", "?");
  object.Text("record", record->value("kind", std::string("?")));
  record->erase("kind");
  object.Raw("members", record->dump(-1, ' ', true, Json::error_handler_t::replace));
}

}  // namespace

void AppendEventJson(const AuditEvent& event, const LogReader& log, std::string& out) {
  ObjectWriter object(out);
  object.Text("job", log.job());
  object.Text("time", Rfc3339(log.RealTime(event.time_ns)));
  if (event.kind == EventKind::kRecord) return AddRecord(event, object);
  object.Text("kind", KindName(event.kind));
  object.Number("pid", event.task.inner_tgid);
  object.Number("tid", event.task.inner_tid);
  object.Number("host_pid", event.task.tgid);
  object.Number("host_tid", event.task.tid);
  object.Text("comm", event.task.comm);
  if (event.kind == EventKind::kCall) {
    object.Text("syscall", SyscallOf(event));
    object.Number("duration_ns", event.duration_ns);
  }
  AddDetails(event, object);
}

void AppendTraceJson(const AuditEvent& event, const LogReader& log, std::string& out) {
  const bool call = event.kind == EventKind::kCall;
  ObjectWriter object(out);
  object.Text("name", call ? SyscallOf(event) : KindName(event.kind));
  object.Text("cat", call && (event.flags & kCallDenied) != 0 ? "denied" : KindName(event.kind));
  object.Text("ph", call ? "X" : "i");
  // Microseconds; the three digits after the point are the nanoseconds.
  const int64_t at = log.RealTime(event.time_ns);
  object.Raw("ts", fmt::format("{}.{:03}", at / 1000, at % 1000));
  if (call)
    object.Raw("dur", fmt::format("{}.{:03}", event.duration_ns / 1000, event.duration_ns % 1000));
  else
    object.Text("s", "t");
  object.Number("pid", event.task.inner_tgid);
  object.Number("tid", event.task.inner_tid);
  {
    ObjectWriter args(object.Name("args"));
    args.Text("text", EventText(event));
    if (call) args.Number("ret", event.result);
  }
}

void AppendTraceName(const AuditEvent& event, std::string& out) {
  ObjectWriter object(out);
  object.Text("name", "process_name");
  object.Text("ph", "M");
  object.Number("pid", event.task.inner_tgid);
  ObjectWriter args(object.Name("args"));
  args.Text("name", event.task.comm);
}

}  // namespace carrel
