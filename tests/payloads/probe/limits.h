// Limits: what the kernel stops. The test gives --memory 256M, --pids 100.
#ifndef PROBE_LIMITS_H_
#define PROBE_LIMITS_H_

#include <mqueue.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "report.h"

enum { kBombMiB = 512 };

static void touch(char* memory, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
}

static int eat_anonymous(void) {
  char* memory = mmap(NULL, (size_t)kBombMiB << 20, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 1;
  touch(memory, (size_t)kBombMiB << 20);
  return 0;
}

static int fill(int fd) {
  static char block[1 << 20];
  memset(block, 1, sizeof block);
  for (int i = 0; i < kBombMiB; ++i)
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) return 1;
  return 0;
}
static int eat_memfd(void) { return fill(memfd_create("bomb", 0)); }
static int eat_tmp(void) { return fill(open("/tmp/bomb", O_CREAT | O_WRONLY, 0600)); }
static int eat_dev_shm(void) { return fill(open("/dev/shm/bomb", O_CREAT | O_WRONLY, 0600)); }

static int eat_sysv(void) {
  int id = shmget(IPC_PRIVATE, (size_t)kBombMiB << 20, IPC_CREAT | 0600);
  if (id == -1) return 1;
  char* memory = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  if (memory == (char*)-1) return 1;
  touch(memory, (size_t)kBombMiB << 20);
  return 0;
}

// 4,000 pipes of a megabyte each.
static int eat_pipes(void) {
  static char block[65536];
  size_t held = 0;
  for (int i = 0; i < 2000; ++i) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK)) break;
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    for (ssize_t n; (n = write(ends[1], block, sizeof block)) > 0;) held += (size_t)n;
  }
  return held < ((size_t)kBombMiB << 20);
}

static int fork_until_refused(void) {
  int count = 0;
  pid_t pids[2000];
  for (; count < 2000; ++count) {
    pids[count] = fork();
    if (pids[count] == 0) {
      pause();
      _exit(0);
    }
    if (pids[count] < 0) break;
  }
  for (int i = 0; i < count; ++i) {
    kill(pids[i], SIGKILL);
    waitpid(pids[i], NULL, 0);
  }
  return count >= 250 ? 250 : count;
}

static int open_until_refused(void) {
  int count = 0;
  while (count < 30000 && open("/dev/null", O_RDONLY) >= 0) ++count;
  return count >= 30000;
}

static void probe_rlimits(void) {
  static const struct {
    const char* name;
    int resource;
    rlim_t most;
  } limits[] = {{"core", RLIMIT_CORE, 0},
                {"nofile", RLIMIT_NOFILE, 65536},
                {"nproc", RLIMIT_NPROC, 4194304},
                {"memlock", RLIMIT_MEMLOCK, 8 << 20},
                {"msgqueue", RLIMIT_MSGQUEUE, 1 << 20},
                {"sigpending", RLIMIT_SIGPENDING, 65536},
                {"nice", RLIMIT_NICE, 0},
                {"rtprio", RLIMIT_RTPRIO, 0},
                {"fsize", RLIMIT_FSIZE, 1ul << 40}};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; ++i) {
    struct rlimit limit;
    getrlimit(limits[i].resource, &limit);
    char name[40];
    snprintf(name, sizeof name, "rlimit-%s", limits[i].name);
    barred(name, limit.rlim_max <= limits[i].most, "%llu %llu", (unsigned long long)limit.rlim_cur,
           (unsigned long long)limit.rlim_max);
    ++limit.rlim_max;
    snprintf(name, sizeof name, "rlimit-%s-raise", limits[i].name);
    barred(name, setrlimit(limits[i].resource, &limit) == -1, "%s", strerrorname_np(errno));
  }
}

