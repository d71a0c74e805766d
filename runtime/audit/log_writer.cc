#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "audit/audit_log.h"
#include "audit/block.h"
#include "audit/block_encoder.h"
#include "audit/exec_digests.h"
#include "audit/host_key.h"
#include "audit/log_reader.h"
#include "audit/raw_event.h"
#include "audit/recorder.h"
#include "base/clock.h"
#include "base/fs.h"

namespace carrel {
namespace {

// A block is written when it holds this much, or its first row is a second old: a crash then loses
// no more than that.
constexpr size_t kMaxRows = 32768;
constexpr size_t kMaxRawBytes = 8u << 20;
constexpr int64_t kMaxAgeNs = 1'000'000'000;
// Room behind the last block, so that a full disk still takes the reason, the end and the seal; and
// how much is allocated at a time.
constexpr uint64_t kReserve = 64u << 10;
constexpr uint64_t kAllocate = 1u << 20;

// The strings of one raw record. What the kernel cut off may have been the end of a secret.
void RedactRecord(const Redactor& redactor, char* record, const RawHead& head) {
  const auto within = [&](size_t from, size_t size, bool cut) {
    if (from < head.size)
      redactor.Overwrite(record + from, std::min<size_t>(size, head.size - from), cut);
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

void RedactEvents(const Redactor& redactor, std::string& events) {
  for (size_t at = 0; at + sizeof(RawHead) <= events.size();) {
    RawHead head;
    std::memcpy(&head, &events[at], sizeof head);
    if (head.size < sizeof head || head.size > events.size() - at) return;
    RedactRecord(redactor, &events[at], head);
    at += head.size;
  }
}

class LogWriter final : public AuditLog {
 public:
  LogWriter(std::string state_dir, std::string job_id, std::string path, UniqueFd dir, UniqueFd fd)
      : state_dir_(std::move(state_dir)),
        job_id_(std::move(job_id)),
        path_(std::move(path)),
        dir_(std::move(dir)),
        fd_(std::move(fd)),
        recorder_(encoder_),
        digests_(state_dir_ + "/exec-digests") {}

  Result<void> Start();
  /// Goes on after what `reader` has read.
  void ContinueAfter(const LogReader& reader);
  void SetLimit(uint64_t bytes) override { limit_ = bytes; }
  void Redact(std::shared_ptr<const Redactor> redactor) override {
    redactor_ = std::move(redactor);
  }
  void SetRoot(UniqueFd root) override { digests_.SetRoot(std::move(root)); }
  void Settle() override { TakeDigests(true); }
  Result<void> Append(const std::string& kind, const Json& members) override;
  Result<void> AppendEvents(const void* events, size_t bytes) override;
  Result<void> Flush() override;
  Result<void> Sync() override;
  void WarmUp() override { (void)OpenKey().has_value(); }  // Finish reports what went wrong
  Result<AuditSeal> Finish(const EventCounts& counts) override;

 private:
  Result<void> OpenKey();
  Result<void> FlushIfDue();
  Result<void> CheckLimit();
  Result<void> Reserve(uint64_t bytes);
  void TakeDigests(bool wait);
  void GiveUp(const BlockHeader& dropped, const Error& error);
  Result<void> WriteBlock(BlockHeader header,
                          const std::vector<std::pair<uint8_t, std::string_view>>& columns);
  Result<void> WriteText(BlockKind kind, const std::string& text);

  const std::string state_dir_;
  const std::string job_id_;
  const std::string path_;
  UniqueFd dir_;
  UniqueFd fd_;
  BlockWriter writer_;
  BlockEncoder encoder_;
  Recorder recorder_;
  ExecDigests digests_;
  std::shared_ptr<const Redactor> redactor_;
  std::string redacted_;  ///< what is being appended
  std::optional<HostKey> key_;
  Hash last_{};
  uint64_t blocks_ = 0;
  uint64_t bytes_ = 0;
  int64_t clock_shift_ = 0;  ///< from CLOCK_MONOTONIC now to that of the log's first block
  int64_t oldest_ns_ = 0;    ///< when the block that is being filled got its first row; 0: empty
  uint64_t allocated_ = 0;
  uint64_t limit_ = 0;
  bool limit_said_ = false;
  bool gave_up_ = false;  ///< a write failed: no more events
  EventCounts dropped_;
};

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
  if (redactor_ != nullptr) {
    redacted_.assign(static_cast<const char*>(events), bytes);
    RedactEvents(*redactor_, redacted_);
    events = redacted_.data();
  }
  CARREL_TRY(recorder_.Add(static_cast<const char*>(events), bytes));
  if (recorder_.HasExecuted())
    for (ExecutedFile& file : recorder_.TakeExecuted()) digests_.Add(std::move(file));
  if (encoder_.rows() >= kMaxRows || encoder_.raw_bytes() >= kMaxRawBytes) return Flush();
  return {};
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
  if (encoder_.rows() >= kMaxRows || encoder_.raw_bytes() >= kMaxRawBytes) return Flush();
  const int64_t now = MonotonicNs();
  if (oldest_ns_ == 0) oldest_ns_ = now;
  return now - oldest_ns_ >= kMaxAgeNs ? Flush() : Result<void>();
}

Result<void> LogWriter::Flush() {
  if (encoder_.rows() == 0) return {};
  const BlockHeader header = encoder_.Header();
  auto written = WriteBlock(header, encoder_.Columns());
  encoder_.Reset();
  oldest_ns_ = 0;
  if (!written) GiveUp(header, written.error());
  return written;
}

Result<void> LogWriter::Sync() {
  CARREL_TRY(Flush());
  if (::fsync(fd_.get()) != 0) return SysFault(path_, "fsync the audit log");
  return {};
}

void LogWriter::ContinueAfter(const LogReader& reader) {
  last_ = reader.last_hash();
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

}  // namespace

Result<std::unique_ptr<AuditLog>> AuditLog::Create(const std::string& state_dir,
                                                   const std::string& job_id) {
  if (!IsSafeComponent(job_id) || job_id.size() > 200)
    return BadInput("audit", "the job's id cannot be the name of a log");
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(state_dir + "/audit", 0700));
  const std::string name = job_id + ".carrel-log";
  auto fd = OpenBeneath(dir.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0600);
  const std::string path = state_dir + "/audit/" + name;
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.code == EEXIST)
      return BadInput(path, "this job has an audit log already", "Give the run another id");
    error.where = path;
    error.what = "make the audit log";
    return error;
  }
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(dir), std::move(*fd));
  CARREL_TRY(log->Start());
  return std::unique_ptr<AuditLog>(std::move(log));
}

