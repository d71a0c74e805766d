#include <bpf/bpf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "audit/audit_log.h"
#include "audit/bpf_slot.h"
#include "audit/event_source.h"
#include "audit/raw_event.h"
#include "base/clock.h"
#include "base/fs.h"

namespace carrel {
namespace {

// A reader that finds this much waiting freezes the cgroup, which the action neither sees nor can
// undo; see bpf_slot.cc for the other marks.
constexpr uint32_t kFreezeAt = CARREL_RING_BYTES / 4;
// Between looks at the mark.
constexpr size_t kStep = CARREL_RING_BYTES / 16;

uint64_t Load(const __u64& shared) {
  return std::atomic_ref<const __u64>(shared).load(std::memory_order_relaxed);
}

class BpfSource final : public EventSource {
 public:
  static Result<std::unique_ptr<EventSource>> Attach(const std::string& state_dir,
                                                     uint64_t cgroup_id, int cgroup_fd);
  ~BpfSource() override;

  std::string name() const override { return "bpf"; }
  int poll_fd() const override { return epoll_.get(); }
  void RecordInto(AuditLog& log) override;
  Result<void> Drain(AuditLog& log) override;
  EventCounts counts() const override { return counts_; }
  Result<EventCounts> Finish(AuditLog& log) override;

 private:
  Result<void> WaitForRing();
  Result<bool> Consume(AuditLog& log, size_t max_bytes);
  Result<bool> ConsumeAll(AuditLog& log);
  Result<void> Freeze(AuditLog& log);
  Result<void> Thaw();
  Result<void> CheckLoss();
  void Release();
  void Continue();

