#include "audit/block_decoder.h"

#include "audit/block_encoder.h"

namespace carrel {
namespace {

Error BrokenBlock(const std::string& what) { return Fault("audit log", what); }

}  // namespace

Result<void> BlockDecoder::Open(const BlockHeader& header, std::string_view payload) {
  for (uint8_t i = 0; i < kColumns; ++i) {
    CARREL_TRY(ReadColumn(header, payload, i, bytes_[i]));
    columns_[i] = ByteReader(bytes_[i]);
  }
  CARREL_TRY(ReadStrings(bytes_[kColStrings]));
  if (header.rows != bytes_[kColKind].size())
    return BrokenBlock("a block's number of rows is wrong");
  tasks_.clear();
  predictor_.Reset();
  recents_.Reset();
  last_end_ = 0;
  rows_left_ = header.rows;
  next_string_ = 0;
  broken_ = false;
  return {};
}

Result<void> BlockDecoder::ReadStrings(std::string_view text) {
  strings_.clear();
  ByteReader in(text);
  while (!in.at_end()) strings_.push_back(in.Text());
  if (!in.ok()) return BrokenBlock("a block's strings are not valid");
  return {};
}

std::string_view BlockDecoder::String(ByteReader& in) {
  uint64_t index = in.Varint();
  if (index == 0) index = ++next_string_;
  if (index > next_string_ || index > strings_.size()) {
    broken_ = true;
    return {};
  }
  return strings_[index - 1];
}

void BlockDecoder::ReadTask() {
  ByteReader& in = columns_[kColTasks];
  TaskInfo task;
  task.tid = static_cast<uint32_t>(in.Varint());
  task.tgid = static_cast<uint32_t>(in.Varint());
  task.inner_tid = static_cast<uint32_t>(in.Varint());
  task.inner_tgid = static_cast<uint32_t>(in.Varint());
  task.parent = static_cast<uint32_t>(in.Varint());
  task.comm = String(in);
  tasks_.push_back(task);
}

bool BlockDecoder::AllAtEnd() const {
  for (const ByteReader& column : columns_)
    // The strings were read at once, by themselves.
    if (&column != &columns_[kColStrings] && !column.at_end()) return false;
  return next_string_ == strings_.size();
}

Result<bool> BlockDecoder::Next(AuditEvent& event) {
  if (rows_left_ == 0) {
    if (!AllAtEnd()) return BrokenBlock("a block holds more than its rows");
    return false;
  }
  --rows_left_;
  const uint8_t kind = columns_[kColKind].Byte();
  if ((kind & kRowKindMask) > kLastEventKind) return BrokenBlock("a row is of an unknown kind");
  event.kind = static_cast<EventKind>(kind & kRowKindMask);
  const uint64_t task = columns_[kColTask].Varint();
  if (task == tasks_.size()) ReadTask();
  if (task >= tasks_.size()) return BrokenBlock("a row names a task that is not there");
  const int64_t delta = columns_[kColStart].Signed();
  // Unsigned: a hostile log must not make arithmetic overflow undefined.
  const uint64_t start = static_cast<uint64_t>(last_end_) + static_cast<uint64_t>(delta);
  const uint64_t length =
      event.kind == EventKind::kCall ? columns_[kColDuration].Varint() : uint64_t{0};
  last_end_ = static_cast<int64_t>(start + length);
  event.time_ns = static_cast<int64_t>(start * kTimeUnit);
  event.duration_ns = length * kTimeUnit;
  event.task = tasks_[task];
  event.flags = (kind & kRowHasFlags) != 0 ? columns_[kColFlags].Byte() : 0;
  if (event.kind == EventKind::kCall) ReadCall(event, static_cast<uint32_t>(task));

  event.data.clear();
  if ((kind & kRowHasData) != 0) {
    ByteReader& in = columns_[kColData];
    for (uint8_t left = in.Byte(); left > 0; --left) {
      Datum datum;
      const uint8_t what = in.Byte();
      datum.arg = what & 0x0f;
      datum.kind = what >> 4;
      datum.flags = in.Byte();
      datum.bytes = String(in);
      event.data.push_back(datum);
    }
  }
  event.has_file = (kind & kRowHasFile) != 0;
  if (event.has_file) {
    ByteReader& in = columns_[kColFile];
    event.file.flags = in.Byte();
    event.file.device = static_cast<uint32_t>(in.Varint());
    event.file.inode = in.Varint();
    event.file.mode = static_cast<uint32_t>(in.Varint());
    event.file.path = String(in);
  }
  if (event.kind != EventKind::kCall) ReadOther(event, static_cast<uint32_t>(task));
  bool ok = !broken_;
  for (const ByteReader& column : columns_) ok = ok && column.ok();
  if (!ok) return BrokenBlock("a column ends before its rows");
  return true;
}

void BlockDecoder::ReadCall(AuditEvent& event, uint32_t task) {
  event.nr = static_cast<uint32_t>(columns_[kColNr].Varint());
  const uint8_t mask = columns_[kColMask].Byte();
  Predictor::Entry& expected = predictor_.For(task, event.nr);
  for (int i = 0; i < 6; ++i) {
    if ((mask & (1u << i)) != 0) {
      const uint8_t place = columns_[kColRecent].Byte();
      if (place > Recents::kDepth) {
        broken_ = true;
      } else if (place != 0) {
        expected.args[i] = recents_.Take(task, i, place);
      } else {
        expected.args[i] += static_cast<uint64_t>(columns_[kColArg0 + i].Signed());
        recents_.Put(task, i, expected.args[i]);
      }
    }
    event.args[static_cast<size_t>(i)] = expected.args[i];
  }
  if ((mask & kMaskResult) != 0) expected.result = columns_[kColResult].Signed();
  event.result = expected.result;
}

void BlockDecoder::ReadOther(AuditEvent& event, uint32_t task) {
  ByteReader& in = columns_[kColOther];
  switch (event.kind) {
    case EventKind::kRecord:
      event.record = in.Text();
      break;
    case EventKind::kExec:
      event.old_tid = static_cast<uint32_t>(in.Varint());
      event.argc = static_cast<uint32_t>(in.Varint());
      event.envc = static_cast<uint32_t>(in.Varint());
      tasks_[task].comm = event.task.comm = String(in);
      break;
    case EventKind::kExit:
      event.code = static_cast<uint32_t>(in.Varint());
      event.group_code = static_cast<uint32_t>(in.Varint());
      event.last = in.Byte() != 0;
      break;
    case EventKind::kComm:
      tasks_[task].comm = event.task.comm = String(in);
      break;
    case EventKind::kStop:
      event.waiting = static_cast<uint32_t>(in.Varint());
      break;
    case EventKind::kCall:
    case EventKind::kTask:
    case EventKind::kDigest:
      break;
  }
}

}  // namespace carrel
