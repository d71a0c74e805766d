// Reads a log block by block, and checks the chain on the way.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "audit/block.h"
#include "audit/block_decoder.h"
#include "audit/event.h"
#include "audit/event_source.h"
#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// How a log ended, as far as it was read.
enum class LogEnd {
  kOpen,       ///< there is more to read
  kSealed,     ///< by a seal; nothing follows it
  kUnsealed,   ///< after a whole block, without a seal: see LogStanding
  kTruncated,  ///< inside a block
  kAltered,    ///< a block is not the one that was written there
};

/// What is true of a log that was read to its end.
enum class LogStanding {
  kSealed,
  kRunning,  ///< a carrel writes it now: the kernel says so, by the lock that it holds
  kWaiting,  ///< for the next phase of its job, which another carrel will do
  kCutOff,   ///< nobody writes it and it ends early: carrel was killed, or the end was cut off
  kAltered,
};

/// "sealed", "running", "waiting", "truncated", "altered".
const char* StandingName(LogStanding standing);
/// A sentence about a log that has no seal.
const char* StandingText(LogStanding standing);

/// The kinds of two records by which a log says how far it is: nothing is missing after them.
inline constexpr const char* kPauseRecord = "paused";       ///< another carrel will go on
inline constexpr const char* kRecordedRecord = "recorded";  ///< the source has no more events

/// What the seal says.
struct SealInfo {
  std::string text;  ///< the signed JSON
  std::string key_id;
  std::string signature;
  std::string head;
  uint64_t blocks = 0;
  EventCounts counts;
  bool interrupted = false;  ///< carrel was killed over the log; another has sealed it
};

/// The JSON of a seal block: exactly these bytes, for nothing after it vouches for them.
std::string SealText(const std::string& seal, const std::string& key_id,
                     const std::string& signature);

/// The id of the log whose first block has this hash.
uint64_t LogId(const Hash& first);

class LogReader {
 public:
  static Result<LogReader> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::string& job() const { return job_; }
  const Json& start() const { return start_; }
  /// Nanoseconds since the epoch of a time of CLOCK_MONOTONIC.
  int64_t RealTime(int64_t monotonic_ns) const;

  /// Reads the next event block; false at the end, which `end` and `why` then describe.
  Result<bool> NextBlock();
  /// After kUnsealed or kTruncated: the log may have grown, so that NextBlock is worth a try.
  void Resume() {
    if (end_ == LogEnd::kUnsealed || end_ == LogEnd::kTruncated) end_ = LogEnd::kOpen;
  }

  /// The next event block whose header `wanted` accepts (it sees the header's times, counts,
  /// syscall numbers and filter, see block_filter.h). Of the others only the header is read, so
  /// this is for queries: bytes that were passed over were not checked, neither against the chain
  /// nor against the seal. The blocks that are returned were, against the next block's header.
  Result<bool> NextBlockIf(const std::function<bool(const BlockHeader&)>& wanted);
  const BlockHeader& header() const { return header_; }
  std::string_view payload() const { return std::string_view(block_).substr(header_.header_bytes); }
  /// The decoder of the block, opened on first use.
  Result<bool> NextEvent(AuditEvent& event);

  LogEnd end() const { return end_; }
  /// Once the end was reached.
  LogStanding Standing() const;
  /// What was found where, for `kTruncated` and `kAltered`.
  const std::string& why() const { return why_; }
  const SealInfo& seal() const { return seal_; }     ///< after kSealed
  std::string head() const { return HexOf(last_); }  ///< of the last good block
  uint64_t id() const { return id_; }                ///< as AuditLog::id
  const Hash& last_hash() const { return last_; }
  uint64_t blocks() const { return blocks_; }
  uint64_t offset() const { return offset_; }  ///< bytes read well

 private:
  bool ReadBlock();
  bool ReadFinalBlock();
  bool HasWriter() const;
  bool EndsInPause() const;
  bool PassOver(const std::function<bool(const BlockHeader&)>& wanted, bool* passed);
  bool Stop(LogEnd end, std::string why);
  bool ReadStart();
  bool ReadSeal();

  UniqueFd fd_;
  std::string path_;
  std::string job_;
  Json start_;
  int64_t clock_offset_ = 0;
  BlockHeader header_;
  std::string block_;
  Hash last_{};
  bool last_known_ = true;   ///< false after a block that was passed over
  bool has_writer_ = false;  ///< when the end was reached
  uint64_t id_ = 0;
  uint64_t blocks_ = 0;
  uint64_t offset_ = 0;
  uint64_t last_at_ = 0;  ///< where the last block begins
  LogEnd end_ = LogEnd::kOpen;
  std::string why_;
  SealInfo seal_;
  std::unique_ptr<BlockDecoder> decoder_;
  bool opened_ = false;
};

}  // namespace carrel