  std::unique_ptr<BpfSlot> slot_;
  AuditLog* log_ = nullptr;  ///< that RecordInto named
  UniqueFd epoll_;
  UniqueFd freezer_;  ///< cgroup.freeze
  bool frozen_ = false;
  uint32_t epoch_ = 0;
  bool released_ = false;
  EventCounts counts_;
};

Result<std::unique_ptr<EventSource>> BpfSource::Attach(const std::string& state_dir,
                                                       uint64_t cgroup_id, int cgroup_fd) {
  auto source = std::make_unique<BpfSource>();
  CARREL_ASSIGN(BpfObjects objects, OpenBpfObjects(state_dir));
  CARREL_ASSIGN(source->slot_, BpfSlot::Take(std::move(objects)));
  CARREL_TRY(source->slot_->Arm(cgroup_id));
  source->epoch_ = source->slot_->state().epoch;
  CARREL_TRY(source->WaitForRing());
  if (cgroup_fd >= 0) {
    CARREL_ASSIGN(source->freezer_, OpenBeneath(cgroup_fd, "cgroup.freeze", O_WRONLY));
  }
  return std::unique_ptr<EventSource>(std::move(source));
}

Result<void> BpfSource::WaitForRing() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return SysFault("audit", "epoll_create1");
  // Edge triggered: readable after a wake-up by the programs, not as long as anything is there.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, slot_->ring().fd(), &event) != 0)
    return SysFault("audit", "epoll_ctl");
  return {};
}

// The slot knows from now on, block by block, how much of the ring is in the log: see
// left_behind.h.
void BpfSource::RecordInto(AuditLog& log) {
  log_ = &log;
  SlotState& state = slot_->state();
  state.withheld = log.redacts();
  log.TellBlocks([this](uint64_t blocks) { slot_->Mark(blocks); });
  std::atomic_ref<__u64>(state.log).store(log.id());
}

Result<bool> BpfSource::Consume(AuditLog& log, size_t max_bytes) {
  return slot_->ring().Read(max_bytes, [&](const char* bytes, size_t size) -> Result<void> {
    RawHead head;
    if (size < sizeof head) return Fault("audit", "a BPF record is too short");
    std::memcpy(&head, bytes, sizeof head);
    if (head.epoch != epoch_) return {};
    if (head.type == kRawCall) {
      ++counts_.events;
      if ((head.flags & kCallDenied) != 0) ++counts_.denied;
    }
    return log.AppendEvents(bytes, size);
  });
}

// Lets the processes go on that the programs held. The programs remove those that ended.
void BpfSource::Continue() {
  const int stopped = slot_->objects().stopped.get();
  std::vector<uint32_t> held;
  uint32_t key = 0;
  const uint32_t* previous = nullptr;
  for (uint32_t next = 0;
       ::bpf_map_get_next_key(stopped, previous, &next) == 0 && held.size() < 65536;
       key = next, previous = &key) {
    JobEntry entry{};
    if (::bpf_map_lookup_elem(stopped, &next, &entry) == 0 && entry.slot == slot_->index() &&
        entry.epoch == epoch_)
      held.push_back(next);
  }
  for (uint32_t tgid : held) {
    (void)::bpf_map_delete_elem(stopped, &tgid);
    (void)::kill(static_cast<pid_t>(tgid), SIGCONT);
  }
}

// Holds the whole cgroup: at its tasks' next return to user space, or at once where they wait. Not
// job control: no parent is told, and no signal ends it but SIGKILL.
Result<void> BpfSource::Freeze(AuditLog& log) {
  if (!freezer_ || frozen_) return {};
  if (::write(freezer_.get(), "1", 1) != 1) return SysFault("audit", "freeze the cgroup");
  frozen_ = true;
  ++counts_.stops;
  RawStop record{};
  record.head = {sizeof record, kRawStop, kStopFrozen,
                 epoch_,        0,        static_cast<uint32_t>(slot_->ring().Waiting())};
  record.time_ns = static_cast<uint64_t>(MonotonicNs());
  return log.AppendEvents(&record, sizeof record);
}

Result<void> BpfSource::Thaw() {
  if (!frozen_) return {};
  if (::write(freezer_.get(), "0", 1) != 1) return SysFault("audit", "thaw the cgroup");
  frozen_ = false;
  return {};
}

// One ring's worth at most, so that the supervisor sees to its other work under a flood; of a
// frozen action everything, as nothing of it would wake the reader again.
Result<bool> BpfSource::ConsumeAll(AuditLog& log) {
  for (size_t done = 0; frozen_ || done < CARREL_RING_BYTES; done += kStep) {
    if (slot_->ring().Waiting() >= kFreezeAt) CARREL_TRY(Freeze(log));
    CARREL_ASSIGN(const bool empty, Consume(log, kStep));
    if (empty) return true;
  }
  return false;
}

Result<void> BpfSource::CheckLoss() {
  counts_.lost = Load(slot_->state().lost);
  if (counts_.lost != 0)
    return Fault("audit", std::to_string(counts_.lost) + " events were lost",
                 "The action was killed: its log would not have been complete");
  if (std::atomic_ref<__u32>(slot_->state().killed).load() != 0) return RunawayFault();
  return {};
}

Result<void> BpfSource::Drain(AuditLog& log) {
  epoll_event event;
  (void)::epoll_wait(epoll_.get(), &event, 1, 0);
  std::atomic_ref<__u32>(slot_->state().woken).store(0);
  CARREL_ASSIGN(const bool empty, ConsumeAll(log));
  // Always, not only when the count of stops has grown: the entry comes before the count, and a
  // process that is held once too often would be held for ever.
  if (Load(slot_->state().stops) != 0) Continue();
  if (empty) CARREL_TRY(Thaw());
  CARREL_TRY(log.AppendEvents(nullptr, 0));
  return CheckLoss();
}

Result<EventCounts> BpfSource::Finish(AuditLog& log) {
  for (bool empty = false; !empty;) {
    CARREL_ASSIGN(empty, Consume(log, CARREL_RING_BYTES));
    Continue();
  }
  counts_.lost = Load(slot_->state().lost);
  // Not even the exec was seen: then the programs saw nothing at all.
  if (std::atomic_ref<__u32>(slot_->state().armed).load() == 0)
    counts_.lost = std::max(counts_.lost, 1ul);
  counts_.stops += Load(slot_->state().stops);
  counts_.runaway = counts_.lost == 0 && Load(slot_->state().killed) != 0;
  EndRecording(log, counts_);
  Release();
  return counts_;
}

void BpfSource::Release() {
  if (std::exchange(released_, true)) return;
  if (log_ != nullptr) log_->TellBlocks(nullptr);
  (void)Thaw().has_value();
  Continue();
  slot_->Disarm();
}

BpfSource::~BpfSource() {
  if (slot_ != nullptr) Release();
}

}  // namespace

Result<std::unique_ptr<EventSource>> AttachBpfSource(const std::string& state_dir,
                                                     uint64_t cgroup_id, int cgroup_fd) {
  return BpfSource::Attach(state_dir, cgroup_id, cgroup_fd);
}

}  // namespace carrel
