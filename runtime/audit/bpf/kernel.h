// The few members of kernel structures that the programs read. Their offsets are those of the
// running kernel: libbpf relocates every access when it loads the object (CO-RE).
#ifndef CARREL_AUDIT_BPF_KERNEL_H_
#define CARREL_AUDIT_BPF_KERNEL_H_

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
  unsigned long bp, bx, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};

struct super_block {
  __u32 s_dev;
};

struct timespec64 {
  __s64 tv_sec;
  long tv_nsec;
};

struct inode {
  unsigned short i_mode;
  struct super_block *i_sb;
  unsigned long i_ino;
  __s64 i_size;
  struct timespec64 i_ctime;  ///< before Linux 6.6
};

/// Linux 6.6 to 6.10, and after.
struct inode___wrapped {
  struct timespec64 __i_ctime;
};
struct inode___seconds {
  __s64 i_ctime_sec;
  __u32 i_ctime_nsec;
};

struct qstr {
  const unsigned char *name;
};

struct dentry {
  struct dentry *d_parent;
  struct qstr d_name;
  struct inode *d_inode;
};

struct vfsmount {
  struct dentry *mnt_root;
};

struct mount {
  struct mount *mnt_parent;
  struct dentry *mnt_mountpoint;
  struct vfsmount mnt;
};

struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};

struct file {
  struct path f_path;
  struct inode *f_inode;
};

struct fdtable {
  unsigned int max_fds;
  struct file **fd;
};

struct files_struct {
  struct fdtable *fdt;
};

struct fs_struct {
  struct path root;
};

struct upid {
  int nr;
};

struct pid {
  unsigned int level;
  struct upid numbers[1];
};

struct mm_struct {
  unsigned long arg_start, arg_end;
};

struct thread_info {
  __u32 status;
};

struct kernfs_node {
  __u64 id;
};

struct cgroup {
  struct kernfs_node *kn;
};

struct css_set {
  struct cgroup *dfl_cgrp;
};

typedef struct {
  int counter;
} atomic_t;

struct signal_struct {
  atomic_t live;
  int group_exit_code;
  struct mm_struct *oom_mm;
};

struct seccomp {
  int mode;
};

struct task_struct {
  struct thread_info thread_info;
  struct seccomp seccomp;
  struct mm_struct *mm;
  int exit_code;
  int pid;
  int tgid;
  struct pid *thread_pid;
  struct task_struct *group_leader;
  char comm[16];
  struct fs_struct *fs;
  struct files_struct *files;
  struct signal_struct *signal;
  struct css_set *cgroups;
};

struct linux_binprm {
  struct file *file;
  int argc, envc;
  const char *filename;
};

#pragma clang attribute pop

#endif  // CARREL_AUDIT_BPF_KERNEL_H_
