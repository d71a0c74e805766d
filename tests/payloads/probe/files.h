// Files: what the root filesystem refuses, and what scratch space must allow.
#ifndef PROBE_FILES_H_
#define PROBE_FILES_H_

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "report.h"

static const char* self_path;  // argv[0]: this program, in the root filesystem

static void probe_rootfs(void) {
  barred("rootfs-create", open("/new-file", O_CREAT | O_WRONLY, 0600) == -1, "%s",
         strerrorname_np(errno));
  barred("rootfs-mkdir", mkdir("/new-directory", 0755) == -1, "%s", strerrorname_np(errno));
  barred("rootfs-overwrite", open(self_path, O_WRONLY) == -1, "%s", strerrorname_np(errno));
  barred("rootfs-unlink", unlink(self_path) == -1, "%s", strerrorname_np(errno));
  barred("rootfs-chmod", chmod(self_path, 0777) == -1, "%s", strerrorname_np(errno));
  barred("rootfs-self-exe-write", open("/proc/self/exe", O_WRONLY) == -1, "%s",
         strerrorname_np(errno));
  barred("rootfs-hard-link-out", link(self_path, "/tmp/linked") == -1, "%s",
         strerrorname_np(errno));
  int fd = open("/proc/self/root/new-file", O_CREAT | O_WRONLY, 0600);
  barred("rootfs-through-proc-root", fd == -1, "%s", strerrorname_np(errno));
}

// The test puts a copy of this program in the image, owned by root, mode 6755, which exits with its
// effective id's being root.
static int run_setuid(void) {
  execl("/setuid-probe", "/setuid-probe", "--am-i-root", (char*)NULL);
  return 99;
}

static int copy_self(const char* to, mode_t mode) {
  int in = open(self_path, O_RDONLY), out = open(to, O_CREAT | O_WRONLY | O_TRUNC, mode);
  struct stat info;
  if (in < 0 || out < 0 || fstat(in, &info) != 0) return -1;
  off_t left = info.st_size;
  while (left > 0) {
    ssize_t n = sendfile(out, in, NULL, (size_t)left);
    if (n <= 0) return -1;
    left -= n;
  }
  close(in);
  close(out);
  return chmod(to, mode);
}

static int exec_tmp(void) {
  execl("/tmp/copy", "/tmp/copy", "--exit-42", (char*)NULL);
  return 99;
}
static int exec_shm(void) {
  execl("/dev/shm/copy", "/dev/shm/copy", "--exit-42", (char*)NULL);
  return 99;
}
static int exec_memfd(void) {
  int in = open(self_path, O_RDONLY), out = memfd_create("probe", 0);
  struct stat info;
  if (in < 0 || out < 0 || fstat(in, &info) != 0) return 98;
  if (sendfile(out, in, NULL, (size_t)info.st_size) != info.st_size) return 97;
  char *const args[] = {(char*)"probe", (char*)"--exit-42", NULL}, *const none[] = {NULL};
  syscall(SYS_execveat, out, "", args, none, AT_EMPTY_PATH);
  return 99;
}

static void probe_execution(void) {
  const int setuid = exists("/setuid-probe") ? in_child(run_setuid) : 99;
  barred("exec-setuid", setuid != 0, "%d", setuid);
  needed("tmp-copy", copy_self("/tmp/copy", 0755) == 0, "%s", strerrorname_np(errno));
  needed("tmp-exec", in_child(exec_tmp) == 42, "a program in /tmp (ehrQL)");
  chmod("/tmp/copy", 06755);
  needed("tmp-exec-setuid-mode", in_child(exec_tmp) == 42, "mode 6755 changes nothing");
  copy_self("/dev/shm/copy", 0755);
  const int shm = in_child(exec_shm);
  barred("shm-exec", shm == 99, "%d", shm);
  needed("memfd-exec", in_child(exec_memfd) == 42, "fexecve");
  // What the dynamic loader does for LD_PRELOAD.
  int fd = open("/tmp/copy", O_RDONLY);
  void* mapped = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  needed("tmp-mmap-exec", mapped != MAP_FAILED, "a library in /tmp (LD_PRELOAD)");
  close(fd);
  void* jit = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  needed("jit", jit != MAP_FAILED && mprotect(jit, 4096, PROT_READ | PROT_EXEC) == 0, "mprotect");
}

