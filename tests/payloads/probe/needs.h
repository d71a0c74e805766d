// What Python, R, ehrQL and their libraries need, beyond files.
#ifndef PROBE_NEEDS_H_
#define PROBE_NEEDS_H_

#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>

#include "files.h"
#include "report.h"

static void* thread_body(void* value) {
  *(int*)value = 42;
  return NULL;
}
static int threads(void) {
  pthread_t all[32];
  int values[32] = {0}, good = 0;
  for (int i = 0; i < 32; ++i)
    if (pthread_create(&all[i], NULL, thread_body, &values[i])) return 1;
  for (int i = 0; i < 32; ++i) pthread_join(all[i], NULL), good += values[i] == 42;
  return good != 32;
}

static int spawn(void) {
  extern char** environ;
  pid_t pid;
  char* const args[] = {(char*)self_path, (char*)"--exit-42", NULL};
  int status = 0;
  if (posix_spawn(&pid, self_path, NULL, NULL, args, environ)) return 1;
  return waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 42;
}

static int pipes(void) {
  int ends[2], status = 0;
  char text[6] = "";
  if (pipe(ends)) return 1;
  pid_t pid = fork();
  if (pid == 0) _exit(write(ends[1], "child", 5) != 5);
  waitpid(pid, &status, 0);
  return status != 0 || read(ends[0], text, 5) != 5 || strcmp(text, "child") != 0;
}

static int events(void) {
  int epoll = epoll_create1(0), event = eventfd(1, 0);
  struct epoll_event wanted = {.events = EPOLLIN}, got;
  if (epoll < 0 || event < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted)) return 1;
  if (epoll_wait(epoll, &got, 1, 1000) != 1) return 2;
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec when = {.it_value = {0, 1000000}};
  uint64_t expirations = 0;
  if (timerfd_settime(timer, 0, &when, NULL)) return 3;
  if (read(timer, &expirations, sizeof expirations) != sizeof expirations) return 4;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int signals = signalfd(-1, &set, 0);
  struct signalfd_siginfo info;
  raise(SIGUSR2);
  return read(signals, &info, sizeof info) == sizeof info ? 0 : 5;
}

static int shared_memory(void) {
  int fd = shm_open("/probe", O_CREAT | O_RDWR, 0600);
  if (fd < 0 || ftruncate(fd, 4096)) return 1;
  sem_t* semaphore = sem_open("/probe-sem", O_CREAT, 0600, 1);
  if (semaphore == SEM_FAILED || sem_wait(semaphore)) return 2;
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  if (id < 0 || shmctl(id, IPC_RMID, NULL)) return 3;
  return 0;
}

static int nested_seccomp(void) {
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program)) return 1;
  if (syscall(SYS_getppid) != -1 || errno != 77) return 2;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0;
}

static int nested_landlock(void) {
  struct landlock_ruleset_attr attributes = {LANDLOCK_ACCESS_FS_WRITE_FILE |
                                             LANDLOCK_ACCESS_FS_MAKE_REG};
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (ruleset < 0) return 1;
  if (syscall(SYS_landlock_restrict_self, ruleset, 0)) return 2;
  return open("/tmp/after-landlock", O_CREAT | O_WRONLY, 0600) != -1 || errno != EACCES;
}

// Landlock is about the sandbox too where a device's commands are refused that its driver would
// answer with ENOTTY (kernels from 6.10, ABI 5).
static void probe_landlock(void) {
  const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
  int fd = open("/dev/zero", O_RDWR);
  struct termios settings;
  const int code = tcgetattr(fd, &settings) == -1 ? errno : 0;
  if (fd >= 0) close(fd);
  barred("landlock", abi < 5 || code == EACCES, "ABI %ld, %s", abi, strerrorname_np(code));
}

