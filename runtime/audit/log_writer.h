// The AuditLog that is a file. See FORMAT.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/audit_log.h"
#include "audit/block.h"
#include "audit/block_encoder.h"
#include "audit/exec_digests.h"
#include "audit/host_key.h"
#include "audit/log_reader.h"
#include "audit/recorder.h"

namespace carrel {

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

  /// Takes the lock that says that the log is being written; kRefused when somebody has it.
  Result<void> Lock();
  Result<void> Start();
  /// Goes on after what `reader` has read.
  void ContinueAfter(const LogReader& reader);
  /// Its writer was killed: the seal will say so.
  void SetInterrupted() { interrupted_ = true; }
  /// Of each raw string of an event, nothing is kept: what is secret in it is not known.
  void WithholdStrings() { withhold_ = true; }
  /// An event that is in the log already: its task, and what waits for its call, are remembered.
  Result<void> Reread(const void* event, size_t bytes);
  void RememberTask(const AuditEvent& event) { recorder_.Remember(event); }

  uint64_t id() const override { return id_; }
  bool redacts() const override { return redactor_ != nullptr; }
  void TellBlocks(const std::function<void(uint64_t)>& tell) override;
  void SetLimit(uint64_t bytes) override { limit_ = bytes; }
  void Redact(std::shared_ptr<const Redactor> redactor) override {
    redactor_ = std::move(redactor);
  }
  void SetRoot(UniqueFd root) override { digests_.SetRoot(std::move(root)); }
  void Settle() override { TakeDigests(true); }
  Result<void> Append(const std::string& kind, const Json& members) override;
  Result<void> AppendEvents(const void* events, size_t bytes) override;
  Result<void> Flush() override;
  Result<void> Pause() override;
  void WarmUp() override { (void)OpenKey().has_value(); }  // Finish reports what went wrong
  Result<AuditSeal> Finish(const EventCounts& counts) override;

 private:
  Result<void> OpenKey();
  Result<void> FlushIfDue();
  Result<void> CheckLimit();
  Result<void> Reserve(uint64_t bytes);
  void AddExecuted(std::vector<ExecutedFile> files);
  void TakeDigests(bool wait);
  const void* Redacted(const void* events, size_t bytes);
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
  uint64_t id_ = 0;  ///< from the hash of the first block
  std::function<void(uint64_t)> tell_;
  uint64_t bytes_ = 0;
  int64_t clock_shift_ = 0;  ///< from CLOCK_MONOTONIC now to that of the log's first block
  int64_t oldest_ns_ = 0;    ///< when the block that is being filled got its first row; 0: empty
  int64_t record_ns_ = 0;    ///< when it got its first record of carrel's own; 0: it has none
  size_t ring_bytes_ = 0;    ///< of the ring, that the block being filled stands for
  uint64_t allocated_ = 0;
  uint64_t limit_ = 0;
  bool limit_said_ = false;
  bool interrupted_ = false;
  bool withhold_ = false;
  bool gave_up_ = false;  ///< a write failed: no more events
  EventCounts dropped_;
};

}  // namespace carrel
