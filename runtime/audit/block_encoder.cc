#include "audit/block_encoder.h"

#include <algorithm>

namespace carrel {

BlockEncoder::BlockEncoder() = default;

uint32_t BlockEncoder::Task(const TaskInfo& task, TaskRef& ref) {
  if (ref.block == block_) return ref.index;
  ByteWriter& out = columns_[kColTasks];
  out.Varint(task.tid);
  out.Varint(task.tgid);
  out.Varint(task.inner_tid);
  out.Varint(task.inner_tgid);
  out.Varint(task.parent);
  String(out, task.comm);
  for (uint32_t id : {task.tid, task.tgid, task.inner_tid, task.inner_tgid}) filter_.AddTask(id);
  filter_.AddComm(task.comm);
  ref = {block_, tasks_++};
  return ref.index;
}

void BlockEncoder::Row(uint8_t kind, uint32_t task, int64_t start, int64_t end) {
  header_.first_ns = header_.rows == 0 ? start : std::min(header_.first_ns, start);
  header_.last_ns = header_.rows == 0 ? end : std::max(header_.last_ns, end);
  columns_[kColStart].Signed(start / kTimeUnit - last_end_);
  last_end_ = end / kTimeUnit;
  ++header_.rows;
  columns_[kColKind].Byte(kind);
  columns_[kColTask].Varint(task);
}

void BlockEncoder::Call(const RawCall& call, uint32_t task, const std::vector<Datum>* data,
                        const FileInfo* file) {
  const bool has_data = data != nullptr && !data->empty();
  uint8_t kind = static_cast<uint8_t>(EventKind::kCall);
  if (has_data) kind |= kRowHasData;
  if (file != nullptr) kind |= kRowHasFile;
  if (call.head.flags != 0) kind |= kRowHasFlags;
  Row(kind, task, static_cast<int64_t>(call.enter_ns), static_cast<int64_t>(call.exit_ns));
  ++header_.calls;
  raw_bytes_ += sizeof call;

  const uint32_t nr = call.head.value;
  if (nr != last_nr_) {
    numbers_.insert(nr);
    last_nr_ = nr;
  }
  columns_[kColNr].Varint(nr);
  // Both ends are rounded, not the difference: sums of durations stay right.
  columns_[kColDuration].Varint(call.exit_ns / kTimeUnit - call.enter_ns / kTimeUnit);
  Predictor::Entry& expected = predictor_.For(task, nr);
  uint8_t mask = 0;
  for (int i = 0; i < 6; ++i) {
    if (call.args[i] == expected.args[i]) continue;
    mask |= static_cast<uint8_t>(1u << i);
    const uint8_t place = recents_.Find(task, i, call.args[i]);
    columns_[kColRecent].Byte(place);
    if (place == 0)
      columns_[kColArg0 + i].Signed(static_cast<int64_t>(call.args[i] - expected.args[i]));
    expected.args[i] = call.args[i];
  }
  if (call.result != expected.result) {
    mask |= kMaskResult;
    columns_[kColResult].Signed(call.result);
    expected.result = call.result;
  }
  if (call.result < 0 && call.result >= -4095) ++header_.failed;
  columns_[kColMask].Byte(mask);
  if (call.head.flags != 0) {
    columns_[kColFlags].Byte(call.head.flags);
    if ((call.head.flags & kCallDenied) != 0) ++header_.denied;
  }
  if (has_data) Data(*data);
  if (file != nullptr) File(*file);
}

void BlockEncoder::Data(const std::vector<Datum>& data) {
  ByteWriter& out = columns_[kColData];
  out.Byte(static_cast<uint8_t>(data.size()));
  for (const Datum& datum : data) {
    out.Byte(static_cast<uint8_t>(datum.kind << 4 | datum.arg));
    out.Byte(datum.flags);
    if (datum.kind == kDataString || datum.kind == kDataFilename)
      Path(out, datum.bytes);
    else
      String(out, datum.bytes);
    if (datum.kind == kDataSockaddr) filter_.AddAddress();
  }
}

void BlockEncoder::File(const FileInfo& file) {
  ByteWriter& out = columns_[kColFile];
  out.Byte(file.flags);
  out.Varint(file.device);
  out.Varint(file.inode);
  out.Varint(file.mode);
  Path(out, file.path);
}

void BlockEncoder::Path(ByteWriter& out, std::string_view text) {
  const size_t index = String(out, text);
  if (paths_.size() <= index) paths_.resize(index * 2 + 64);
  if (!paths_[index]) filter_.AddPath(text);
  paths_[index] = true;
}

// A string that the block has already is a number; a new one is 0, and stands in its column.
size_t BlockEncoder::String(ByteWriter& out, std::string_view text) {
  auto [at, fresh] = strings_.try_emplace(std::string(text), strings_.size() + 1);
  out.Varint(fresh ? 0 : at->second);
  if (fresh) columns_[kColStrings].Text(text);
  raw_bytes_ += text.size();
  return at->second;
}

void BlockEncoder::Other(const AuditEvent& event, uint32_t task) {
  uint8_t kind = static_cast<uint8_t>(event.kind);
  if (!event.data.empty()) kind |= kRowHasData;
  if (event.has_file) kind |= kRowHasFile;
  if (event.flags != 0) kind |= kRowHasFlags;
  Row(kind, task, event.time_ns, event.time_ns);
  raw_bytes_ += 64 + event.record.size();
  if (event.flags != 0) columns_[kColFlags].Byte(event.flags);
  if (!event.data.empty()) Data(event.data);
  if (event.has_file) File(event.file);
  ByteWriter& out = columns_[kColOther];
  switch (event.kind) {
    case EventKind::kRecord:
      out.Text(event.record);
      break;
    case EventKind::kExec:
      out.Varint(event.old_tid);
      out.Varint(event.argc);
      out.Varint(event.envc);
      String(out, event.task.comm);
      filter_.AddComm(event.task.comm);
      break;
    case EventKind::kExit:
      out.Varint(event.code);
      out.Varint(event.group_code);
      out.Byte(event.last ? 1 : 0);
      break;
    case EventKind::kComm:
      String(out, event.task.comm);
      filter_.AddComm(event.task.comm);
      break;
    case EventKind::kStop:
      out.Varint(event.waiting);
      break;
    case EventKind::kCall:
    case EventKind::kTask:
    case EventKind::kDigest:
      break;
  }
}

BlockHeader BlockEncoder::Header() const {
  BlockHeader header = header_;
  header.kind = BlockKind::kEvents;
  header.numbers.assign(numbers_.begin(), numbers_.end());
  header.filter = filter_.Bytes();
  return header;
}

std::vector<std::pair<uint8_t, std::string_view>> BlockEncoder::Columns() const {
  std::vector<std::pair<uint8_t, std::string_view>> columns;
  for (uint8_t i = 0; i < kColumns; ++i) columns.emplace_back(i, columns_[i].view());
  return columns;
}

void BlockEncoder::Reset() {
  header_ = {};
  for (ByteWriter& column : columns_) column.Clear();
  predictor_.Reset();
  recents_.Reset();
  last_end_ = 0;
  strings_.clear();
  numbers_.clear();
  filter_.Reset();
  paths_.clear();
  ++block_;
  tasks_ = 0;
  last_nr_ = ~0u;
  raw_bytes_ = 0;
}

}  // namespace carrel