static int processors_in(const char* path, const char* prefix) {
  static char text[1 << 20];
  slurp(path, text, sizeof text);
  int count = 0;
  char* save = NULL;
  for (char* line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
    count += strncmp(line, prefix, strlen(prefix)) == 0;
  return count;
}

static void probe_view(void) {
  const char *cpus = getenv("PROBE_CPUS"), *memory = getenv("PROBE_MEMORY");
  if (!cpus || !memory) return;
  const long wanted = atol(cpus);
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  needed("processors-affinity", CPU_COUNT(&set) == wanted, "%d", CPU_COUNT(&set));
  needed("processors-online", sysconf(_SC_NPROCESSORS_ONLN) == wanted, "%ld",
         sysconf(_SC_NPROCESSORS_ONLN));
  needed("processors-cpuinfo", processors_in("/proc/cpuinfo", "processor") == wanted, "%d",
         processors_in("/proc/cpuinfo", "processor"));
  needed("processors-stat", processors_in("/proc/stat", "cpu") == wanted + 1, "/proc/stat");
  char text[4096];
  unsigned long long kib = 0;
  slurp("/proc/meminfo", text, sizeof text);
  sscanf(text, "MemTotal: %llu", &kib);
  needed("memory-meminfo", kib << 10 == strtoull(memory, NULL, 10), "%llu KiB", kib);
  slurp("/sys/fs/cgroup/memory.max", text, sizeof text);
  needed("memory-cgroup-file", strtoull(text, NULL, 10) == strtoull(memory, NULL, 10), "%s", text);
  slurp("/proc/sys/kernel/osrelease", text, sizeof text);
  needed("proc-sys-osrelease", text[0] != 0, "%s", text);
  slurp("/proc/sys/vm/overcommit_memory", text, sizeof text);
  needed("proc-sys-overcommit", text[0] == '0', "%s", text);
  needed("proc-self-maps", slurp("/proc/self/maps", text, sizeof text) > 0, "read");
  needed("proc-self-statm", slurp("/proc/self/statm", text, sizeof text) > 0, "read");
  needed("proc-filesystems", slurp("/proc/filesystems", text, sizeof text) > 0, "read");
}

static int catch_child(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  int status = 0;
  return kill(pid, SIGTERM) || waitpid(pid, &status, 0) != pid || WTERMSIG(status) != SIGTERM;
}

static int names(void) {
  char name[16] = "";
  prctl(PR_SET_NAME, "probe-name");
  prctl(PR_GET_NAME, name);
  return strcmp(name, "probe-name") != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0;
}

static int group(void) { return setpgid(0, 0) != 0 || getpgrp() != getpid(); }

static int memory_calls(void) {
  char* memory = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || madvise(memory, 4 << 20, MADV_HUGEPAGE) != 0) return 1;
  if (mremap(memory, 4 << 20, 8 << 20, MREMAP_MAYMOVE) == MAP_FAILED) return 2;
  return mlock(memory, 4096) != 0 && errno != ENOMEM;
}

static int times(void) {
  struct timespec now;
  timer_t timer;
  if (clock_gettime(CLOCK_REALTIME, &now) || now.tv_sec < 1000000000) return 1;
  if (clock_gettime(CLOCK_BOOTTIME, &now)) return 2;
  return timer_create(CLOCK_MONOTONIC, NULL, &timer) != 0;
}

static void probe_needs(void) {
  static const struct {
    const char* name;
    int (*body)(void);
  } needs[] = {{"threads", threads},
               {"posix-spawn", spawn},
               {"fork-and-pipe", pipes},
               {"events", events},
               {"shared-memory", shared_memory},
               {"nested-seccomp", nested_seccomp},
               {"nested-landlock", nested_landlock},
               {"signal-own-child", catch_child},
               {"names", names},
               {"process-group", group},
               {"memory-calls", memory_calls},
               {"clocks-and-timers", times}};
  for (size_t i = 0; i < sizeof needs / sizeof needs[0]; ++i) {
    const int status = in_child(needs[i].body);
    needed(needs[i].name, status == 0, "%d", status);
  }
  char bytes[16];
  needed("getrandom", syscall(SYS_getrandom, bytes, sizeof bytes, 0) == sizeof bytes, "16 bytes");
  struct sysinfo info;
  needed("sysinfo", sysinfo(&info) == 0, "pages of memory");
  probe_landlock();
  probe_view();
}

#endif
