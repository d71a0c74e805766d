#include "audit/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "audit/event_source.h"
#include "base/fs.h"

namespace carrel {
namespace {

// As many bytes as there are, up to `count`, from `offset`.
Result<size_t> ReadAt(int fd, char* to, size_t count, uint64_t offset) {
  size_t done = 0;
  while (done < count) {
    ssize_t n = ::pread(fd, to + done, count - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("", "read the audit log");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

uint64_t Number(const Json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_number_unsigned() ? at->get<uint64_t>() : 0;
}

std::string TextMember(const Json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

std::string SealText(const std::string& seal, const std::string& key_id,
                     const std::string& signature) {
  return Json{{"seal", seal}, {"key", key_id}, {"signature", signature}}.dump();
}

const char* StandingName(LogStanding standing) {
  static constexpr const char* kNames[] = {"sealed", "running", "waiting", "truncated", "altered"};
  return kNames[static_cast<size_t>(standing)];
}

const char* StandingText(LogStanding standing) {
  switch (standing) {
    case LogStanding::kRunning:
      return "it has no seal yet: the job runs, and what follows is not in it";
    case LogStanding::kWaiting:
      return "it has no seal yet: the job waits for its next phase";
    case LogStanding::kCutOff:
      return "it ends early and has no seal: carrel was killed, or its end was cut off";
    default:
      return "";
  }
}

uint64_t LogId(const Hash& first) {
  uint64_t id = 0;
  for (size_t i = 0; i < sizeof id; ++i) id = id << 8 | first.at(i);
  return id | 1;
}

Result<LogReader> LogReader::Open(const std::string& path) {
  LogReader reader;
  reader.path_ = path;
  auto fd = OpenPath(path, O_RDONLY | O_NONBLOCK);  // not waiting for the writer of a FIFO
  if (!fd && fd.error().code == ENOENT)
    return BadInput(path, "there is no such audit log",
                    "`carrel audit list` shows those there are");
  if (!fd) return std::move(fd).error();
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0) return SysFault(path, "fstat");
  if (!S_ISREG(info.st_mode)) return Fault(path, "is no regular file");
  reader.fd_ = std::move(*fd);
  if (!reader.ReadFinalBlock()) return reader;
  reader.id_ = LogId(reader.last_);
  if (!reader.ReadStart())
    reader.Stop(LogEnd::kAltered, "the first block does not say what log this is");
  return reader;
}

bool LogReader::Stop(LogEnd end, std::string why) {
  end_ = end;
  why_ = std::move(why);
  return false;
}

// Reads one block and checks that it is the next of the chain.
bool LogReader::ReadBlock() {
  const std::string place =
      "block " + std::to_string(blocks_) + " at byte " + std::to_string(offset_) + ": ";
  char fixed[12];
  auto got = ReadAt(fd_.get(), fixed, sizeof fixed, offset_);
  if (!got) return Stop(LogEnd::kTruncated, place + got.error().ToString());
  if (*got == 0) return Stop(LogEnd::kUnsealed, "");
  if (*got < sizeof fixed) return Stop(LogEnd::kTruncated, place + "the file ends inside it");
  ByteReader sizes({fixed, sizeof fixed});
  if (sizes.Fixed(4) != kBlockMagic) return Stop(LogEnd::kAltered, place + "no block begins here");
  const uint64_t total = sizes.Fixed(4) + sizes.Fixed(4);
  if (total > kMaxBlockBytes + (1u << 20)) return Stop(LogEnd::kAltered, place + "impossible size");
  struct stat info {};
  // Memory only for what is there.
  if (::fstat(fd_.get(), &info) != 0 || offset_ + total > static_cast<uint64_t>(info.st_size))
    return Stop(LogEnd::kTruncated, place + "the file ends inside it");
  block_.resize(total);
  got = ReadAt(fd_.get(), block_.data(), total, offset_);
  if (!got || *got < total) return Stop(LogEnd::kTruncated, place + "the file ends inside it");
  auto header = ReadBlockHeader(block_);
  if (!header) return Stop(LogEnd::kAltered, place + header.error().what);
  if (header->header_bytes + header->payload_bytes != total || header->index != blocks_)
    return Stop(LogEnd::kAltered,
                place + "it says that it is block " + std::to_string(header->index));
  if (last_known_ && header->previous != last_)
    return Stop(LogEnd::kAltered, place + "it does not follow the block before it");
  header_ = std::move(*header);
  last_ = HashBytes(block_);
  last_known_ = true;
  ++blocks_;
  last_at_ = offset_;
  offset_ += total;
  opened_ = false;
  return true;
}

// A block, or an end that is the end: what a writer wrote just before it let go is read too.
bool LogReader::ReadFinalBlock() {
  for (bool again = false;; again = true) {
    if (ReadBlock()) return true;
    if (end_ == LogEnd::kAltered) return false;
    has_writer_ = HasWriter();
    if (has_writer_ || again) return false;
    end_ = LogEnd::kOpen;
  }
}

bool LogReader::HasWriter() const {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 1;
  return ::fcntl(fd_.get(), F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

// Is the last row a record that says so? The last block may have been passed over.
bool LogReader::EndsInPause() const {
  std::string bytes(offset_ - last_at_, '\0');
  auto got = ReadAt(fd_.get(), bytes.data(), bytes.size(), last_at_);
  if (!got || *got < bytes.size()) return false;
  const auto header = ReadBlockHeader(bytes);
  if (!header || header->kind != BlockKind::kEvents) return false;
  BlockDecoder decoder;
  if (!decoder.Open(*header, std::string_view(bytes).substr(header->header_bytes))) return false;
  AuditEvent event;
  std::string last;
  for (;;) {
    const auto row = decoder.Next(event);
    if (!row) return false;
    if (!*row) break;
    last = event.kind == EventKind::kRecord ? event.record : "";
  }
  const auto record = ParseJson(last, path_);
  return record && record->is_object() && TextMember(*record, "kind") == kPauseRecord;
}

LogStanding LogReader::Standing() const {
  if (end_ == LogEnd::kSealed) return LogStanding::kSealed;
  if (end_ == LogEnd::kAltered) return LogStanding::kAltered;
  if (has_writer_) return LogStanding::kRunning;
  return end_ == LogEnd::kUnsealed && EndsInPause() ? LogStanding::kWaiting : LogStanding::kCutOff;
}

bool LogReader::ReadStart() {
  std::string text;
  if (header_.kind != BlockKind::kStart || !ReadColumn(header_, payload(), kColOther, text))
    return false;
  auto start = ParseJson(text, path_);
  if (!start || !start->is_object()) return false;
  start_ = std::move(*start);
  if (Number(start_, "format") != kLogFormat) return false;
  job_ = TextMember(start_, "job");
  clock_offset_ = static_cast<int64_t>(Number(start_, "time_ns") - Number(start_, "monotonic_ns"));
  return true;
}

bool LogReader::ReadSeal() {
  std::string text;
  if (!ReadColumn(header_, payload(), kColOther, text)) return false;
  auto sealed = ParseJson(text, path_);
  if (!sealed || !sealed->is_object()) return false;
  seal_.text = TextMember(*sealed, "seal");
  seal_.key_id = TextMember(*sealed, "key");
  seal_.signature = TextMember(*sealed, "signature");
  auto seal = ParseJson(seal_.text, path_);
  if (!seal || !seal->is_object()) return false;
  seal_.head = TextMember(*seal, "head");
  seal_.blocks = Number(*seal, "blocks");
  seal_.interrupted = seal->value("interrupted", Json()) == true;
  seal_.counts = {Number(*seal, "events"), Number(*seal, "denied"), Number(*seal, "lost"),
                  Number(*seal, "stops"), TextMember(*seal, "completeness") == "entry_only"};
  // No block follows that would hold this one's hash: it must be, byte for byte, the block that its
  // signed content makes.
  BlockHeader expected;
  expected.kind = BlockKind::kSeal;
  expected.index = header_.index;
  expected.previous = header_.previous;
  BlockWriter writer;
  Hash hash;
  const std::string canonical = SealText(seal_.text, seal_.key_id, seal_.signature);
  auto block = writer.Write(expected, {{uint8_t{kColOther}, canonical}}, &hash);
  return block && *block == block_ && TextMember(*seal, "job") == job_;
}

int64_t LogReader::RealTime(int64_t monotonic_ns) const {
  return static_cast<int64_t>(static_cast<uint64_t>(monotonic_ns) +
                              static_cast<uint64_t>(clock_offset_));
}

Result<bool> LogReader::NextBlock() {
  if (end_ != LogEnd::kOpen) return false;
  if (!ReadFinalBlock()) return false;
  if (header_.kind == BlockKind::kEvents) return true;
  if (header_.kind != BlockKind::kSeal || !ReadSeal())
    return Stop(LogEnd::kAltered, "the block before byte " + std::to_string(offset_) +
                                      " is not one that belongs here");
  if (seal_.head != HexOf(header_.previous) || seal_.blocks != blocks_ - 1)
    return Stop(LogEnd::kAltered, "the seal is that of another log");
  char one;
  auto more = ReadAt(fd_.get(), &one, 1, offset_);
  if (!more || *more != 0)
    return Stop(LogEnd::kAltered, "something follows the seal, at byte " + std::to_string(offset_));
  return Stop(LogEnd::kSealed, "");
}

// Whether the block at hand is one to read: all but event blocks that `wanted` does not want. What
// is wrong with it, if anything, ReadBlock finds.
bool LogReader::PassOver(const std::function<bool(const BlockHeader&)>& wanted, bool* passed) {
  *passed = false;
  if (end_ != LogEnd::kOpen) return false;
  std::string bytes(4096, '\0');
  auto got = ReadAt(fd_.get(), bytes.data(), bytes.size(), offset_);
  if (!got) return false;
  const size_t length = BlockHeaderBytes(std::string_view(bytes).substr(0, *got));
  if (length > bytes.size() && length <= (1u << 20)) {
    bytes.resize(length);
    got = ReadAt(fd_.get(), bytes.data(), bytes.size(), offset_);
  }
  auto header = got ? ReadBlockHeader(std::string_view(bytes).substr(0, *got)) : BlockHeader();
  if (!header || header->kind != BlockKind::kEvents || header->index != blocks_) return true;
  const uint64_t end = offset_ + header->header_bytes + header->payload_bytes;
  struct stat info {};
  if ((last_known_ && header->previous != last_) || ::fstat(fd_.get(), &info) != 0 ||
      end > static_cast<uint64_t>(info.st_size) || wanted(*header))
    return true;
  *passed = true;
  last_at_ = offset_;
  offset_ = end;
  ++blocks_;
  last_known_ = false;
  return true;
}

Result<bool> LogReader::NextBlockIf(const std::function<bool(const BlockHeader&)>& wanted) {
  for (bool passed = true; passed;)
    if (!PassOver(wanted, &passed)) break;
  return NextBlock();
}

Result<bool> LogReader::NextEvent(AuditEvent& event) {
  if (!opened_) {
    if (decoder_ == nullptr) decoder_ = std::make_unique<BlockDecoder>();
    CARREL_TRY(decoder_->Open(header_, payload()));
    opened_ = true;
  }
  return decoder_->Next(event);
}

}  // namespace carrel
