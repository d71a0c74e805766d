// The kernel side of the audit log: every syscall of every task in a job's cgroup, as records in
// the job's ring. Tracepoints only. A record that cannot be written is counted, never forgotten.
//
//   sys_enter           keep number, arguments and time in the task's own storage; write strings
//   sys_exit            write the call (no entry seen: the seccomp filter refused it)
//   sched_process_*     tasks made, programs executed, tasks gone (with the call they died in)
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

char kLicense[] SEC("license") = "Dual MIT/GPL";

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

/// A string argument. False when it could not be read now and `late` is not set: try at exit.
static __noinline int put_string(struct TaskState *t, void *ring, struct SlotState *slot,
                                 __u32 arg_and_late) {
  union Scratch *s = get_scratch();
  __u32 arg = arg_and_late & 7, late = arg_and_late & 8;
  if (!s || arg > 5) return 1;
  __u64 address = t->args[arg];
  if (!address) return 1;
  __u8 flags = late ? kDataLate : 0;
  long n = bpf_probe_read_user_str(s->data.bytes, CARREL_MAX_DATA, (void *)address);
  if (n < 0) {
    if (!late) return 0;
    flags |= kDataFault;
    n = 0;
  }
  if (n == CARREL_MAX_DATA) flags |= kDataTruncated;
  if (n > 0) --n;
  n &= CARREL_MAX_DATA - 1;
  __u64 size = __builtin_offsetof(struct RawData, bytes) + n;
  fill_head(&s->data.head, t, kRawData, flags, size, n);
  s->data.arg = arg;
  s->data.kind = kDataString;
  put(ring, slot, s, size);
  return 1;
}

struct Piece {
  __u64 address;
  __u64 length;
  __u8 arg;
  __u8 kind;
  __u8 late;
};

/// Bytes that an argument points to. False when they could not be read now and `late` is not set.
static __noinline int put_bytes(struct TaskState *t, void *ring, struct SlotState *slot,
                                struct Piece *piece) {
  union Scratch *s = get_scratch();
  if (!s || !piece) return 1;
  __u64 length = piece->length;
  __u8 flags = piece->late ? kDataLate : 0;
  if (!piece->address || !length) return 1;
  if (length > 128) {
    length = 128;
    flags |= kDataTruncated;
  }
  if (bpf_probe_read_user(s->data.bytes, length & 0xff, (void *)piece->address)) {
    if (!piece->late) return 0;
    flags |= kDataFault;
    length = 0;
  }
  __u64 size = __builtin_offsetof(struct RawData, bytes) + (length & 0xff);
  fill_head(&s->data.head, t, kRawData, flags, size, length);
  s->data.arg = piece->arg;
  s->data.kind = piece->kind;
  put(ring, slot, s, size);
  return 1;
}

/// Where the address of a call is: in an argument, or in the message that it points to.
static __always_inline bool find_address(struct TaskState *t, __u8 address, struct Piece *piece) {
  __u32 arg = (address & 7) - 1;
  // The verifier of Linux 6.1 knows the bounds of the register that was compared, and no other.
  asm volatile("" : "+r"(arg));
  if (arg > 4) return false;
  piece->arg = arg;
  piece->kind = kDataSockaddr;
  piece->address = t->args[arg];
  piece->length = (__u32)t->args[arg + 1];
  if (address & kAddressInMessage) {
    struct {
      __u64 name;
      __u32 length;
    } message = {};
    if (bpf_probe_read_user(&message, 12, (void *)piece->address)) return false;
    piece->address = message.name;
    piece->length = message.length;
  } else if (address & kAddressAtExit) {
    __u32 length = 0;
    if (bpf_probe_read_user(&length, sizeof length, (void *)t->args[arg + 1])) return false;
    piece->length = length;
  }
  return true;
}

/// The socket address and the structure of a call. What cannot be read now is left for the exit.
static __noinline int put_rest(struct TaskState *t, void *ring, struct SlotState *slot,
                               __u32 late) {
  __u32 nr = t->nr;
  if (nr >= MAX_NR) return 0;
  const volatile struct CallSpec *spec = &specs[nr];
  struct Piece piece = {.late = late};
  __u8 address = spec->address;
  if (address && (late || !(address & kAddressAtExit)))
    if (!find_address(t, address, &piece) || !put_bytes(t, ring, slot, &piece))
      t->late |= kLateRest;
  __u32 arg = spec->bytes - 1;
  asm volatile("" : "+r"(arg));
  if (arg > 4) return 0;
  piece.arg = arg;
  piece.kind = kDataBytes;
  piece.address = t->args[arg];
  piece.length = spec->size ? spec->size : (__u32)t->args[arg + 1];
  if (!put_bytes(t, ring, slot, &piece)) t->late |= kLateRest;
  return 0;
}

