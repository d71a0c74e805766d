// Which instructions a program runs: starts it, follows it and its threads step by step, and prints
// the address of each instruction, in the order of their first run, relative to where the program
// was loaded. For ci/start_order.
//
//   trace_start PROGRAM [ARGUMENT...]        PROGRAM is position-independent; a minute or so
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kMaxBytes = 64 << 20 };
static unsigned char seen[kMaxBytes];

static uint64_t load_address(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/maps", pid);
  FILE* maps = fopen(path, "r");
  unsigned long long start = 0;
  if (maps == NULL || fscanf(maps, "%llx", &start) != 1) exit(2);
  fclose(maps);
  return start;
}

static void note(uint64_t address) {
  if (address >= kMaxBytes || seen[address]) return;
  seen[address] = 1;
  printf("%llx\n", (unsigned long long)address);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const pid_t first = fork();
  if (first == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execv(argv[1], argv + 1);
    _exit(127);
  }
  int status = 0;
  if (waitpid(first, &status, 0) != first || !WIFSTOPPED(status)) return 2;
  const uint64_t base = load_address(first);
  // Threads, not the child of the sandbox: its code runs in the launcher's memory, and is in one
  // place.
  ptrace(PTRACE_SETOPTIONS, first, NULL, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
  ptrace(PTRACE_SINGLESTEP, first, NULL, NULL);
  for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid == first) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      continue;
    }
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0) note(registers.rip - base);
    const int signal =
        WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
    ptrace(PTRACE_SINGLESTEP, pid, NULL, signal);
  }
  return 2;
}
