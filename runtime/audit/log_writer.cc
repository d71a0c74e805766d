#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <optional>

#include "audit/audit_log.h"
#include "audit/block.h"
#include "audit/block_encoder.h"
#include "audit/host_key.h"
#include "audit/log_reader.h"
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

class LogWriter final : public AuditLog {
 public:
  LogWriter(std::string state_dir, std::string job_id, std::string path, UniqueFd fd)
      : state_dir_(std::move(state_dir)),
        job_id_(std::move(job_id)),
        path_(std::move(path)),
        fd_(std::move(fd)),
        recorder_(encoder_) {}

  Result<void> Start();
  /// Goes on after what `reader` has read.
  void ContinueAfter(const LogReader& reader);
  Result<void> Append(const std::string& kind, const Json& members) override;
  Result<void> AppendEvents(const void* events, size_t bytes) override;
  Result<void> Sync() override;
  void WarmUp() override { (void)OpenKey().has_value(); }  // Finish reports what went wrong
  Result<AuditSeal> Finish(const EventCounts& counts) override;

 private:
  Result<void> OpenKey();
  Result<void> FlushIfDue();
  Result<void> Flush();
  Result<void> WriteBlock(BlockHeader header,
                          const std::vector<std::pair<uint8_t, std::string_view>>& columns);
  Result<void> WriteText(BlockKind kind, const std::string& text);

  const std::string state_dir_;
  const std::string job_id_;
  const std::string path_;
  UniqueFd fd_;
  BlockWriter writer_;
  BlockEncoder encoder_;
  Recorder recorder_;
  std::optional<HostKey> key_;
  Hash last_{};
  uint64_t blocks_ = 0;
  uint64_t bytes_ = 0;
  int64_t clock_shift_ = 0;  ///< from CLOCK_MONOTONIC now to that of the log's first block
  int64_t oldest_ns_ = 0;    ///< when the block that is being filled got its first row; 0: empty
};

Result<void> LogWriter::Start() {
  struct utsname kernel {};
  (void)::uname(&kernel);
  Json start = {{"format", 1},
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
  CARREL_ASSIGN(std::string_view block, writer_.Write(header, columns, &last_));
  if (auto written = WriteAll(fd_.get(), block); !written) {
    Error error = std::move(written).error();
    error.where = path_;
    error.what = "write the audit log";
    error.hint = "The job cannot go on without its log";
    return error;
  }
  ++blocks_;
  bytes_ += block.size();
  return {};
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
  if (bytes == 0) return FlushIfDue();
  CARREL_TRY(recorder_.Add(static_cast<const char*>(events), bytes));
  if (encoder_.rows() >= kMaxRows || encoder_.raw_bytes() >= kMaxRawBytes) return Flush();
  return {};
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
  CARREL_TRY(WriteBlock(encoder_.Header(), encoder_.Columns()));
  encoder_.Reset();
  oldest_ns_ = 0;
  return {};
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

Result<AuditSeal> LogWriter::Finish(const EventCounts& counts) {
  CARREL_TRY(Flush());
  const Hash head = last_;
  Json seal = {{"job", job_id_},          {"head", HexOf(head)},     {"blocks", blocks_},
               {"events", counts.events}, {"denied", counts.denied}, {"lost", counts.lost},
               {"stops", counts.stops},   {"time_ns", NowNs()}};
  const std::string text = seal.dump();
  CARREL_TRY(OpenKey());
  CARREL_ASSIGN(Signature signature, key_->Sign(text));
  CARREL_TRY(WriteText(BlockKind::kSeal, SealText(text, signature.key_id, signature.hex)));
  if (::fsync(fd_.get()) != 0) return SysFault(path_, "fsync the audit log");
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
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(*fd));
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
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY | O_APPEND | O_NOFOLLOW));
  if (::ftruncate(fd.get(), static_cast<off_t>(reader.offset())) != 0)
    return SysFault(path, "ftruncate");
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(fd));
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