static void probe_bombs(void) {
  static const struct {
    const char* name;
    int (*eat)(void);
  } bombs[] = {{"memory-anonymous", eat_anonymous},
               {"memory-memfd", eat_memfd},
               {"memory-tmp", eat_tmp},
               {"memory-dev-shm", eat_dev_shm},
               {"memory-sysv", eat_sysv},
               {"memory-pipes", eat_pipes}};
  for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; ++i) {
    const int status = in_child(bombs[i].eat);
    barred(bombs[i].name, status != 0, "%d MiB: exit status %d", kBombMiB, status);
    unlink("/tmp/bomb");
    unlink("/dev/shm/bomb");
  }
  const int count = in_child(fork_until_refused);
  barred("processes", count > 10 && count < 100, "%d", count);
  barred("open-files", in_child(open_until_refused) == 0, "EMFILE");
}

static int real_time(void) {
  struct sched_param param = {.sched_priority = 1};
  return sched_setscheduler(0, SCHED_FIFO, &param) == 0;
}
static int nicer(void) { return setpriority(PRIO_PROCESS, 0, -5) == 0; }
static int io_real_time(void) { return syscall(SYS_ioprio_set, 1, 0, 1 << 13) == 0; }
static int lock_memory(void) {
  void* memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mlock(memory, 64 << 20) == 0;
}

static int batch(void) {
  struct sched_param param = {.sched_priority = 0};
  return sched_setscheduler(0, SCHED_BATCH, &param);
}

static void* nothing(void* argument) { return argument; }

// With attributes of its own, as some libraries start their threads.
static int thread_with_policy(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy(&attributes, SCHED_OTHER);
  return pthread_create(&thread, &attributes, nothing, NULL) || pthread_join(thread, NULL);
}

static void probe_scheduling(void) {
  needed("schedule-batch", in_child(batch) == 0, "SCHED_BATCH");
  needed("schedule-own-policy", in_child(thread_with_policy) == 0, "pthread_create");
  barred("schedule-real-time", in_child(real_time) == 0, "SCHED_FIFO");
  barred("schedule-nicer", in_child(nicer) == 0, "nice -5");
  barred("schedule-io-real-time", in_child(io_real_time) == 0, "IOPRIO_CLASS_RT");
  // The host's reserve of huge pages is charged to nobody.
  barred("memory-huge-pages",
         mmap(NULL, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) ==
                 MAP_FAILED &&
             errno == EPERM,
         "%s", strerrorname_np(errno));
  barred("memory-lock", in_child(lock_memory) == 0, "64 MiB");
  char text[64];
  slurp("/proc/self/coredump_filter", text, sizeof text);
  barred("core-holds-nothing", strtoul(text, NULL, 16) == 0, "coredump_filter %s", text);
  slurp("/proc/self/oom_score_adj", text, sizeof text);
  barred("oom-score", atoi(text) >= 0, "%s", text);
}

// The test makes a segment, a semaphore set and a queue of this key on the host.
static void probe_ipc(void) {
  const char* text = getenv("PROBE_HOST_IPC");
  const key_t key = text ? (key_t)strtoul(text, NULL, 0) : 0x1234;
  barred("host-sysv-shm", shmget(key, 0, 0) == -1, "%s", strerrorname_np(errno));
  barred("host-sysv-sem", semget(key, 0, 0) == -1, "%s", strerrorname_np(errno));
  barred("host-sysv-msg", msgget(key, 0) == -1, "%s", strerrorname_np(errno));
  struct shminfo info;
  const int highest = shmctl(0, IPC_INFO, (struct shmid_ds*)&info);
  barred("host-sysv-list", highest <= 0, "%d", highest);
  const mqd_t queue = mq_open("/carrel-probe-host", O_RDONLY);
  barred("posix-mq", queue == (mqd_t)-1 && errno == ENOSYS, "%s", strerrorname_np(errno));
}

static void probe_limits(void) {
  probe_rlimits();
  probe_scheduling();
  probe_ipc();
  probe_bombs();
}

#endif
