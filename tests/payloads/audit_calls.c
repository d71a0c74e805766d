// Known numbers of known syscalls, for the audit log to be held against. Counted calls are
// getppid, getpgid, getsid and getpriority, which nothing else here makes.
//
//   audit_calls MODE [N [M]]
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void flood(long n) {
  while (n-- > 0) syscall(SYS_getppid);
}

// Calls that are told apart, and whose log does not get small; then waits to be killed.
static int number(long n) {
  for (long i = 0; i < n; ++i)
    syscall(SYS_getppid, i, (unsigned long)i * 0x9e3779b97f4a7c15ul, (unsigned long)(i * i) << 20);
  if (write(1, "done\n", 5) != 5) return 1;
  for (;;) pause();
}

// A child that waits in an open, whose name was read long before; then waits to be killed.
static int blocked(const char* fifo) {
  if (mkfifo(fifo, 0600) != 0) return 1;
  if (fork() == 0) return open(fifo, O_RDONLY);
  for (int i = 0; i < 150; ++i) {
    usleep(10000);
    syscall(SYS_getppid);
  }
  if (write(1, "done\n", 5) != 5) return 1;
  for (;;) pause();
}

static void* flood_thread(void* n) {
  flood((long)n);
  return NULL;
}

static int threads(long count, long n) {
  pthread_t all[64];
  for (long i = 0; i < count; ++i) pthread_create(&all[i], NULL, flood_thread, (void*)n);
  for (long i = 0; i < count; ++i) pthread_join(all[i], NULL);
  return 0;
}

// Children that make one call and end, one after the other.
static int short_lived(long n) {
  for (long i = 0; i < n; ++i) {
    pid_t pid = fork();
    if (pid == 0) {
      syscall(SYS_getsid, 0);
      _exit(0);
    }
    waitpid(pid, NULL, 0);
  }
  return 0;
}

// All at once.
static int crowd(long n, long calls) {
  for (long i = 0; i < n; ++i)
    if (fork() == 0) {
      flood(calls);
      _exit(7);
    }
  while (wait(NULL) > 0) {
  }
  return 0;
}

static int deep(long n) {
  int status = 0;
  syscall(SYS_getsid, 0);
  if (n == 0) return 0;
  pid_t pid = fork();
  if (pid == 0) _exit(deep(n - 1));
  waitpid(pid, &status, 0);
  return 0;
}

static int vforks(const char* self, long n) {
  for (volatile long i = 0; i < n; ++i) {
    pid_t pid = vfork();
    if (pid == 0) {
      execl(self, self, "getsid", "1", (char*)NULL);
      _exit(9);
    }
    waitpid(pid, NULL, 0);
  }
  return 0;
}

static void filter(unsigned action, long nr) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) exit(99);
}

static int denied(long n) {
  filter(SECCOMP_RET_ERRNO | EPERM, SYS_chmod);
  for (long i = 0; i < n; ++i) syscall(SYS_chmod, "/etc/refused", 0777);
  return 0;
}

// Threads that the filter ends one by one; their process goes on.
static void* killed_thread(void* unused) {
  filter(SECCOMP_RET_KILL_THREAD, SYS_chmod);
  syscall(SYS_chmod, "/etc/refused", 0777);
  return unused;
}

static int kill_threads(long n) {
  for (long i = 0; i < n; ++i) {
    pthread_t thread;
    pthread_create(&thread, NULL, killed_thread, NULL);
    pthread_join(thread, NULL);
  }
  syscall(SYS_getsid, 0);
  return 0;
}

static int failed_execs(void) {
  char* argv[] = {"program", "--with", "two words", NULL};
  syscall(SYS_execve, "/nowhere/program", argv, NULL);
  static char longest[300];
  memset(longest, 'x', sizeof longest - 1);
  char* long_argv[] = {"a", longest, NULL};
  syscall(SYS_execve, "/nowhere/long", long_argv, NULL);
  syscall(SYS_execve, "/nowhere/none", NULL, NULL);
  syscall(SYS_execve, "/nowhere/bad", 8, NULL);
  return 0;
}

static void* exec_thread(void* self) {
  usleep(50000);  // until the leader is in its pause
  syscall(SYS_getpgid, 0);
  execl(self, self, "getsid", "3", (char*)NULL);
  return NULL;
}

static int exec_from_thread(const char* self) {
  pthread_t thread;
  pthread_create(&thread, NULL, exec_thread, (void*)self);
  pause();
  return 1;
}

// A child blocks in a call for ever and is killed there.
static int killed_mid_call(void) {
  int ready[2], block[2];
  char byte;
  if (pipe(ready) != 0 || pipe(block) != 0) return 1;
  pid_t pid = fork();
  if (pid == 0) {
    if (write(ready[1], "x", 1) != 1) _exit(1);
    syscall(SYS_getsid, 0);
    _exit(read(block[0], &byte, 1) == 1);
  }
  if (read(ready[0], &byte, 1) != 1) return 1;
  usleep(50000);
  kill(pid, SIGKILL);
  int status;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? 0 : 1;
}

static volatile int turn;

