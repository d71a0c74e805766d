// What the programs keep: of each task, of each job, and their rings; and how a record gets into a
// ring. One that cannot be written is counted, never forgotten.
#ifndef CARREL_AUDIT_BPF_STATE_H_
#define CARREL_AUDIT_BPF_STATE_H_

#include "kernel.h"
// (first: uapi headers must not bring their own pt_regs)
#include <asm/unistd_64.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <linux/bpf.h>
#include <stdbool.h>

#include "../call_specs.h"
#include "../raw_event.h"

#define TS_COMPAT 0x0002
#define SECCOMP_MODE_DEAD 3  // kernel/seccomp.c: its filter has killed the task
#define SIGKILL 9
#define SIGCONT 18
#define SIGSTOP 19
#define MAX_NR 512

enum TaskBits {
  kInCall = 1,
  kForkReturn = 2,  ///< a new task's first sys_exit is its parent's clone coming back
  kBeforeExec = 4,  ///< in the exec that would start the recording
  kDeadSeen = 8,    ///< the call for which the filter killed the task is written
};

struct TaskState {
  __u32 slot;
  __u32 epoch;
  __u32 tid;
  __u32 bits;
  __u64 enter_ns;
  __u32 nr;
  __u8 call_flags;
  __u8 late;  ///< string arguments that could not be read at entry; kLateRest
  __u16 pad;
  __u64 args[6];
};

enum LateBits {
  kLateRest = 0x40,  ///< in TaskState.late: address and structure too
};

struct CallSpec {
  __u8 strings;
  __u8 address;
  __u8 opens;
  __u8 bytes;
  __u8 size;
};

#define SPEC(name, strings_, address_, opens_, bytes_, size_) \
  [__NR_##name] = {                                           \
      .strings = strings_, .address = address_, .opens = opens_, .bytes = bytes_, .size = size_},
const volatile struct CallSpec specs[MAX_NR] = {CARREL_CALL_SPECS(SPEC)};

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct TaskState);
} tasks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 2 * CARREL_SLOTS);
  __type(key, __u64);
  __type(value, struct JobEntry);
} jobs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, CARREL_SLOTS);
  __type(key, __u32);
  __type(value, struct SlotState);
} slots SEC(".maps");

/// See CARREL_BUCKETS. Every call of every process of the host passes here: what is no job's is to
/// pay for one look at an array, not for a hash.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, CARREL_BUCKETS + 1);
  __type(key, __u32);
  __type(value, __u64);
} present SEC(".maps");

struct Ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, CARREL_SLOTS);
  __type(key, __u32);
  __array(values, struct Ring);
} rings SEC(".maps");

/// Processes that were held, by the host's process id; the reader lets them go on.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, __u32);
  __type(value, struct JobEntry);
} stopped SEC(".maps");

union Scratch {
  struct RawData data;
  struct RawFile file;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, union Scratch);
} scratch SEC(".maps");

static __always_inline union Scratch *get_scratch(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline bool is_present(__u32 bucket) {
  __u64 *jobs_in_it = bpf_map_lookup_elem(&present, &bucket);
  return jobs_in_it && *jobs_in_it;
}

/// The slot of a job that is still on, or null.
static __always_inline struct SlotState *slot_of(__u32 index, __u32 epoch) {
  struct SlotState *slot = bpf_map_lookup_elem(&slots, &index);
  return slot && slot->epoch == epoch && epoch ? slot : 0;
}

/// An event that has no place in the ring. Nothing may go on after it: the process of the task that
/// made it is killed here and now, the others at their next call, all of them by the supervisor.
static __always_inline void lose(struct SlotState *slot) {
  __sync_fetch_and_add(&slot->lost, 1);
  bpf_send_signal(SIGKILL);
}

static __always_inline void fill_head(struct RawHead *head, const struct TaskState *t, __u8 type,
                                      __u8 flags, __u16 size, __u32 value) {
  head->size = size;
  head->type = type;
  head->flags = flags;
  head->epoch = t->epoch;
  head->tid = t->tid;
  head->value = value;
}

/// The flag for a ring write: wakes the reader when enough waits and it is not yet on its way.
static __always_inline __u64 wake_flag(void *ring, struct SlotState *slot, __u64 *waits) {
  *waits = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
  if (*waits < slot->wake_at || slot->woken) return BPF_RB_NO_WAKEUP;
  slot->woken = 1;
  return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void put(void *ring, struct SlotState *slot, void *record, __u64 size) {
  __u64 waits;
  if (bpf_ringbuf_output(ring, record, size, wake_flag(ring, slot, &waits))) lose(slot);
}

/// A record of `length` bytes (the verifier knows that they have room) that lie in `s` already.
static __always_inline void put_data(struct TaskState *t, void *ring, struct SlotState *slot,
                                     union Scratch *s, __u8 flags, __u8 arg, __u8 kind,
                                     __u64 length) {
  __u64 size = __builtin_offsetof(struct RawData, bytes) + length;
  fill_head(&s->data.head, t, kRawData, flags, size, length);
  s->data.arg = arg;
  s->data.kind = kind;
  put(ring, slot, s, size);
}

#endif  // CARREL_AUDIT_BPF_STATE_H_