static __noinline int put_strings(struct TaskState *t, void *ring, struct SlotState *slot,
                                  __u32 mask_and_late) {
#pragma unroll
  for (__u32 i = 0; i < 5; ++i)
    if (mask_and_late & (1u << i))
      if (!put_string(t, ring, slot, i | (mask_and_late & 0x80 ? 8 : 0))) t->late |= 1u << i;
  return 0;
}

struct Walk {
  struct dentry *dentry, *root_dentry;
  struct vfsmount *mount, *root_mount;
  __u32 offset;
  __u32 outcome;  ///< 1: reached the task's root; 2: the top of another tree
};

static long walk_up(__u32 index, struct Walk *walk) {
  union Scratch *s = get_scratch();
  if (!s) return 1;
  if (walk->dentry == walk->root_dentry && walk->mount == walk->root_mount) {
    walk->outcome = 1;
    return 1;
  }
  struct dentry *dentry = walk->dentry;
  struct vfsmount *mounted = walk->mount;
  struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
  struct dentry *top = BPF_CORE_READ(mounted, mnt_root);
  // A memory file hangs on nothing, but has a name.
  bool alone = dentry == parent && dentry != top && walk->offset == 0;
  if (!alone && (dentry == top || dentry == parent)) {
    struct mount *mount = (void *)mounted - bpf_core_field_offset(struct mount, mnt);
    struct mount *above = BPF_CORE_READ(mount, mnt_parent);
    if (!above || above == mount) {
      walk->outcome = 2;
      return 1;
    }
    walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
    walk->mount = (void *)above + bpf_core_field_offset(struct mount, mnt);
    return 0;
  }
  __u32 offset = walk->offset;
  if (offset > CARREL_MAX_DATA - CARREL_MAX_PART) return 1;
  long n = bpf_probe_read_kernel_str(s->file.parts + offset, CARREL_MAX_PART,
                                     BPF_CORE_READ(dentry, d_name.name));
  if (n <= 0) return 1;
  walk->offset = offset + n;
  walk->dentry = parent;
  if (alone) walk->outcome = 2;
  return alone;
}

/// When the inode was changed last. Its members have had three names.
static __always_inline void fill_change(struct RawFile *out, struct inode *inode) {
  struct inode___seconds *seconds = (void *)inode;
  struct inode___wrapped *wrapped = (void *)inode;
  if (bpf_core_field_exists(seconds->i_ctime_sec)) {
    out->ctime_s = BPF_CORE_READ(seconds, i_ctime_sec);
    out->ctime_ns = BPF_CORE_READ(seconds, i_ctime_nsec) & ~(1u << 31);  // a mark of its own
  } else if (bpf_core_field_exists(wrapped->__i_ctime)) {
    out->ctime_s = BPF_CORE_READ(wrapped, __i_ctime.tv_sec);
    out->ctime_ns = BPF_CORE_READ(wrapped, __i_ctime.tv_nsec) & ~(1u << 31);
  } else {
    out->ctime_s = BPF_CORE_READ(inode, i_ctime.tv_sec);
    out->ctime_ns = BPF_CORE_READ(inode, i_ctime.tv_nsec);
  }
  out->size = BPF_CORE_READ(inode, i_size);
}

/// The file as the kernel has it: its inode and its path, read from the dentries.
static __noinline int put_file(struct TaskState *t, void *ring, struct SlotState *slot,
                               struct file *file, __u32 flags) {
  struct task_struct *task = (void *)bpf_get_current_task();
  struct Walk walk = {};
  union Scratch *s = get_scratch();
  if (!s || !file) return 0;
  walk.dentry = BPF_CORE_READ(file, f_path.dentry);
  walk.mount = BPF_CORE_READ(file, f_path.mnt);
  walk.root_dentry = BPF_CORE_READ(task, fs, root.dentry);
  walk.root_mount = BPF_CORE_READ(task, fs, root.mnt);
  struct dentry *dentry = walk.dentry;
  struct inode *inode = BPF_CORE_READ(dentry, d_inode);
  s->file.inode = BPF_CORE_READ(inode, i_ino);
  s->file.device = BPF_CORE_READ(inode, i_sb, s_dev);
  s->file.mode = BPF_CORE_READ(inode, i_mode);
  s->file.ctime_s = s->file.size = s->file.ctime_ns = s->file.pad = 0;
  if (flags & kDataExec) fill_change(&s->file, inode);
  bpf_loop(2 * CARREL_MAX_PATH_PARTS, walk_up, &walk, 0);
  if (walk.outcome == 2) flags |= kDataOutside;
  if (walk.outcome == 0) flags |= kDataTruncated;
  __u32 length = walk.offset;
  if (length > CARREL_MAX_DATA) length = CARREL_MAX_DATA;
  __u64 size = __builtin_offsetof(struct RawFile, parts) + length;
  fill_head(&s->file.head, t, kRawFile, flags, size, length);
  put(ring, slot, s, size);
  return 0;
}

