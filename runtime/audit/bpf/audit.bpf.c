// The kernel side of the audit log: every syscall of every task in a job's cgroup, as records in
// the job's ring. Tracepoints only. A record that cannot be written is counted, never forgotten.
//
//   sys_enter           keep number, arguments and time in the task's own storage; write strings
//   sys_exit            write the call (no entry seen: the seccomp filter refused it)
//   sched_process_*     tasks made, programs executed, tasks gone (with the call they died in)
#include "data.h"
#include "file.h"
#include "state.h"
#include "task.h"

char kLicense[] SEC("license") = "Dual MIT/GPL";

/// Gives a task of a job its storage. Before the job's first exec only a task that tries one gets
/// it; afterwards every task in the cgroup does, however it came there.
static __noinline struct TaskState *adopt(struct task_struct *task, __u32 exec) {
  __u64 cgroup = bpf_get_current_cgroup_id();
  if (!is_present(cgroup % CARREL_BUCKETS)) return 0;
  struct JobEntry *job = bpf_map_lookup_elem(&jobs, &cgroup);
  if (!job) return 0;
  struct SlotState *slot = slot_of(job->slot, job->epoch);
  if (!slot || (!slot->armed && !exec)) return 0;
  struct TaskState *t =
      bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!t) {
    lose(slot);
    return 0;
  }
  t->slot = job->slot;
  t->epoch = job->epoch;
  t->tid = bpf_get_current_pid_tgid();
  t->bits = kBeforeExec;
  t->late = 0;
  return t;
}

/// The first record of a task that was in the cgroup before the recording began.
static __always_inline void found(struct TaskState *t, void *ring, struct SlotState *slot) {
  t->bits &= ~kBeforeExec;
  put_task(t, bpf_get_current_task_btf(), ring, slot, (__u64)kTaskFound << 32);
}

/// For a task that was there before the recording: makes it known if that has begun meanwhile.
static __noinline int begin_task(struct TaskState *t) {
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!slot || !ring || !slot->armed) return 0;
  found(t, ring, slot);
  return 1;
}

static __always_inline void put_call(struct TaskState *t, void *ring, struct SlotState *slot,
                                     long result, bool may_hold) {
  __u64 waits;
  __u64 wake = wake_flag(ring, slot, &waits);
  struct RawCall *call = bpf_ringbuf_reserve(ring, sizeof *call, 0);
  if (!call) {
    lose(slot);
  } else {
    fill_head(&call->head, t, kRawCall, t->call_flags, sizeof *call, t->nr);
    call->enter_ns = t->enter_ns;
    call->exit_ns = bpf_ktime_get_ns();
    call->result = result;
#pragma unroll
    for (int i = 0; i < 6; ++i) call->args[i] = t->args[i];
    bpf_ringbuf_submit(call, wake);
  }
  if (may_hold && (waits >= slot->stop_at || slot->lost)) hold(t, ring, slot, waits);
}

static __always_inline void keep_call(struct TaskState *t, struct pt_regs *regs, __u32 nr,
                                      __u8 flags) {
  struct task_struct *task = bpf_get_current_task_btf();
  t->nr = nr;
  t->enter_ns = bpf_ktime_get_ns();
  if (task->thread_info.status & TS_COMPAT) {
    flags |= kCallCompat;
    t->args[0] = (__u32)regs->bx;
    t->args[1] = (__u32)regs->cx;
    t->args[2] = (__u32)regs->dx;
    t->args[3] = (__u32)regs->si;
    t->args[4] = (__u32)regs->di;
    t->args[5] = (__u32)regs->bp;
  } else {
    t->args[0] = regs->di;
    t->args[1] = regs->si;
    t->args[2] = regs->dx;
    t->args[3] = regs->r10;
    t->args[4] = regs->r8;
    t->args[5] = regs->r9;
  }
  t->call_flags = flags;
  t->late = 0;
}

