// What the arguments of a call point to: strings, socket addresses, structures, an exec's
// arguments.
#ifndef CARREL_AUDIT_BPF_DATA_H_
#define CARREL_AUDIT_BPF_DATA_H_

#include "state.h"

static __always_inline bool is_exec(long nr) { return nr == __NR_execve || nr == __NR_execveat; }

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
  put_data(t, ring, slot, s, flags, arg, kDataString, n);
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
  put_data(t, ring, slot, s, flags, piece->arg, piece->kind, (length & 0xff));
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
  put_data(t, ring, slot, s, flags, arg, kDataArgv, length);
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
  put_data(t, ring, slot, s, flags, 0, kDataFilename, n);

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
  put_data(t, ring, slot, s, flags, 1, kDataArgv, length);
  return 0;
}

#endif  // CARREL_AUDIT_BPF_DATA_H_