static __noinline int put_opened(struct TaskState *t, void *ring, struct SlotState *slot,
                                 __u32 fd) {
  struct task_struct *task = (void *)bpf_get_current_task();
  struct fdtable *table = BPF_CORE_READ(task, files, fdt);
  struct file *file = 0;
  if (fd >= BPF_CORE_READ(table, max_fds)) return 0;
  bpf_probe_read_kernel(&file, sizeof file, BPF_CORE_READ(table, fd) + fd);
  return put_file(t, ring, slot, file, 0);
}

struct ArgvWalk {
  __u64 next;  ///< address of the next pointer
  __u32 offset;
  __u32 outcome;  ///< 1: reached the end; 2: could not be read
};

static long next_argument(__u32 index, struct ArgvWalk *walk) {
  union Scratch *s = get_scratch();
  if (!s) return 1;
  __u64 address = 0;
  long failed = bpf_probe_read_user(&address, sizeof address, (void *)walk->next);
  if (failed || !address) {
    walk->outcome = failed ? 2 : 1;
    return 1;
  }
  __u32 offset = walk->offset;
  if (offset > CARREL_MAX_DATA - CARREL_MAX_PART) return 1;
  long n = bpf_probe_read_user_str(s->data.bytes + offset, CARREL_MAX_PART, (void *)address);
  if (n <= 0) {
    walk->outcome = 2;
    return 1;
  }
  walk->offset = offset + n;
  walk->next += 8;
  return n == CARREL_MAX_PART;  // cut off
}

/// The arguments of an exec that failed. (Those of one that did not are read from the new memory.)
static __noinline int put_asked_argv(struct TaskState *t, void *ring, struct SlotState *slot) {
  union Scratch *s = get_scratch();
  if (!s) return 0;
  __u32 arg = t->nr == __NR_execve ? 1 : 2;
  struct ArgvWalk walk = {.next = t->args[arg]};
  if (!walk.next) return 0;
  bpf_loop(CARREL_MAX_ASKED_ARGS, next_argument, &walk, 0);
  __u8 flags = kDataLate;
  if (walk.outcome == 0) flags |= kDataTruncated;
  if (walk.outcome == 2) flags |= walk.offset ? kDataTruncated : kDataFault;
  __u32 length = walk.offset;
  if (length > CARREL_MAX_DATA) length = CARREL_MAX_DATA;
  __u64 size = __builtin_offsetof(struct RawData, bytes) + length;
  fill_head(&s->data.head, t, kRawData, flags, size, length);
  s->data.arg = arg;
  s->data.kind = kDataArgv;
  put(ring, slot, s, size);
  return 0;
}

static __always_inline bool is_exec(long nr) { return nr == __NR_execve || nr == __NR_execveat; }

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

/// The names of an exec: what was asked for, and the arguments as they lie in the new memory.
static __noinline int put_exec_data(struct TaskState *t, void *ring, struct SlotState *slot,
                                    struct linux_binprm *bprm) {
  union Scratch *s = get_scratch();
  if (!s) return 0;
  __u8 flags = kDataExec;
  long n = bpf_probe_read_kernel_str(s->data.bytes, CARREL_MAX_DATA, BPF_CORE_READ(bprm, filename));
  if (n <= 0) flags |= kDataFault;
  n = n > 0 ? n - 1 : 0;
  n &= CARREL_MAX_DATA - 1;
  __u64 size = __builtin_offsetof(struct RawData, bytes) + n;
  fill_head(&s->data.head, t, kRawData, flags, size, n);
  s->data.arg = 0;
  s->data.kind = kDataFilename;
  put(ring, slot, s, size);

  struct task_struct *task = (void *)bpf_get_current_task();
  __u64 start = BPF_CORE_READ(task, mm, arg_start);
  __u64 length = BPF_CORE_READ(task, mm, arg_end) - start;
  flags = kDataExec;
  if (length > CARREL_MAX_DATA - 1) {
    length = CARREL_MAX_DATA - 1;
    flags |= kDataTruncated;
  }
  length &= CARREL_MAX_DATA - 1;
  if (bpf_probe_read_user(s->data.bytes, length, (void *)start)) {
    length = 0;
    flags |= kDataFault;
  }
  size = __builtin_offsetof(struct RawData, bytes) + length;
  fill_head(&s->data.head, t, kRawData, flags, size, length);
  s->data.arg = 1;
  s->data.kind = kDataArgv;
  put(ring, slot, s, size);
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
  // In an exec the RawExec says it.
  if (!t || (t->bits & kBeforeExec) || is_exec(t->nr)) return 0;
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