static __always_inline const volatile struct CallSpec *spec_of(const struct TaskState *t) {
  __u32 nr = t->nr;
  if (nr >= MAX_NR || (t->call_flags & kCallCompat)) return 0;
  return &specs[nr];
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_enter, struct pt_regs *regs, long nr) {
  if (!is_present(CARREL_BUCKETS)) return 0;
  struct task_struct *task = bpf_get_current_task_btf();
  struct TaskState *t = bpf_task_storage_get(&tasks, task, 0, 0);
  if (!t) {
    t = adopt(task, is_exec(nr));
    if (!t) return 0;
  }
  if (t->bits & kBeforeExec) {
    if (!begin_task(t) && !is_exec(nr)) return 0;
  }
  keep_call(t, regs, nr, 0);
  t->bits = (t->bits & kBeforeExec) | kInCall;
  const volatile struct CallSpec *spec = spec_of(t);
  if (!spec || !(spec->strings | spec->address | spec->bytes)) return 0;
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!slot || !ring) return 0;
  if (spec->strings) put_strings(t, ring, slot, spec->strings);
  if (spec->address | spec->bytes) put_rest(t, ring, slot, 0);
  return 0;
}

static __always_inline bool was_killed_by_filter(struct task_struct *task) {
  return BPF_CORE_READ(task, seccomp.mode) == SECCOMP_MODE_DEAD;
}

/// An exit whose entry was not seen: the filter's answer, or the end of a call that was entered
/// before the recording began (only the init can be in one).
static __always_inline void keep_unseen(struct TaskState *t, struct pt_regs *regs, bool fresh) {
  keep_call(t, regs, regs->orig_ax, fresh ? kCallNoEntry : kCallDenied);
  if (was_killed_by_filter(bpf_get_current_task_btf())) {
    t->bits |= kDeadSeen;
    t->call_flags |= kCallNoReturn;
  }
  const volatile struct CallSpec *spec = spec_of(t);
  if (!spec) return;
  t->late = spec->strings;
  // Not what only the kernel would have written.
  if (spec->bytes || (spec->address && !(spec->address & kAddressAtExit))) t->late |= kLateRest;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long result) {
  if (!is_present(CARREL_BUCKETS)) return 0;
  struct task_struct *task = bpf_get_current_task_btf();
  struct TaskState *t = bpf_task_storage_get(&tasks, task, 0, 0);
  bool fresh = !t;
  if (!t) {
    t = adopt(task, 0);
    if (!t) return 0;
  }
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  if (!slot) return 0;
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!ring) return 0;
  if (t->bits & kBeforeExec) {
    // An exec that failed, or one of its neighbours; not yet the job.
    if (!slot->armed || (t->bits & kInCall)) {
      t->bits &= ~kInCall;
      return 0;
    }
    found(t, ring, slot);
    fresh = true;
  }
  if (t->bits & kForkReturn) {
    t->bits &= ~kForkReturn;
    __u64 waits = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
    if (waits >= slot->stop_at) hold(t, ring, slot, waits);
    return 0;
  }
  if (!(t->bits & kInCall)) keep_unseen(t, regs, fresh);
  t->bits &= ~kInCall;
  const volatile struct CallSpec *spec = spec_of(t);
  if (spec) {
    if (t->late && !(is_exec(t->nr) && result == 0)) put_strings(t, ring, slot, t->late | 0x80);
    if ((t->late & kLateRest) ||
        ((spec->address & kAddressAtExit) && result >= 0 && !(t->call_flags & kCallDenied)))
      put_rest(t, ring, slot, 1);
    if (is_exec(t->nr) && result < 0) put_asked_argv(t, ring, slot);
    if (spec->opens && result >= 0 && !(t->call_flags & kCallDenied))
      put_opened(t, ring, slot, result);
  }
  put_call(t, ring, slot, t->call_flags & kCallNoReturn ? 0 : result, true);
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child) {
  struct TaskState *p = bpf_task_storage_get(&tasks, parent, 0, 0);
  if (!p || (p->bits & kBeforeExec)) return 0;
  struct SlotState *slot = slot_of(p->slot, p->epoch);
  if (!slot) return 0;
  void *ring = bpf_map_lookup_elem(&rings, &p->slot);
  if (!ring) return 0;
  struct TaskState *t = bpf_task_storage_get(&tasks, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!t) {
    lose(slot);
    return 0;
  }
  t->slot = p->slot;
  t->epoch = p->epoch;
  t->tid = BPF_CORE_READ(child, pid);
  t->bits = kForkReturn;
  __u64 flags = 0;
  if (BPF_CORE_READ(child, tgid) == BPF_CORE_READ(parent, tgid)) flags |= kTaskThread;
  if (BPF_CORE_READ(child, mm) == BPF_CORE_READ(parent, mm)) flags |= kTaskSharesVm;
  put_task(t, child, ring, slot, flags << 32 | p->tid);
  return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *bprm) {
  struct TaskState *t = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!t) {
    t = adopt(task, 1);
    if (!t) return 0;
  }
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  if (!slot) return 0;
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!ring) return 0;
  slot->armed = 1;
  t->tid = bpf_get_current_pid_tgid();  // a thread that executes takes over its leader's id
  if (t->bits & kBeforeExec) found(t, ring, slot);
  put_exec_data(t, ring, slot, bprm);
  put_file(t, ring, slot, BPF_CORE_READ(bprm, file), kDataExec);
  struct RawExec record = {.time_ns = bpf_ktime_get_ns()};
  fill_head(&record.head, t, kRawExec, 0, sizeof record, old_tid);
  record.argc = BPF_CORE_READ(bprm, argc);
  record.envc = BPF_CORE_READ(bprm, envc);
  record.tgid = bpf_get_current_pid_tgid() >> 32;
  record.inner_tid = inner_id(BPF_CORE_READ(task, thread_pid));
  bpf_get_current_comm(record.comm, sizeof record.comm);
  // The reader is woken: it opens the file for its digest before the program has ended.
  if (bpf_ringbuf_output(ring, &record, sizeof record, BPF_RB_FORCE_WAKEUP)) lose(slot);
  return 0;
}

