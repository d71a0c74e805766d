// An action that wants its log to be lost, wrong or too large. Counted calls are getppid and
// getsid, which nothing else here makes.
//
//   audit_attack MODE [N [M]]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(void) {
  while (wait(NULL) > 0 || errno == EINTR) {
  }
}

// A path of 4095 bytes that no other call has.
static void long_path(char* path, long number, char fill) {
  memset(path, fill, 4095);
  path[4095] = '\0';
  path[snprintf(path, 32, "/%c%ld", fill, number)] = '/';
}

// A path of two thousand directories that no other call has.
static void many_directories(char* path, long number) {
  const int head = snprintf(path, 32, "/%ld", number);
  for (int i = head; i < 4094; i += 2) memcpy(path + i, "/a", 3);
}

static void renames(long number, long n) {
  char from[4096], to[4096];
  for (long i = 0; i < n; ++i) {
    long_path(from, number * n + i, 'x');
    long_path(to, number * n + i, 'y');
    syscall(SYS_rename, from, to);
    syscall(SYS_getppid);
  }
}

static int crowd_of_renames(long processes, long n) {
  for (long i = 0; i < processes; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      renames(i, n);
      _exit(0);
    }
    if (pid < 0) return 1;
  }
  reap();
  return 0;
}

static pthread_barrier_t barrier;

static void* name_much(void* number) {
  renames((long)number, 1);
  char names[3][4096];
  for (int i = 0; i < 3; ++i) long_path(names[i], (long)number, (char)('a' + i));
  syscall(SYS_mount, names[0], names[1], names[2], 0, NULL);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return NULL;
}

// Each has given long strings, and all stay.
static int threads_that_stay(long n) {
  pthread_t* all = calloc((size_t)n, sizeof *all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_barrier_init(&barrier, NULL, (unsigned)n + 1);
  for (long i = 0; i < n; ++i)
    if (pthread_create(&all[i], &attributes, name_much, (void*)i) != 0) return 1;
  pthread_barrier_wait(&barrier);
  sleep(2);
  pthread_barrier_wait(&barrier);
  for (long i = 0; i < n; ++i) pthread_join(all[i], NULL);
  return 0;
}

static int directories(long n) {
  char path[4100];
  for (long i = 0; i < n; ++i) {
    many_directories(path, i);
    (void)open(path, O_RDONLY);
    syscall(SYS_getppid);
  }
  return 0;
}

// Programs with arguments of 128 KiB, one after the other.
static int execs(const char* self, long n) {
  char* large = malloc(128 << 10);
  memset(large, 'x', 128 << 10);
  large[(128 << 10) - 1] = '\0';
  for (long i = 0; i < n; ++i) {
    if (vfork() == 0) {
      execl(self, self, "getsid", "1", large, (char*)NULL);
      _exit(1);
    }
    reap();
  }
  return 0;
}

// Children that are killed while they execute.
static int killed_execs(const char* self, long n) {
  volatile int* called =
      mmap(NULL, sizeof *called, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (long i = 0; i < n; ++i) {
    *called = 0;
    const pid_t pid = fork();
    if (pid == 0) {
      syscall(SYS_getppid);
      *called = 1;
      execl(self, self, "nothing", (char*)NULL);
      _exit(1);
    }
    while (*called == 0) {
    }
    for (volatile long wait = 0; wait < i % 64 * 500; ++wait) {
    }
    kill(pid, SIGKILL);
    reap();
  }
  return 0;
}

// Brothers, not children; and orphans in sessions of their own.
static int strangers(long n) {
  for (long i = 0; i < n; ++i) {
    if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) {
      syscall(SYS_getppid);
      _exit(0);
    }
    if (fork() == 0) {
      setsid();
      if (fork() == 0) {
        syscall(SYS_getppid);
        _exit(0);
      }
      _exit(0);
    }
    reap();
  }
  sleep(1);
  return 0;
}

static void on_trap(int signal) { (void)signal; }

// A filter of its own, inside carrel's: getppid fails, getsid traps.
static int own_filter(long n) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBADMSG),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  signal(SIGSYS, on_trap);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
  for (long i = 0; i < n; ++i) {
    syscall(SYS_getppid);
    syscall(SYS_getsid, 0);
  }
  return 0;
}

// Children stopped and continued all the time while they count; one of them traced, if that is let.
static int storm(long n) {
  pid_t pids[4];
  for (int i = 0; i < 4; ++i) {
    pids[i] = fork();
    if (pids[i] != 0) continue;
    if (i == 0) ptrace(PTRACE_TRACEME, 0, 0, 0);
    for (long k = 0; k < n; ++k) syscall(SYS_getppid);
    _exit(0);
  }
  for (int left = 4, turn = 0; left > 0; ++turn) {
    const pid_t pid = pids[turn % 4];
    if (pid > 0) kill(pid, turn % 8 < 4 ? SIGSTOP : SIGCONT);
    int status = 0;
    const pid_t ended = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED);
    if (ended > 0 && WIFSTOPPED(status)) ptrace(PTRACE_CONT, ended, 0, 0);
    if (ended <= 0 || !(WIFEXITED(status) || WIFSIGNALED(status))) continue;
    --left;
    for (int i = 0; i < 4; ++i)
      if (pids[i] == ended) pids[i] = -1;
  }
  return 0;
}

// Names that would speak to a terminal; a large writev; a message with descriptors; a mapped file.
static int odd_calls(void) {
  prctl(PR_SET_NAME, "\033[31m\n\t\"\\\x80\xff");
  syscall(SYS_getppid);
  static char large[1 << 20];
  struct iovec pieces[1024];
  for (int i = 0; i < 1024; ++i) pieces[i] = (struct iovec){large, 512 << 10};
  const int null = open("/dev/null", O_WRONLY);
  if (writev(null, pieces, 1024) <= 0) return 1;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  char control[CMSG_SPACE(64 * sizeof(int))];
  struct iovec byte = {large, 1};
  struct msghdr message = {
      .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){CMSG_LEN(64 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  for (int i = 0; i < 64; ++i) memcpy(CMSG_DATA(head) + i * sizeof(int), &null, sizeof null);
  if (sendmsg(pair[0], &message, 0) != 1) return 1;
  syscall(SYS_getppid);
  return 0;
}

static int run(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  const long n = argc > 2 ? atol(argv[2]) : 0, m = argc > 3 ? atol(argv[3]) : 0;
  if (!strcmp(mode, "nothing")) return 0;
  if (!strcmp(mode, "getsid")) return syscall(SYS_getsid, 0), 0;
  if (!strcmp(mode, "renames")) return crowd_of_renames(n, m);
  if (!strcmp(mode, "threads")) return threads_that_stay(n);
  if (!strcmp(mode, "directories")) return directories(n);
  if (!strcmp(mode, "execs")) return execs(argv[0], n);
  if (!strcmp(mode, "killed-execs")) return killed_execs(argv[0], n);
  if (!strcmp(mode, "strangers")) return strangers(n);
  if (!strcmp(mode, "own-filter")) return own_filter(n);
  if (!strcmp(mode, "storm")) return storm(n);
  if (!strcmp(mode, "odd-calls")) return odd_calls();
  fprintf(stderr, "unknown mode\n");
  return 2;
}

int main(int argc, char** argv) { return run(argc, argv); }
