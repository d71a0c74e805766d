// One of the slots of the BPF programs: a ring, and the state that its reader shares with them. All
// of it is the kernel's memory, found by its pins: it outlives a reader that is killed, and so does
// what the reader had not yet written into its log.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "audit/bpf_objects.h"
#include "audit/ring.h"

namespace carrel {

/// Who dies over a slot leaves `cgroup` and `log` set in its state.
class BpfSlot {
 public:
  /// A slot that nobody has, rather one that nobody has left behind.
  static Result<std::unique_ptr<BpfSlot>> Take(BpfObjects objects);
  /// The slot whose reader died over the log `log` (AuditLog::id), its ring as it was left; null
  /// when there is none (the host has restarted since, or another job has the ring).
  static Result<std::unique_ptr<BpfSlot>> TakeLeftBehind(const std::string& state_dir,
                                                         uint64_t log);
  BpfSlot(const BpfSlot&) = delete;
  BpfSlot& operator=(const BpfSlot&) = delete;
  ~BpfSlot();

  /// An empty ring, a new epoch, and the cgroup known to the programs: they write from now on.
  Result<void> Arm(uint64_t cgroup_id);
  /// The programs write no more, and the slot is nobody's.
  void Disarm();

  /// The log is about to get its block number `blocks`: all that was read of the ring is in it
  /// then.
  void Mark(uint64_t blocks);

  const BpfObjects& objects() const { return objects_; }
  SlotState& state() const { return slots_[index_]; }
  Ring& ring() { return ring_; }
  uint32_t index() const { return index_; }

 private:
  explicit BpfSlot(BpfObjects objects) : objects_(std::move(objects)) {}
  Result<void> Map();
  Result<bool> Lock(uint32_t index);
  Result<void> OpenItsRing();
  /// Tells the programs that there is one job more (or less).
  void CountJob(uint64_t cgroup_id, __u64 more);

  BpfObjects objects_;
  UniqueFd lock_;
  Ring ring_;
  __u64* present_ = nullptr;  ///< see CARREL_BUCKETS
  SlotState* slots_ = nullptr;
  uint32_t index_ = 0;
};

}  // namespace carrel
