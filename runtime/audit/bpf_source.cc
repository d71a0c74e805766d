#include <bpf/bpf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "audit/audit_log.h"
#include "audit/bpf_objects.h"
#include "audit/event_source.h"
#include "audit/raw_event.h"
#include "audit/ring.h"
#include "base/clock.h"
#include "base/fs.h"

namespace carrel {
namespace {

// Marks of the ring, by measurement: waking the reader early keeps it ahead. A reader that sees
// the next mark passed freezes the cgroup, which the action neither sees nor can undo. At the stop
// mark, when the reader does not come to it, the programs hold processes themselves, with SIGSTOP;
// what is above must hold what every task may still write before its next return to user space.
// At the last mark they kill.
constexpr uint32_t kWakeAt = CARREL_RING_BYTES / 8;
constexpr uint32_t kFreezeAt = CARREL_RING_BYTES / 4;
constexpr uint32_t kStopAt = CARREL_RING_BYTES / 2;
constexpr uint32_t kKillAt = CARREL_RING_BYTES / 16 * 15;
// Between looks at the marks.
constexpr size_t kStep = CARREL_RING_BYTES / 16;

constexpr size_t kPresentBytes = sizeof(__u64) * (CARREL_BUCKETS + 1);

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
  Result<void> Drain(AuditLog& log) override;
  EventCounts counts() const override { return counts_; }
  Result<EventCounts> Finish(AuditLog& log) override;

 private:
  Result<void> TakeSlot();
  Result<void> Arm(uint64_t cgroup_id);
  Result<bool> Consume(AuditLog& log, size_t max_bytes);
  Result<bool> ConsumeAll(AuditLog& log);
  Result<void> Freeze(AuditLog& log);
  Result<void> Thaw();
  Result<void> CheckLoss();
  void Release();
  void Continue();
  /// Tells the programs that there is one job more (or less).
  void CountJob(uint64_t cgroup_id, __u64 more);

  BpfObjects objects_;
  UniqueFd slot_lock_;
  UniqueFd epoll_;
  UniqueFd freezer_;  ///< cgroup.freeze
  bool frozen_ = false;
  Ring ring_;
  __u64* present_ = nullptr;  ///< see CARREL_BUCKETS
  SlotState* slots_ = nullptr;
  SlotState* slot_ = nullptr;
  uint32_t index_ = 0;
  uint32_t epoch_ = 0;
  uint64_t cgroup_ = 0;
  EventCounts counts_;
};

Result<std::unique_ptr<EventSource>> BpfSource::Attach(const std::string& state_dir,
                                                       uint64_t cgroup_id, int cgroup_fd) {
  auto source = std::make_unique<BpfSource>();
  CARREL_ASSIGN(source->objects_, OpenBpfObjects(state_dir));
  void* slots = ::mmap(nullptr, sizeof(SlotState) * CARREL_SLOTS, PROT_READ | PROT_WRITE,
                       MAP_SHARED, source->objects_.slots.get(), 0);
  if (slots == MAP_FAILED) return SysFault("audit", "map the BPF slots");
  source->slots_ = static_cast<SlotState*>(slots);
  void* present = ::mmap(nullptr, kPresentBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                         source->objects_.present.get(), 0);
  if (present == MAP_FAILED) return SysFault("audit", "map the BPF programs' count of jobs");
  source->present_ = static_cast<__u64*>(present);
  CARREL_TRY(source->TakeSlot());
  CARREL_TRY(source->Arm(cgroup_id));
  if (cgroup_fd >= 0) {
    CARREL_ASSIGN(source->freezer_, OpenBeneath(cgroup_fd, "cgroup.freeze", O_WRONLY));
  }
  return std::unique_ptr<EventSource>(std::move(source));
}

// A slot belongs to whoever holds the lock on its byte: a reader that dies gives it back.
Result<void> BpfSource::TakeSlot() {
  // An open file of its own: locks of one open file do not exclude each other.
  const std::string path = "/proc/self/fd/" + std::to_string(objects_.lock.get());
  slot_lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!slot_lock_) return SysFault("audit", "open the lock of the BPF slots");
  for (index_ = 0; index_ < CARREL_SLOTS; ++index_) {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = index_;
    range.l_len = 1;
    if (::fcntl(slot_lock_.get(), F_OFD_SETLK, &range) == 0) {
      slot_ = &slots_[index_];
      return {};
    }
    if (errno != EAGAIN && errno != EACCES) return SysFault("audit", "lock a BPF slot");
  }
  return Fault("audit", "all " + std::to_string(CARREL_SLOTS) + " BPF rings are in use",
               "Run fewer jobs at a time");
}

// Who dies on the way leaves a count that is too high: it costs the host's processes time, until
// the programs are unloaded. One that is too low would hide a job.
void BpfSource::CountJob(uint64_t cgroup_id, __u64 more) {
  for (const uint64_t place : {cgroup_id % CARREL_BUCKETS, uint64_t{CARREL_BUCKETS}})
    std::atomic_ref<__u64>(present_[place]).fetch_add(more);
}