static int scratch(const char* directory, char* path, const char* name) {
  return snprintf(path, 256, "%s/%s", directory, name);
}

static void probe_scratch(const char* where, const char* label) {
  char name[64], a[256], b[256], text[16];
  scratch(where, a, "file-a");
  scratch(where, b, "file-b");
  int fd = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644);
  snprintf(name, sizeof name, "%s-write", label);
  needed(name, fd >= 0 && write(fd, "hello", 5) == 5 && pread(fd, text, 5, 0) == 5, "%s", where);
  snprintf(name, sizeof name, "%s-truncate", label);
  needed(name, ftruncate(fd, 1 << 20) == 0 && truncate(a, 100) == 0, "%s", strerrorname_np(errno));
  snprintf(name, sizeof name, "%s-lock", label);
  struct flock lock = {.l_type = F_WRLCK};
  needed(name, flock(fd, LOCK_EX) == 0 && fcntl(fd, F_SETLK, &lock) == 0, "flock, fcntl");
  close(fd);
  snprintf(name, sizeof name, "%s-rename", label);
  needed(name, rename(a, b) == 0, "%s", where);
  snprintf(name, sizeof name, "%s-hard-link", label);
  needed(name, link(b, a) == 0 && unlink(a) == 0, "%s", where);
  snprintf(name, sizeof name, "%s-symlink", label);
  needed(name, symlink(b, a) == 0 && unlink(a) == 0, "%s", where);
  snprintf(name, sizeof name, "%s-fifo", label);
  needed(name, mkfifo(a, 0600) == 0 && unlink(a) == 0, "%s", where);
  snprintf(name, sizeof name, "%s-directories", label);
  char deep[300], other[300];
  snprintf(deep, sizeof deep, "%s/d", where);
  snprintf(other, sizeof other, "%s/d/moved", where);
  needed(name,
         mkdir(deep, 0755) == 0 && rename(b, other) == 0 && unlink(other) == 0 && rmdir(deep) == 0,
         "mkdir, rename between directories, rmdir");
  // A rename can leave a character device, which mknod() may not make.
  snprintf(name, sizeof name, "%s-whiteout", label);
  close(open(a, O_CREAT | O_WRONLY, 0600));
  barred(name, renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_WHITEOUT) == -1, "%s",
         strerrorname_np(errno));
  unlink(a);
  unlink(b);
  snprintf(name, sizeof name, "%s-tmpfile", label);
  fd = open(where, O_TMPFILE | O_RDWR, 0600);
  needed(name, fd >= 0, "O_TMPFILE");
  close(fd);
  snprintf(name, sizeof name, "%s-mmap-shared", label);
  fd = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644);
  char* page = ftruncate(fd, 4096) == 0
                   ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                   : MAP_FAILED;
  needed(name, page != MAP_FAILED && (page[0] = 1) == 1, "%s", where);
  close(fd);
  unlink(a);
}

static void probe_streams(void) {
  int fd = open("/proc/self/fd/1", O_WRONLY | O_APPEND);
  needed("stdout-reopen", fd >= 0 && write(fd, "", 0) == 0, "/proc/self/fd/1: %s",
         fd < 0 ? strerrorname_np(errno) : "written");
  if (fd >= 0) close(fd);
  fd = open("/dev/stderr", O_WRONLY);
  needed("stderr-reopen", fd >= 0, "/dev/stderr");
  if (fd >= 0) close(fd);
  // Reading back what others wrote to the log's pipe would be another matter.
  barred("stdout-read-back", open("/proc/self/fd/1", O_RDONLY | O_NONBLOCK) == -1, "%s",
         strerrorname_np(errno));
}

static void probe_files(void) {
  probe_rootfs();
  probe_execution();
  probe_scratch("/tmp", "tmp");
  probe_scratch("/dev/shm", "shm");
  if (exists("/work")) probe_scratch("/work", "writable");
  probe_streams();
}

#endif
