// Tasks: who they are, and how they are held while the log catches up.
#ifndef CARREL_AUDIT_BPF_TASK_H_
#define CARREL_AUDIT_BPF_TASK_H_

#include "state.h"

/// Holds the task's process when the ring is filling faster than it is read. The entry in `stopped`
/// is there before the signal (else a full map could leave a process held for ever) and again after
/// it (else a reader that came between would have let go too early).
///
/// A process that others wake again (SIGCONT) is held again at its next call. Where that is not
/// enough, because they do so all the time, it is killed before the ring has no room.
static __noinline int hold(struct TaskState *t, void *ring, struct SlotState *slot, __u64 waits) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  if (waits >= slot->kill_at || slot->lost) {
    if (bpf_send_signal(SIGKILL)) return 0;
    __sync_fetch_and_add(&slot->killed, 1);
    return 0;
  }
  struct JobEntry entry = {.slot = t->slot, .epoch = t->epoch};
  if (bpf_map_update_elem(&stopped, &tgid, &entry, BPF_ANY)) return 0;
  if (bpf_send_signal(SIGSTOP)) return 0;
  if (bpf_map_update_elem(&stopped, &tgid, &entry, BPF_ANY)) bpf_send_signal(SIGCONT);
  __sync_fetch_and_add(&slot->stops, 1);
  struct RawStop record = {.time_ns = bpf_ktime_get_ns(), .tgid = tgid};
  fill_head(&record.head, t, kRawStop, 0, sizeof record, waits);
  put(ring, slot, &record, sizeof record);
  return 0;
}

static __always_inline __u32 inner_id(struct pid *pid) {
  __u32 level = BPF_CORE_READ(pid, level);
  __u64 base = (__u64)pid + bpf_core_field_offset(struct pid, numbers);
  int nr = 0;
  bpf_probe_read_kernel(&nr, sizeof nr,
                        (void *)(base + (__u64)level * bpf_core_type_size(struct upid) +
                                 bpf_core_field_offset(struct upid, nr)));
  return nr;
}

static __noinline int put_task(struct TaskState *t, struct task_struct *task, void *ring,
                               struct SlotState *slot, __u64 flags_and_parent) {
  struct RawTask record = {.time_ns = bpf_ktime_get_ns()};
  fill_head(&record.head, t, kRawTask, flags_and_parent >> 32, sizeof record, 0);
  record.tgid = BPF_CORE_READ(task, tgid);
  record.inner_tid = inner_id(BPF_CORE_READ(task, thread_pid));
  record.inner_tgid = inner_id(BPF_CORE_READ(task, group_leader, thread_pid));
  record.parent = flags_and_parent;
  bpf_core_read(record.comm, sizeof record.comm, &task->comm);
  put(ring, slot, &record, sizeof record);
  return 0;
}

#endif  // CARREL_AUDIT_BPF_TASK_H_
