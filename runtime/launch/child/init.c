// The init: pid 1 of an action's pid namespace. Starts the action, forwards signals to it, reaps,
// reports how it ended, and ends, which ends everything in the namespace.
//
// Its own small static program, executed from a sealed memory file: what the action could see of
// it holds nothing of the launcher's memory (CVE-2019-5736), and it is not dumpable, so that the
// action (which has the same uid) cannot trace it, read its /proc files or take its descriptors.
//
// Built without libc. Descriptor 3 is the report socket.
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "init_report.h"

static long Call(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

static void Exit(int status) {
  for (;;) Call(SYS_exit_group, status, 0, 0, 0);
}

static void Report(uint32_t kind, int32_t value) {
  struct carrel_init_report report = {kind, value};
  Call(SYS_write, CARREL_REPORT_FD, (long)&report, sizeof report, 0);
}

static int Contains(const char* text, char wanted) {
  for (; *text; ++text)
    if (*text == wanted) return 1;
  return 0;
}

static const char* PathOf(char** environment) {
  for (; *environment; ++environment) {
    const char* e = *environment;
    if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=') return e + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

// execvp: tries the directories of PATH in order; a program that is there but cannot be executed
// is remembered over one that is not there.
static int32_t ExecuteProgram(char** argv, char** environment) {
  if (Contains(argv[0], '/'))
    return (int32_t)-Call(SYS_execve, (long)argv[0], (long)argv, (long)environment, 0);
  int32_t error = ENOENT;
  for (const char* start = PathOf(environment);;) {
    char path[4096];
    unsigned length = 0;
    const char* p = start;
    for (; *p && *p != ':' && length < sizeof path - 2; ++p) path[length++] = *p;
    if (length == 0) path[length++] = '.';
    path[length++] = '/';
    const char* name = argv[0];
    for (; *name && length < sizeof path - 1; ++name) path[length++] = *name;
    path[length] = 0;
    if (*name == 0 && (*p == ':' || *p == 0)) {
      int32_t result = (int32_t)-Call(SYS_execve, (long)path, (long)argv, (long)environment, 0);
      if (result != ENOENT && result != ENOTDIR) error = result;
    }
    while (*p && *p != ':') ++p;
    if (*p == 0) return error;
    start = p + 1;
  }
}

static void RunAction(char** argv, char** environment) {
  uint64_t none = 0;
  Call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, 8);
  int32_t error = ExecuteProgram(argv, environment);
  Report(CARREL_REPORT_EXEC_FAILED, error);
  Exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

static int ShellStatus(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Takes every child that has ended; ends itself when the action is among them.
static void Reap(long action) {
  int status;
  for (;;) {
    long pid = Call(SYS_wait4, -1, (long)&status, WNOHANG, 0);
    if (pid <= 0) return;
    if (pid != action) continue;
    Report(CARREL_REPORT_EXITED, status);
    Exit(ShellStatus(status));
  }
}

__attribute__((used)) void InitMain(long* stack) {
  char** argv = (char**)(stack + 1);
  char** environment = argv + stack[0] + 1;
  if (Call(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0) < 0) Exit(125);
  if (Call(SYS_fcntl, CARREL_REPORT_FD, F_SETFD, FD_CLOEXEC, 0) < 0) Exit(125);
  long action = Call(SYS_clone, SIGCHLD, 0, 0, 0);
  if (action < 0) {
    Report(CARREL_REPORT_FORK_FAILED, (int32_t)-action);
    Exit(125);
  }
  if (action == 0) RunAction(argv + 1, environment);
  // The action's end must not be missed by a pipe that the init keeps open.
  for (int fd = 0; fd < 3; ++fd) Call(SYS_close, fd, 0, 0, 0);
  uint64_t all = ~0ull;
  for (;;) {
    long signal = Call(SYS_rt_sigtimedwait, (long)&all, 0, 0, 8);
    if (signal == SIGCHLD)
      Reap(action);
    else if (signal > 0)
      Call(SYS_kill, action, signal, 0, 0);
  }
}

__asm__(
    ".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call InitMain\n"
    "  hlt\n");
