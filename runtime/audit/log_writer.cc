#include "audit/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "audit/raw_event.h"
#include "base/clock.h"
#include "base/fs.h"

namespace carrel {
namespace {

// A block is written when it holds this much, or its first row is a second old. What is not yet
// written is still in the ring when carrel is killed, as long as it and what waits there have room
// beside each other: the programs hold the action when half of the ring waits.
constexpr size_t kMaxRows = 32768;
constexpr size_t kMaxRingBytes = size_t{CARREL_RING_BYTES} / 16 * 7;
constexpr size_t kRingHeader = 8;  // of each record
constexpr int64_t kMaxAgeNs = 1'000'000'000;
// Of carrel's own records no ring has a second copy.
constexpr int64_t kMaxRecordAgeNs = 100'000'000;
// Room behind the last block, so that a full disk still takes the reason, the end and the seal; and
// how much is allocated at a time.
constexpr uint64_t kReserve = 64u << 10;
constexpr uint64_t kAllocate = 1u << 20;

using Overwrite = std::function<void(char* text, size_t size, bool cut)>;

// The strings of one raw record. What the kernel cut off may have been the end of a secret.
void RedactRecord(const Overwrite& overwrite, char* record, const RawHead& head) {
  const auto within = [&](size_t from, size_t size, bool cut) {
    if (from < head.size) overwrite(record + from, std::min<size_t>(size, head.size - from), cut);
  };
  const bool cut = (head.flags & kDataTruncated) != 0;
  if (head.type == kRawData && record[offsetof(RawData, kind)] != kDataDigest)
    within(offsetof(RawData, bytes), head.value, cut);
  else if (head.type == kRawFile)
    within(offsetof(RawFile, parts), head.value, cut);
  else if (head.type == kRawTask)
    within(offsetof(RawTask, comm), sizeof(RawTask::comm) - 1, true);
  else if (head.type == kRawExec)
    within(offsetof(RawExec, comm), sizeof(RawExec::comm) - 1, true);
  else if (head.type == kRawComm)
    within(offsetof(RawComm, comm), sizeof(RawComm::comm) - 1, true);
}

void EachRecord(std::string& events,
                const std::function<void(char* record, const RawHead& head)>& change) {
  for (size_t at = 0; at + sizeof(RawHead) <= events.size();) {
    RawHead head;
    std::memcpy(&head, &events[at], sizeof head);
    if (head.size < sizeof head || head.size > events.size() - at) return;
    change(&events[at], head);
    at += head.size;
  }
}

// Their ends stay where they are.
void OverwriteAll(char* text, size_t size, bool /*cut*/) {
  for (size_t i = 0; i < size; ++i)
    if (text[i] != '\0') text[i] = '*';
}

// A structure of '*' would be another structure: of that nothing is there.
void WithholdRecord(char* record, RawHead head) {
  const char kind = head.type == kRawData && head.size > offsetof(RawData, kind)
                        ? record[offsetof(RawData, kind)]
                        : '\0';
  if (kind != kDataBytes && kind != kDataSockaddr) return RedactRecord(&OverwriteAll, record, head);
  head.flags |= kDataFault;
  head.value = 0;
  std::memcpy(record, &head, sizeof head);
}

}  // namespace

Result<void> LogWriter::Lock() {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 1;
  if (::fcntl(fd_.get(), F_OFD_SETLK, &range) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return SysFault(path_, "lock the audit log");
  Error error = Refused(path_, "another carrel writes this audit log");
  error.code = EBUSY;
  return error;
}

Result<void> LogWriter::Start() {
  struct utsname kernel {};
  (void)::uname(&kernel);
  Json start = {{"format", kLogFormat},
                {"job", job_id_},
                {"time_ns", NowNs()},
                {"monotonic_ns", MonotonicNs()},
                {"kernel", kernel.release}};
  return WriteText(BlockKind::kStart, start.dump());
}

Result<void> LogWriter::WriteText(BlockKind kind, const std::string& text) {
  BlockHeader header;
  header.kind = kind;
  return WriteBlock(header, {{uint8_t{kColOther}, text}});
}

Result<void> LogWriter::WriteBlock(
    BlockHeader header, const std::vector<std::pair<uint8_t, std::string_view>>& columns) {
  header.index = blocks_;
  header.previous = last_;
  Hash hash;
  CARREL_ASSIGN(std::string_view block, writer_.Write(header, columns, &hash));
  if (tell_) tell_(blocks_ + 1);
  auto written = Reserve(block.size());
  if (written) written = WriteAll(fd_.get(), block);
  if (!written) {
    Error error = std::move(written).error();
    error.where = path_;
    error.what = "write the audit log";
    error.hint = "The job cannot go on without its log";
    // Not half a block: what is there is to end with a whole one.
    (void)!::ftruncate(fd_.get(), static_cast<off_t>(bytes_));
    return error;
  }
  last_ = hash;
  if (blocks_ == 0) id_ = LogId(hash);
  ++blocks_;
  bytes_ += block.size();
  return {};
}

// Room for a block and, behind it, what is kept. After a failure that is used up.
Result<void> LogWriter::Reserve(uint64_t bytes) {
  const uint64_t end = bytes_ + bytes + kReserve;
  if (gave_up_ || end <= allocated_) return {};
  const uint64_t more = end + kAllocate - allocated_;
  if (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(allocated_),
                  static_cast<off_t>(more)) == 0) {
    allocated_ += more;
    return {};
  }
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    allocated_ = UINT64_MAX;
    return {};
  }
  // Not as much as would be good; is there enough?
  if (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(bytes_),
                  static_cast<off_t>(end - bytes_)) != 0)
    return SysFault(path_, "fallocate");
  allocated_ = end;
  return {};
}

