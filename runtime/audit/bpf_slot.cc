#include "audit/bpf_slot.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <utility>

namespace carrel {
namespace {

// Marks of the ring, by measurement: waking the reader early keeps it ahead. At the stop mark, when
// the reader does not come to it, the programs hold processes themselves, with SIGSTOP; what is
// above must hold what every task may still write before its next return to user space. At the last
// mark they kill.
constexpr uint32_t kWakeAt = CARREL_RING_BYTES / 8;
constexpr uint32_t kStopAt = CARREL_RING_BYTES / 2;
constexpr uint32_t kKillAt = CARREL_RING_BYTES / 16 * 15;

constexpr size_t kPresentBytes = sizeof(__u64) * (CARREL_BUCKETS + 1);
constexpr size_t kSlotBytes = sizeof(SlotState) * CARREL_SLOTS;

// FORMAT.md has them byte by byte.
static_assert(sizeof(SlotState) == 192 && offsetof(SlotState, cgroup) == 16 &&
              offsetof(SlotState, kill_at) == 28 && offsetof(SlotState, log) == 32 &&
              offsetof(SlotState, withheld) == 40 && offsetof(SlotState, lost) == 64 &&
              offsetof(SlotState, woken) == 80 && offsetof(SlotState, marks) == 128);

}  // namespace

Result<void> BpfSlot::Map() {
  void* slots =
      ::mmap(nullptr, kSlotBytes, PROT_READ | PROT_WRITE, MAP_SHARED, objects_.slots.get(), 0);
  if (slots == MAP_FAILED) return SysFault("audit", "map the BPF slots");
  slots_ = static_cast<SlotState*>(slots);
  void* present =
      ::mmap(nullptr, kPresentBytes, PROT_READ | PROT_WRITE, MAP_SHARED, objects_.present.get(), 0);
  if (present == MAP_FAILED) return SysFault("audit", "map the BPF programs' count of jobs");
  present_ = static_cast<__u64*>(present);
  // An open file of its own: locks of one open file do not exclude each other.
  const std::string path = "/proc/self/fd/" + std::to_string(objects_.lock.get());
  lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!lock_) return SysFault("audit", "open the lock of the BPF slots");
  return {};
}

BpfSlot::~BpfSlot() {
  if (present_ != nullptr) ::munmap(present_, kPresentBytes);
  if (slots_ != nullptr) ::munmap(slots_, kSlotBytes);
}

// A slot belongs to whoever holds the lock on its byte: a reader that dies gives it back.
Result<bool> BpfSlot::Lock(uint32_t index) {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = index;
  range.l_len = 1;
  index_ = index;
  if (::fcntl(lock_.get(), F_OFD_SETLK, &range) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return SysFault("audit", "lock a BPF slot");
}

Result<std::unique_ptr<BpfSlot>> BpfSlot::Take(BpfObjects objects) {
  std::unique_ptr<BpfSlot> slot(new BpfSlot(std::move(objects)));
  CARREL_TRY(slot->Map());
  // What is left behind can still be read into its log: that ring is taken when there is no other.
  for (const bool left_behind : {false, true}) {
    for (uint32_t index = 0; index < CARREL_SLOTS; ++index) {
      if ((slot->slots_[index].log != 0) != left_behind) continue;
      CARREL_ASSIGN(const bool locked, slot->Lock(index));
      if (locked) return slot;
    }
  }
  return Fault("audit", "all " + std::to_string(CARREL_SLOTS) + " BPF rings are in use",
               "Run fewer jobs at a time");
}

Result<std::unique_ptr<BpfSlot>> BpfSlot::TakeLeftBehind(const std::string& state_dir,
                                                         uint64_t log) {
  auto objects = FindBpfObjects(state_dir);
  if (!objects) return std::unique_ptr<BpfSlot>();
  std::unique_ptr<BpfSlot> slot(new BpfSlot(std::move(*objects)));
  CARREL_TRY(slot->Map());
  for (uint32_t index = 0; index < CARREL_SLOTS; ++index) {
    if (slot->slots_[index].log != log) continue;
    CARREL_ASSIGN(const bool locked, slot->Lock(index));
    if (!locked || slot->state().log != log) continue;
    CARREL_TRY(slot->OpenItsRing());
    return slot;
  }
  return std::unique_ptr<BpfSlot>();
}

// Who dies on the way leaves a count that is too high: it costs the host's processes time, until
// the programs are unloaded. One that is too low would hide a job.
void BpfSlot::CountJob(uint64_t cgroup_id, __u64 more) {
  for (const uint64_t place : {cgroup_id % CARREL_BUCKETS, uint64_t{CARREL_BUCKETS}})
    std::atomic_ref<__u64>(present_[place]).fetch_add(more);
}

Result<void> BpfSlot::OpenItsRing() {
  CARREL_ASSIGN(UniqueFd ring, OpenRing(objects_, index_));
  CARREL_ASSIGN(ring_, Ring::Map(std::move(ring), CARREL_RING_BYTES));
  return {};
}

Result<void> BpfSlot::Arm(uint64_t cgroup_id) {
  Disarm();  // what a reader that died left behind; its tasks write with another epoch
  CARREL_TRY(OpenItsRing());
  ring_.Clear();
  SlotState& slot = state();
  __u32 epoch = slot.last_epoch + 1;
  if (epoch == 0) epoch = 1;
  slot.last_epoch = epoch;
  slot.wake_at = kWakeAt;
  slot.stop_at = kStopAt;
  slot.kill_at = kKillAt;
  slot.armed = 0;
  slot.lost = 0;
  slot.stops = 0;
  slot.killed = 0;
  slot.woken = 0;
  slot.withheld = 0;
  std::fill(std::begin(slot.marks), std::end(slot.marks), BlockMark{});
  CountJob(cgroup_id, 1);
  slot.cgroup = cgroup_id;
  std::atomic_ref<__u32>(slot.epoch).store(epoch);
  const JobEntry entry{index_, epoch};
  if (::bpf_map_update_elem(objects_.jobs.get(), &cgroup_id, &entry, BPF_NOEXIST) == 0) return {};
  Error error = SysFault("audit", "enter the cgroup into the BPF map");
  slot.cgroup = 0;  // the entry is not this slot's
  CountJob(cgroup_id, -1ull);
  return error;
}

void BpfSlot::Mark(uint64_t blocks) {
  BlockMark& mark = state().marks[blocks % CARREL_MARKS];
  std::atomic_ref<__u64>(mark.blocks).store(0);
  std::atomic_ref<__u64>(mark.position).store(ring_.position());
  std::atomic_ref<__u64>(mark.blocks).store(blocks);
}

void BpfSlot::Disarm() {
  SlotState& slot = state();
  std::atomic_ref<__u64>(slot.log).store(0);
  if (const uint64_t cgroup = slot.cgroup; cgroup != 0) {
    (void)::bpf_map_delete_elem(objects_.jobs.get(), &cgroup);
    std::atomic_ref<__u32>(slot.epoch).store(0);
    slot.cgroup = 0;
    CountJob(cgroup, -1ull);
  }
  std::atomic_ref<__u32>(slot.epoch).store(0);
}

}  // namespace carrel
