// The file that the kernel opened or executed: its inode, and its path read from the dentries.
#ifndef CARREL_AUDIT_BPF_FILE_H_
#define CARREL_AUDIT_BPF_FILE_H_

#include "state.h"

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

#endif  // CARREL_AUDIT_BPF_FILE_H_
