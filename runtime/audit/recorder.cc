#include "audit/recorder.h"

#include <cstddef>
#include <cstring>

namespace carrel {
namespace {

template <typename Record>
Result<Record> Decode(const char* bytes, size_t size) {
  if (size < sizeof(Record)) return Fault("audit", "a BPF record is too short");
  Record record;
  std::memcpy(&record, bytes, sizeof record);
  return record;
}

// What a thousand tasks have given once must not stay.
void Clear(std::string& text) {
  constexpr size_t kKept = 512;
  if (text.capacity() > kKept) std::string().swap(text);
  text.clear();
}

std::string_view Comm(const char (&comm)[16]) { return {comm, ::strnlen(comm, sizeof comm)}; }

}  // namespace

std::string JoinParts(std::string_view parts) {
  std::string path;
  path.reserve(parts.size() + 1);
  while (!parts.empty()) {
    if (parts.back() == '\0') parts.remove_suffix(1);
    size_t start = parts.rfind('\0');
    start = start == std::string_view::npos ? 0 : start + 1;
    path += '/';
    path += parts.substr(start);
    parts = parts.substr(0, start);
  }
  return path.empty() ? "/" : path;
}

Recorder::Task& Recorder::Find(uint32_t tid) {
  if (last_ != nullptr && last_tid_ == tid) return *last_;
  Task& task = tasks_[tid];  // references into an unordered_map stay valid
  task.info.tid = tid;
  last_ = &task;
  last_tid_ = tid;
  return task;
}

Result<void> Recorder::Add(const char* bytes, size_t size) {
  RawHead head;
  if (size < sizeof head) return Fault("audit", "a BPF record is too short");
  std::memcpy(&head, bytes, sizeof head);
  if (head.size > size) return Fault("audit", "a BPF record is longer than its room");
  switch (head.type) {
    case kRawCall: {
      CARREL_ASSIGN(RawCall call, Decode<RawCall>(bytes, size));
      AddCall(call);
      return {};
    }
    case kRawData:
      return AddData(bytes, size);
    case kRawFile:
      return AddFile(bytes, size);
    default:
      return AddLifecycle(head, bytes, size);
  }
}

void Recorder::AddCall(const RawCall& call) {
  Task& task = Find(call.head.tid);
  task.info.comm = task.comm;
  const uint32_t index = encoder_.Task(task.info, task.ref);
  if (!task.waiting) {
    encoder_.Call(call, index, nullptr, nullptr);
    return;
  }
  Take(task.pending[0], event_);
  task.waiting = false;
  encoder_.Call(call, index, &event_.data, event_.has_file ? &event_.file : nullptr);
  Clear(task.pending[0].text);
}

// Moves the pieces into `event`; their text stays in `pending` until the row is written.
void Recorder::Take(Pending& pending, AuditEvent& event) {
  event.data.clear();
  for (const Pending::Piece& piece : pending.pieces)
    event.data.push_back({piece.arg, piece.kind, piece.flags,
                          std::string_view(pending.text).substr(piece.offset, piece.length)});
  event.has_file = pending.has_file;
  if (pending.has_file) {
    event.file = pending.file;
    event.file.path =
        std::string_view(pending.text).substr(pending.file_offset, pending.file_length);
  }
  pending.pieces.clear();
  pending.has_file = false;
}

Result<void> Recorder::AddData(const char* bytes, size_t size) {
  RawHead head;
  std::memcpy(&head, bytes, sizeof head);
  constexpr size_t kAt = offsetof(RawData, bytes);
  if (size < kAt || head.value > size - kAt) return Fault("audit", "a BPF record is too short");
  Task& task = Find(head.tid);
  Pending& pending = task.pending[(head.flags & kDataExec) != 0 ? 1 : 0];
  if (pending.pieces.size() >= 16) return {};  // left-overs of a call that was never seen again
  pending.pieces.push_back({static_cast<uint8_t>(bytes[offsetof(RawData, arg)]),
                            static_cast<uint8_t>(bytes[offsetof(RawData, kind)]), head.flags,
                            pending.text.size(), head.value});
  pending.text.append(bytes + kAt, head.value);
  if ((head.flags & kDataExec) == 0) task.waiting = true;
  return {};
}

Result<void> Recorder::AddFile(const char* bytes, size_t size) {
  constexpr size_t kAt = offsetof(RawFile, parts);
  RawHead head;
  std::memcpy(&head, bytes, sizeof head);
  if (size < kAt || head.value > size - kAt) return Fault("audit", "a BPF record is too short");
  Task& task = Find(head.tid);
  Pending& pending = task.pending[(head.flags & kDataExec) != 0 ? 1 : 0];
  std::memcpy(&pending.file.inode, bytes + offsetof(RawFile, inode), sizeof pending.file.inode);
  std::memcpy(&pending.file.device, bytes + offsetof(RawFile, device), sizeof pending.file.device);
  std::memcpy(&pending.file.mode, bytes + offsetof(RawFile, mode), sizeof pending.file.mode);
  pending.file.flags = head.flags;
  if ((head.flags & kDataExec) != 0) {
    ExecutedFile& executed = pending.executed;
    std::memcpy(&executed.ctime_s, bytes + offsetof(RawFile, ctime_s), sizeof executed.ctime_s);
    std::memcpy(&executed.ctime_ns, bytes + offsetof(RawFile, ctime_ns), sizeof executed.ctime_ns);
    std::memcpy(&executed.size, bytes + offsetof(RawFile, size), sizeof executed.size);
  }
  // Of a path that is too long, what is left is its end: no other path.
  const char* before = (head.flags & kDataTruncated) != 0 ? "..." : "";
  const std::string path = before + JoinParts({bytes + kAt, head.value});
  pending.file_offset = pending.text.size();
  pending.file_length = path.size();
  pending.text += path;
  pending.has_file = true;
  if ((head.flags & kDataExec) == 0) task.waiting = true;
  return {};
}

Result<void> Recorder::AddLifecycle(const RawHead& head, const char* bytes, size_t size) {
  AuditEvent& event = event_;
  event = AuditEvent{};
  Task* task = nullptr;
  switch (head.type) {
    case kRawTask: {
      CARREL_ASSIGN(RawTask raw, Decode<RawTask>(bytes, size));
      task = &Find(head.tid);
      *task = Task{};  // whoever had this id before is gone
      task->info = {head.tid, raw.tgid, raw.inner_tid, raw.inner_tgid, raw.parent, {}};
      task->comm = Comm(raw.comm);
      event.kind = EventKind::kTask;
      event.flags = head.flags;
      event.time_ns = static_cast<int64_t>(raw.time_ns);
      break;
    }
    case kRawExec: {
      CARREL_ASSIGN(RawExec raw, Decode<RawExec>(bytes, size));
      task = &Find(head.tid);
      if (auto old = tasks_.find(head.value); head.value != head.tid && old != tasks_.end()) {
        // The thread that executed has taken over its leader's id. Its call is not over yet, but
        // its strings were written under the old id.
        Pending call = std::move(old->second.pending[0]);
        const bool waiting = old->second.waiting;
        task->info.parent = old->second.info.parent;
        tasks_.erase(old);
        last_ = nullptr;
        task = &Find(head.tid);
        task->pending[0] = std::move(call);
        task->waiting = waiting;
      }
      task->info.tgid = raw.tgid;
      task->info.inner_tid = task->info.inner_tgid = raw.inner_tid;
      task->comm = Comm(raw.comm);
      event.kind = EventKind::kExec;
      event.time_ns = static_cast<int64_t>(raw.time_ns);
      event.old_tid = head.value;
      event.argc = raw.argc;
      event.envc = raw.envc;
      Take(task->pending[1], event);
      if (event.has_file) {
        ExecutedFile& executed = executed_.emplace_back(task->pending[1].executed);
        executed.tid = head.tid;
        executed.path = event.file.path;
        executed.inode = event.file.inode;
        executed.device = event.file.device;
        executed.mode = event.file.mode;
      }
      break;
    }
    case kRawExit: {
      CARREL_ASSIGN(RawExit raw, Decode<RawExit>(bytes, size));
      task = &Find(head.tid);
      event.kind = EventKind::kExit;
      event.flags = head.flags;
      event.time_ns = static_cast<int64_t>(raw.time_ns);
      event.code = head.value;
      event.group_code = raw.group_code;
      event.last = raw.last != 0;
      break;
    }
    case kRawComm: {
      CARREL_ASSIGN(RawComm raw, Decode<RawComm>(bytes, size));
      task = &Find(head.tid);
      task->comm = Comm(raw.comm);
      event.kind = EventKind::kComm;
      event.time_ns = static_cast<int64_t>(raw.time_ns);
      break;
    }
    case kRawStop: {
      CARREL_ASSIGN(RawStop raw, Decode<RawStop>(bytes, size));
      task = &Find(head.tid);
      event.kind = EventKind::kStop;
      event.flags = head.flags;
      event.time_ns = static_cast<int64_t>(raw.time_ns);
      event.waiting = head.value;
      break;
    }
    default:
      return Fault("audit", "a BPF record of unknown type " + std::to_string(head.type));
  }
  Emit(event, *task);
  if (head.type == kRawExec) Clear(task->pending[1].text);
  if (head.type == kRawExit) {
    tasks_.erase(head.tid);
    last_ = nullptr;
  }
  return {};
}

void Recorder::Remember(const AuditEvent& event) {
  if (event.task.tid == 0) return;  // carrel itself
  if (event.kind == EventKind::kExit) {
    tasks_.erase(event.task.tid);
  } else {
    if (event.kind == EventKind::kExec && event.old_tid != event.task.tid)
      tasks_.erase(event.old_tid);
    Task& task = tasks_[event.task.tid];
    task.comm = event.task.comm;
    task.info = event.task;
    task.info.comm = task.comm;
  }
  last_ = nullptr;
}

void Recorder::Emit(AuditEvent& event, Task& task) {
  task.info.comm = task.comm;
  event.task = task.info;
  encoder_.Other(event, encoder_.Task(task.info, task.ref));
}

void Recorder::AddDigest(int64_t time_ns, const ExecDigest& digest) {
  AuditEvent event;
  event.kind = EventKind::kDigest;
  event.time_ns = time_ns;
  event.data.push_back({0, kDataDigest, digest.flags, digest.digest});
  event.has_file = true;
  event.file = {digest.file.path, digest.file.inode, digest.file.device, digest.file.mode, 0};
  Emit(event, tasks_[0]);  // carrel itself
}

void Recorder::AddRecord(int64_t time_ns, std::string_view json) {
  AuditEvent event;
  event.kind = EventKind::kRecord;
  event.time_ns = time_ns;
  event.record = json;
  Task& task = tasks_[0];  // carrel itself
  Emit(event, task);
}

}  // namespace carrel
