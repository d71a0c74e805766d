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
  kUnsealed,   ///< after a whole block: the job runs, or carrel died
  kTruncated,  ///< inside a block
  kAltered,    ///< a block is not the one that was written there
};

/// What the seal says.
struct SealInfo {
  std::string text;  ///< the signed JSON
  std::string key_id;
  std::string signature;
  std::string head;
  uint64_t blocks = 0;
  EventCounts counts;
};

/// The JSON of a seal block: exactly these bytes, for nothing after it vouches for them.
std::string SealText(const std::string& seal, const std::string& key_id,
                     const std::string& signature);

class LogReader {
 public:
  static Result<LogReader> Open(const std::string& path);

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
  /// What was found where, for `kTruncated` and `kAltered`.
  const std::string& why() const { return why_; }
  const SealInfo& seal() const { return seal_; }     ///< after kSealed
  std::string head() const { return HexOf(last_); }  ///< of the last good block
  const Hash& last_hash() const { return last_; }
  uint64_t blocks() const { return blocks_; }
  uint64_t offset() const { return offset_; }  ///< bytes read well

 private:
  bool ReadBlock();
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
  bool last_known_ = true;  ///< false after a block that was passed over
  uint64_t blocks_ = 0;
  uint64_t offset_ = 0;
  LogEnd end_ = LogEnd::kOpen;
  std::string why_;
  SealInfo seal_;
  std::unique_ptr<BlockDecoder> decoder_;
  bool opened_ = false;
};

}  // namespace carrel