/// A task that ends: the call that it is in. When the filter's answer was to end this thread alone
/// (SECCOMP_RET_KILL_THREAD), neither entry nor exit of that call was seen.
static __noinline int put_last_call(struct TaskState *t, void *ring, struct SlotState *slot) {
  struct task_struct *task = bpf_get_current_task_btf();
  if (t->bits & kInCall) {
    t->bits &= ~kInCall;
  } else {
    if (!was_killed_by_filter(task) || (t->bits & kDeadSeen)) return 0;
    keep_unseen(t, (struct pt_regs *)bpf_task_pt_regs(task), false);
  }
  t->call_flags |= kCallNoReturn;
  if (t->late) put_strings(t, ring, slot, t->late | 0x80);
  if (t->late & kLateRest) put_rest(t, ring, slot, 1);
  put_call(t, ring, slot, 0, false);
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_task_end, struct task_struct *task) {
  struct TaskState *t = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!t || (t->bits & kBeforeExec)) return 0;
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  if (!slot) return 0;
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!ring) return 0;
  put_last_call(t, ring, slot);
  struct RawExit record = {.time_ns = bpf_ktime_get_ns()};
  __u8 flags = BPF_CORE_READ(task, signal, oom_mm) ? kExitOom : 0;
  fill_head(&record.head, t, kRawExit, flags, sizeof record, BPF_CORE_READ(task, exit_code));
  record.group_code = BPF_CORE_READ(task, signal, group_exit_code);
  record.last = BPF_CORE_READ(task, signal, live.counter) == 0;
  put(ring, slot, &record, sizeof record);
  if (record.last) {
    __u32 tgid = bpf_get_current_pid_tgid() >> 32;
    bpf_map_delete_elem(&stopped, &tgid);
  }
  return 0;
}

SEC("tp_btf/task_rename")
int BPF_PROG(on_rename, struct task_struct *task, const char *comm) {
  struct TaskState *t = bpf_task_storage_get(&tasks, task, 0, 0);
  if (!t || (t->bits & kBeforeExec)) return 0;
  // In its own exec the RawExec says it. (Others can rename it by its /proc/PID/comm.)
  bool own = t->tid == (__u32)bpf_get_current_pid_tgid();
  if (own && (t->bits & kInCall) && is_exec(t->nr)) return 0;
  struct SlotState *slot = slot_of(t->slot, t->epoch);
  if (!slot) return 0;
  void *ring = bpf_map_lookup_elem(&rings, &t->slot);
  if (!ring) return 0;
  struct RawComm record = {.time_ns = bpf_ktime_get_ns()};
  fill_head(&record.head, t, kRawComm, 0, sizeof record, 0);
  bpf_probe_read_kernel_str(record.comm, sizeof record.comm, comm);
  put(ring, slot, &record, sizeof record);
  return 0;
}