Result<void> BpfSource::Arm(uint64_t cgroup_id) {
  // What a reader that died left behind. Its tasks write with another epoch.
  std::atomic_ref<__u32>(slot_->epoch).store(0);
  if (const uint64_t left = std::exchange(slot_->cgroup, 0); left != 0) {
    (void)::bpf_map_delete_elem(objects_.jobs.get(), &left);
    CountJob(left, -1ull);
  }

  CARREL_ASSIGN(UniqueFd ring, OpenRing(objects_, index_));
  CARREL_ASSIGN(ring_, Ring::Map(std::move(ring), CARREL_RING_BYTES));
  ring_.Clear();
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return SysFault("audit", "epoll_create1");
  // Edge triggered: readable after a wake-up by the programs, not as long as anything is there.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ring_.fd(), &event) != 0)
    return SysFault("audit", "epoll_ctl");

  epoch_ = slot_->last_epoch + 1;
  if (epoch_ == 0) epoch_ = 1;
  slot_->last_epoch = epoch_;
  slot_->wake_at = kWakeAt;
  slot_->stop_at = kStopAt;
  slot_->kill_at = kKillAt;
  slot_->armed = 0;
  slot_->lost = 0;
  slot_->stops = 0;
  slot_->killed = 0;
  slot_->woken = 0;
  CountJob(cgroup_id, 1);
  slot_->cgroup = cgroup_id;
  std::atomic_ref<__u32>(slot_->epoch).store(epoch_);
  JobEntry entry{index_, epoch_};
  if (::bpf_map_update_elem(objects_.jobs.get(), &cgroup_id, &entry, BPF_NOEXIST) != 0)
    return SysFault("audit", "enter the cgroup into the BPF map");
  cgroup_ = cgroup_id;
  return {};
}

Result<bool> BpfSource::Consume(AuditLog& log, size_t max_bytes) {
  return ring_.Read(max_bytes, [&](const char* bytes, size_t size) -> Result<void> {
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
  std::vector<uint32_t> held;
  uint32_t key = 0;
  const uint32_t* previous = nullptr;
  for (uint32_t next = 0;
       ::bpf_map_get_next_key(objects_.stopped.get(), previous, &next) == 0 && held.size() < 65536;
       key = next, previous = &key) {
    JobEntry entry{};
    if (::bpf_map_lookup_elem(objects_.stopped.get(), &next, &entry) == 0 && entry.slot == index_ &&
        entry.epoch == epoch_)
      held.push_back(next);
  }
  for (uint32_t tgid : held) {
    (void)::bpf_map_delete_elem(objects_.stopped.get(), &tgid);
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
                 epoch_,        0,        static_cast<uint32_t>(ring_.Waiting())};
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
    if (ring_.Waiting() >= kFreezeAt) CARREL_TRY(Freeze(log));
    CARREL_ASSIGN(const bool empty, Consume(log, kStep));
    if (empty) return true;
  }
  return false;
}

Result<void> BpfSource::CheckLoss() {
  counts_.lost = Load(slot_->lost);
  if (counts_.lost != 0)
    return Fault("audit", std::to_string(counts_.lost) + " events were lost",
                 "The action was killed: its log would not have been complete");
  if (std::atomic_ref<__u32>(slot_->killed).load() != 0) return RunawayFault();
  return {};
}

Result<void> BpfSource::Drain(AuditLog& log) {
  epoll_event event;
  (void)::epoll_wait(epoll_.get(), &event, 1, 0);
  std::atomic_ref<__u32>(slot_->woken).store(0);
  CARREL_ASSIGN(const bool empty, ConsumeAll(log));
  // Always, not only when the count of stops has grown: the entry comes before the count, and a
  // process that is held once too often would be held for ever.
  if (Load(slot_->stops) != 0) Continue();
  if (empty) CARREL_TRY(Thaw());
  CARREL_TRY(log.AppendEvents(nullptr, 0));
  return CheckLoss();
}

Result<EventCounts> BpfSource::Finish(AuditLog& log) {
  for (bool empty = false; !empty;) {
    CARREL_ASSIGN(empty, Consume(log, CARREL_RING_BYTES));
    Continue();
  }
  counts_.lost = Load(slot_->lost);
  // Not even the exec was seen: then the programs saw nothing at all.
  if (std::atomic_ref<__u32>(slot_->armed).load() == 0) counts_.lost = std::max(counts_.lost, 1ul);
  counts_.stops += Load(slot_->stops);
  counts_.runaway = counts_.lost == 0 && Load(slot_->killed) != 0;
  log.Settle();
  Release();
  return counts_;
}

void BpfSource::Release() {
  if (cgroup_ == 0) return;
  (void)Thaw().has_value();
  Continue();
  (void)::bpf_map_delete_elem(objects_.jobs.get(), &cgroup_);
  std::atomic_ref<__u32>(slot_->epoch).store(0);
  slot_->cgroup = 0;
  CountJob(cgroup_, -1ull);
  cgroup_ = 0;
}

BpfSource::~BpfSource() {
  if (slot_ != nullptr) Release();
  if (present_ != nullptr) ::munmap(present_, kPresentBytes);
  if (slots_ != nullptr) ::munmap(slots_, sizeof(SlotState) * CARREL_SLOTS);
}

}  // namespace

Result<std::unique_ptr<EventSource>> AttachBpfSource(const std::string& state_dir,
                                                     uint64_t cgroup_id, int cgroup_fd) {
  return BpfSource::Attach(state_dir, cgroup_id, cgroup_fd);
}

}  // namespace carrel