Result<ResumedLog> AuditLog::Resume(const std::string& state_dir, const std::string& job_id) {
  if (!IsSafeComponent(job_id)) return BadInput("audit", "the job's id cannot be a log's name");
  const std::string path = state_dir + "/audit/" + job_id + ".carrel-log";
  CARREL_ASSIGN(LogReader reader, LogReader::Open(path));
  ResumedLog resumed;
  for (;;) {
    CARREL_ASSIGN(const bool more, reader.NextBlock());
    if (!more) break;
    resumed.counts.events += reader.header().calls;
    resumed.counts.denied += reader.header().denied;
  }
  if (reader.end() == LogEnd::kSealed) {
    resumed.counts = reader.seal().counts;
    resumed.seal = AuditSeal{reader.seal().head, path, resumed.counts, reader.offset()};
    return resumed;
  }
  const bool begun = reader.blocks() > 0;  // else its writer died over the first block
  if (reader.end() == LogEnd::kAltered || (begun && reader.job() != job_id))
    return Refused(path, "the audit log was altered: " + reader.why());
  CARREL_ASSIGN(UniqueFd dir, OpenPath(state_dir + "/audit", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY | O_APPEND | O_NOFOLLOW));
  if (::ftruncate(fd.get(), static_cast<off_t>(reader.offset())) != 0)
    return SysFault(path, "ftruncate");
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(dir), std::move(fd));
  if (begun)
    log->ContinueAfter(reader);
  else
    CARREL_TRY(log->Start());
  if (reader.end() == LogEnd::kTruncated)
    CARREL_TRY(log->Append("interrupted", {{"cut_off", reader.why()}}));
  resumed.log = std::move(log);
  return resumed;
}

}  // namespace carrel