static void* rename_main(void* pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%ld/comm", (long)pid);
  while (turn != 1) {
  }
  const int fd = open(path, O_WRONLY);
  const int written = fd >= 0 && write(fd, "other", 5) == 5;
  turn = written ? 2 : 3;
  return NULL;
}

// Renamed by another thread, with an exec that failed as the last call that was made.
static int renamed_by_other(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, rename_main, (void*)(long)getpid());
  execl("/nowhere/program", "program", (char*)NULL);
  turn = 1;
  while (turn == 1) {
  }
  syscall(SYS_getsid, 0);
  return turn == 2 ? 0 : 1;
}

static void on_alarm(int signal) { (void)signal; }

// A handler interrupts a read that restarts.
static int restarts(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  int pair[2];
  if (pipe(pair) != 0) return 1;
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0) {
    usleep(50000);
    kill(parent, SIGALRM);
    usleep(50000);
    _exit(write(pair[1], "x", 1) == 1 ? 0 : 1);
  }
  char byte;
  return read(pair[0], &byte, 1) == 1 ? 0 : 1;
}

static int x32(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(0x40000000L | 39) : "rcx", "r11", "memory");
  return result == -ENOSYS || result > 0 ? 0 : 1;
}

static int compat(long n) {
  for (long i = 0; i < n; ++i) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20L) : "memory");  // getpid of i386
  }
  return 0;
}

// Processes that wake each other whenever they can: what stops one of them is undone at once.
static int wakers(long n, long calls) {
  setsid();
  for (long i = 0; i < n; ++i)
    if (fork() == 0) {
      for (long call = 0; call < calls; ++call) {
        syscall(SYS_getppid);
        kill(0, SIGCONT);
      }
      _exit(0);
    }
  while (wait(NULL) > 0) {
  }
  return 0;
}

// Calls whose arguments are structures.
static int structures(void) {
  unsigned long how[3] = {O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 4};  // RESOLVE_NO_SYMLINKS
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", how, sizeof how);
  unsigned long clone[11] = {0x10000000, 0, 0, 0, 99999};  // CLONE_NEWUSER, no such signal
  syscall(SYS_clone3, clone, sizeof clone);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nowhere/socket"};
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address};
  sendmsg(socket(AF_UNIX, SOCK_DGRAM, 0), &message, 0);
  return fd >= 0 ? 0 : 1;
}

// A file below so many directories that its path is longer than the system's longest.
static int deep_file(const char* base, long directories, const char* name) {
  if (chdir(base) != 0) return 1;
  for (long i = 0; i < directories; ++i)
    if (mkdir(name, 0700) != 0 || chdir(name) != 0) return 1;
  return open("file", O_CREAT | O_RDWR, 0600) >= 0 ? 0 : 1;
}

static int files(const char* path) {
  int fd = open(path, O_RDONLY);
  char missing[4200];
  memset(missing, 'a', sizeof missing);
  missing[0] = '/';
  missing[sizeof missing - 1] = '\0';
  open(missing, O_RDONLY);
  rename("/nowhere/\033[31mred", "/nowhere/b\n");
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nowhere/socket"};
  int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  connect(socket_fd, (struct sockaddr*)&address, sizeof address);
  prctl(PR_SET_NAME, "renamed");
  syscall(SYS_getsid, 0);
  return fd >= 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  long n = argc > 2 ? atol(argv[2]) : 0, m = argc > 3 ? atol(argv[3]) : 0;
  if (!strcmp(mode, "getppid")) return flood(n), 0;
  if (!strcmp(mode, "number")) return number(n);
  if (!strcmp(mode, "blocked")) return blocked(argv[2]);
  if (!strcmp(mode, "getsid")) {
    while (n-- > 0) syscall(SYS_getsid, 0);
    return 0;
  }
  if (!strcmp(mode, "threads")) return threads(n, m);
  if (!strcmp(mode, "short")) return short_lived(n);
  if (!strcmp(mode, "crowd")) return crowd(n, m);
  if (!strcmp(mode, "deep")) return deep(n);
  if (!strcmp(mode, "vfork")) return vforks(argv[0], n);
  if (!strcmp(mode, "denied")) return denied(n);
  if (!strcmp(mode, "kill-by-filter")) {
    filter(SECCOMP_RET_KILL_PROCESS, SYS_getpriority);
    syscall(SYS_getpriority, 0, 0);
    return 0;
  }
  if (!strcmp(mode, "kill-threads")) return kill_threads(n);
  if (!strcmp(mode, "failed-execs")) return failed_execs();
  if (!strcmp(mode, "exec-thread")) return exec_from_thread(argv[0]);
  if (!strcmp(mode, "killed")) return killed_mid_call();
  if (!strcmp(mode, "restart")) return restarts();
  if (!strcmp(mode, "x32")) return x32();
  if (!strcmp(mode, "compat")) return compat(n);
  if (!strcmp(mode, "files")) return files(argv[2]);
  if (!strcmp(mode, "deep-file") && argc > 4) return deep_file(argv[3], n, argv[4]);
  if (!strcmp(mode, "wakers")) return wakers(n, m);
  if (!strcmp(mode, "renamed")) return renamed_by_other();
  if (!strcmp(mode, "structures")) return structures();
  return 64;
}