void LogWriter::GiveUp(const BlockHeader& dropped, const Error& error) {
  dropped_.events += dropped.calls;
  dropped_.denied += dropped.denied;
  dropped_.lost += std::max(dropped.rows, 1u);
  if (std::exchange(gave_up_, true)) return;
  recorder_.AddRecord(MonotonicNs(),
                      Json{{"kind", "audit_failed"}, {"error", error.ToString()}}.dump(
                          -1, ' ', false, Json::error_handler_t::replace));
}

Result<void> LogWriter::Append(const std::string& kind, const Json& members) {
  Json record = members.is_object() ? members : Json::object();
  record["kind"] = kind;
  const int64_t now = MonotonicNs();
  // What is not UTF-8 is replaced: a record is JSON whatever an action's names are.
  recorder_.AddRecord(now + clock_shift_,
                      record.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (oldest_ns_ == 0) oldest_ns_ = now;
  if (record_ns_ == 0) record_ns_ = now;
  return FlushIfDue();
}

Result<void> LogWriter::AppendEvents(const void* events, size_t bytes) {
  if (bytes == 0) {
    TakeDigests(false);
    CARREL_TRY(FlushIfDue());
    return CheckLimit();
  }
  if (gave_up_) {
    RawHead head{};
    if (bytes >= sizeof head) std::memcpy(&head, events, sizeof head);
    const bool call = head.type == kRawCall;
    dropped_.events += call;
    dropped_.denied += call && (head.flags & kCallDenied) != 0;
    ++dropped_.lost;
    return {};
  }
  events = Redacted(events, bytes);
  CARREL_TRY(recorder_.Add(static_cast<const char*>(events), bytes));
  if (recorder_.HasExecuted()) AddExecuted(recorder_.TakeExecuted());
  ring_bytes_ += bytes + kRingHeader;
  if (encoder_.rows() >= kMaxRows || ring_bytes_ >= kMaxRingBytes) return Flush();
  return {};
}

const void* LogWriter::Redacted(const void* events, size_t bytes) {
  if (redactor_ == nullptr && !withhold_) return events;
  redacted_.assign(static_cast<const char*>(events), bytes);
  const Overwrite overwrite = [this](char* text, size_t size, bool cut) {
    redactor_->Overwrite(text, size, cut);
  };
  EachRecord(redacted_, [&](char* record, const RawHead& head) {
    withhold_ ? WithholdRecord(record, head) : RedactRecord(overwrite, record, head);
  });
  return redacted_.data();
}

Result<void> LogWriter::Reread(const void* event, size_t bytes) {
  CARREL_TRY(recorder_.Add(static_cast<const char*>(Redacted(event, bytes)), bytes));
  (void)recorder_.TakeExecuted();
  encoder_.Reset();
  return {};
}

void LogWriter::TellBlocks(const std::function<void(uint64_t)>& tell) {
  tell_ = tell;
  if (tell_) tell_(blocks_);
}

// Of tasks that are long dead, neither their files nor their root can be found: their ids may be
// those of others.
void LogWriter::AddExecuted(std::vector<ExecutedFile> files) {
  for (ExecutedFile& file : files) {
    if (interrupted_)
      recorder_.AddDigest(MonotonicNs(), {std::move(file), "", kDataFault});
    else
      digests_.Add(std::move(file));
  }
}

void LogWriter::TakeDigests(bool wait) {
  for (const ExecDigest& digest : digests_.Take(wait)) recorder_.AddDigest(MonotonicNs(), digest);
}

Result<void> LogWriter::CheckLimit() {
  if (limit_ == 0 || bytes_ <= limit_ || limit_said_) return {};
  limit_said_ = true;
  CARREL_TRY(Append("audit_limit", {{"limit_bytes", limit_}, {"bytes", bytes_}}));
  return Fault("audit", "the audit log has more than " + std::to_string(limit_) + " bytes",
               "The action was killed: it makes more calls than its limit audit_bytes allows");
}

Result<void> LogWriter::FlushIfDue() {
  if (encoder_.rows() == 0) return {};
  if (encoder_.rows() >= kMaxRows || ring_bytes_ >= kMaxRingBytes) return Flush();
  const int64_t now = MonotonicNs();
  if (oldest_ns_ == 0) oldest_ns_ = now;
  const bool due =
      now - oldest_ns_ >= kMaxAgeNs || (record_ns_ != 0 && now - record_ns_ >= kMaxRecordAgeNs);
  return due ? Flush() : Result<void>();
}

Result<void> LogWriter::Flush() {
  if (encoder_.rows() == 0) return {};
  const BlockHeader header = encoder_.Header();
  auto written = WriteBlock(header, encoder_.Columns());
  encoder_.Reset();
  oldest_ns_ = record_ns_ = 0;
  ring_bytes_ = 0;
  if (!written) GiveUp(header, written.error());
  return written;
}

Result<void> LogWriter::Pause() {
  CARREL_TRY(Append(kPauseRecord, Json::object()));
  CARREL_TRY(Flush());
  if (::fsync(fd_.get()) != 0) return SysFault(path_, "fsync the audit log");
  return {};
}

void LogWriter::ContinueAfter(const LogReader& reader) {
  last_ = reader.last_hash();
  id_ = reader.id();
  blocks_ = reader.blocks();
  bytes_ = reader.offset();
  // The monotonic clock began anew when the host has restarted since. Small differences are the
  // wall clock's own, and events of this boot must stay in step with records.
  const int64_t shift = NowNs() - reader.RealTime(MonotonicNs());
  if (shift > 3'600'000'000'000 || shift < -3'600'000'000'000) clock_shift_ = shift;
}

Result<void> LogWriter::OpenKey() {
  if (key_) return {};
  CARREL_ASSIGN(key_, HostKey::Open(state_dir_));
  return {};
}

Result<AuditSeal> LogWriter::Finish(const EventCounts& all) {
  TakeDigests(true);
  // Once more when it fails: without the events, into what was kept.
  if (!Flush()) CARREL_TRY(Flush());
  EventCounts counts = all;
  counts.events -= dropped_.events;
  counts.denied -= dropped_.denied;
  counts.lost += dropped_.lost;
  const Hash head = last_;
  Json seal = {{"job", job_id_},          {"head", HexOf(head)},     {"blocks", blocks_},
               {"events", counts.events}, {"denied", counts.denied}, {"lost", counts.lost},
               {"stops", counts.stops},   {"time_ns", NowNs()}};
  if (interrupted_) seal["interrupted"] = true;
  if (counts.entry_only) seal["completeness"] = Completeness(counts);
  const std::string text = seal.dump();
  CARREL_TRY(OpenKey());
  CARREL_ASSIGN(Signature signature, key_->Sign(text));
  CARREL_TRY(WriteText(BlockKind::kSeal, SealText(text, signature.key_id, signature.hex)));
  if (::ftruncate(fd_.get(), static_cast<off_t>(bytes_)) != 0)  // gives back what was allocated
    return SysFault(path_, "ftruncate the audit log");
  if (::fsync(fd_.get()) != 0 || ::fsync(dir_.get()) != 0)
    return SysFault(path_, "fsync the audit log");
  fd_.reset();
  return AuditSeal{HexOf(head), path_, counts, bytes_};
}

void EndRecording(AuditLog& log, const EventCounts& counts) {
  log.Settle();
  // What cannot be written is counted by the log, and its Finish says what went wrong.
  (void)log
      .Append(kRecordedRecord, {{"events", counts.events},
                                {"denied", counts.denied},
                                {"lost", counts.lost},
                                {"stops", counts.stops}})
      .has_value();
  (void)log.Flush().has_value();
}

}  // namespace carrel
