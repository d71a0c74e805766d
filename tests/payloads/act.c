// The action of the integration and escape tests: does one thing that its arguments say.
//
//   act VERB [ARGUMENT]...
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char* argument;  // the first after the verb, or ""

static void ready(void) {
  puts("ready");
  fflush(stdout);
}

static void wait_for_ever(void) {
  for (;;) pause();
}

static int do_exit(void) { return atoi(argument); }
static int do_raise(void) { return raise(atoi(argument)); }

static int do_cat(void) {
  static char block[65536];
  ssize_t n;
  while ((n = read(0, block, sizeof block)) > 0)
    for (ssize_t done = 0, m; done < n; done += m)
      if ((m = write(1, block + done, (size_t)(n - done))) <= 0) return 1;
  return n != 0;
}

// stdin to stdout and, each byte inverted, to stderr.
static int do_tee(void) {
  static char block[65536];
  ssize_t n;
  while ((n = read(0, block, sizeof block)) > 0) {
    for (ssize_t done = 0, m; done < n; done += m)
      if ((m = write(1, block + done, (size_t)(n - done))) <= 0) return 1;
    for (ssize_t i = 0; i < n; ++i) block[i] = (char)~block[i];
    for (ssize_t done = 0, m; done < n; done += m)
      if ((m = write(2, block + done, (size_t)(n - done))) <= 0) return 1;
  }
  return n != 0;
}

static int do_env(void) {
  extern char** environ;
  for (char** entry = environ; *entry; ++entry) puts(*entry);
  return 0;
}

static int do_cwd(void) {
  char path[4096];
  return puts(getcwd(path, sizeof path) ? path : "none") < 0;
}

static int do_read(void) {
  int fd = open(argument, O_RDONLY);
  if (fd < 0) return printf("%s\n", strerrorname_np(errno)) > 0;
  if (dup2(fd, 0) != 0) return 2;
  return do_cat();
}

static int do_write(void) {
  int fd = open(argument, O_CREAT | O_WRONLY, 0644);
  if (fd < 0 || write(fd, "written", 7) != 7) return printf("%s\n", strerrorname_np(errno)) > 0;
  return 0;
}

static int do_stat(void) {
  struct stat info;
  if (lstat(argument, &info)) return printf("%s\n", strerrorname_np(errno)) > 0;
  printf("%o %u %u %lx\n", info.st_mode, info.st_uid, info.st_gid, (unsigned long)info.st_rdev);
  return 0;
}

static int do_sleep(void) {
  ready();
  wait_for_ever();
  return 0;
}

static int do_ignore_term(void) {
  signal(SIGTERM, SIG_IGN);
  return do_sleep();
}

static void exit_9(int number) {
  (void)number;
  _exit(9);
}
static int do_term_9(void) {
  signal(SIGTERM, exit_9);
  return do_sleep();
}

static int do_stop(void) {
  ready();
  raise(SIGSTOP);
  wait_for_ever();
  return 0;
}

// Leaves a process behind: of another session, deaf to signals, without any stream.
static int do_daemon(void) {
  int ends[2];
  char byte;
  if (pipe(ends)) return 1;
  if (fork() == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    for (int number = 1; number < 65; ++number) signal(number, SIG_IGN);
    if (write(ends[1], "x", 1) != 1) _exit(1);
    for (int fd = 0; fd < 64; ++fd) close(fd);
    wait_for_ever();
  }
  if (read(ends[0], &byte, 1) != 1) return 1;
  ready();
  if (strcmp(argument, "stay") == 0) wait_for_ever();
  return 0;
}

static int do_fork_bomb(void) {
  ready();
  for (;;)
    if (fork() < 0) sched_yield();
  return 0;
}

static int do_flood(void) {
  static char block[65536];
  for (size_t i = 0; i < sizeof block; ++i) block[i] = (char)('a' + i % 26);
  for (long left = atol(argument); left > 0;) {
    ssize_t n = write(1, block, left < (long)sizeof block ? (size_t)left : sizeof block);
    if (n <= 0) return 1;
    left -= n;
  }
  return 0;
}

static void touch(char* memory, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
}

static int fill(int fd) {
  static char block[1 << 20];
  for (int i = 0; i < 512; ++i)
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) {
      printf("%s after %d MiB\n", strerrorname_np(errno), i);
      return 3;
    }
  return 0;
}

static int eat_pipes(void) {
  static char block[65536];
  for (int i = 0; i < 2000; ++i) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK)) return 3;
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    while (write(ends[1], block, sizeof block) > 0) {
    }
  }
  return 3;
}

// Half a GiB of one kind. 0: it was had; 3: refused; else a signal ends it.
static int do_eat(void) {
  const size_t bytes = 512u << 20;
  if (strcmp(argument, "memfd") == 0) return fill(memfd_create("eaten", 0));
  if (strcmp(argument, "pipes") == 0) return eat_pipes();
  if (argument[0] == '/') return fill(open(argument, O_CREAT | O_WRONLY, 0600));
  char* memory = MAP_FAILED;
  if (strcmp(argument, "anonymous") == 0)
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (strcmp(argument, "shared") == 0)
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (strcmp(argument, "sysv") == 0)
    memory = shmat(shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600), NULL, 0);
  if (memory == MAP_FAILED) return 4;
  touch(memory, bytes);
  return 0;
}

static int do_open_files(void) {
  int count = 0;
  while (open("/dev/null", O_RDONLY) >= 0) ++count;
  printf("%d %s\n", count, strerrorname_np(errno));
  return 0;
}

static int do_fds(void) {
  for (int fd = 0; fd < 1024; ++fd) {
    char path[64], link[256] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fcntl(fd, F_GETFD) == -1) continue;
    if (readlink(path, link, sizeof link - 1) < 0) strcpy(link, "?");
    printf("%d %.4s\n", fd, link);  // "pipe" or "/dev": the rest is the kernel's numbers
  }
  return 0;
}

// CVE-2019-5736: write into the program that started us, through every name that it has.
static int do_overwrite_exe(void) {
  static const char* const names[] = {"/proc/1/exe", "/proc/self/exe", "/proc/1/fd/3",
                                      "/proc/1/root/proc/self/exe", "/proc/self/fd/3"};
  int opened = 0;
  for (int round = 0; round < 2000; ++round)
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
      int fd = open(names[i], round % 2 ? O_WRONLY : O_RDWR);
      if (fd < 0) continue;
      ++opened;
      if (write(fd, "#!/owned\n", 9) > 0) ++opened;
      close(fd);
    }
  printf("%d\n", opened);
  return 0;
}

// CVE-2022-0492: a release agent runs as root on the host.
static int do_release_agent(void) {
  int done = 0;
  mkdir("/tmp/cgroup", 0755);
  static const char* const options[] = {"memory", "pids", "cpu", "rdma", "none,name=x"};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; ++i)
    done += mount("cgroup", "/tmp/cgroup", "cgroup", 0, options[i]) == 0;
  done += syscall(SYS_unshare, 0x12000000 /* NEWUSER | NEWCGROUP */) == 0;
  static const char* const files[] = {
      "/tmp/cgroup/release_agent",           "/sys/fs/cgroup/release_agent",
      "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/release_agent",
      "/tmp/cgroup/notify_on_release",       "/sys/fs/cgroup/cgroup.procs"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    int fd = open(files[i], O_WRONLY);
    done += fd >= 0 && write(fd, "/tmp/owned", 10) > 0;
  }
  printf("%d\n", done);
  return 0;
}

// CVE-2017-5226.
static int do_tiocsti(void) {
  int terminals = 0, pushed = 0;
  for (int fd = 0; fd < 3; ++fd) {
    terminals += isatty(fd);
    for (const char* c = "touch /owned\n"; *c; ++c) pushed += ioctl(fd, TIOCSTI, c) == 0;
  }
  int fd = open("/dev/tty", O_RDWR);
  if (fd >= 0) pushed += ioctl(fd, TIOCSTI, "x") == 0;
  printf("%d %d\n", terminals, pushed);
  return 0;
}

// CVE-2016-9962.
static int do_trace_init(void) {
  int done = 0;
  done += ptrace(PTRACE_SEIZE, 1, 0, 0) == 0;
  done += ptrace(PTRACE_ATTACH, 1, 0, 0) == 0;
  static const char* const files[] = {"/proc/1/mem",  "/proc/1/environ",  "/proc/1/maps",
                                      "/proc/1/fd/3", "/proc/1/root/etc", "/proc/1/cwd/etc"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) done += open(files[i], O_RDONLY) >= 0;
  printf("%d\n", done);
  ready();
  wait_for_ever();
  return 0;
}

static int do_limits(void) {
  static const int resources[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE};
  for (int i = 0; i < 3; ++i) {
    struct rlimit limit;
    getrlimit(resources[i], &limit);
    printf("%llu ", (unsigned long long)limit.rlim_max);
  }
  puts("");
  return 0;
}

// As many pending signals as there can be, for a while.
static int do_queue(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int count = 0;
  const union sigval nothing = {0};
  while (count < 100000 && sigqueue(getpid(), SIGRTMIN, nothing) == 0) ++count;
  printf("%d\n", count);
  fflush(stdout);
  pause();
  return 0;
}

// nice value, scheduling policy, class of input and output.
static int do_priority(void) {
  printf("%d %d %ld\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0),
         syscall(SYS_ioprio_get, 1, 0) >> 13);
  return 0;
}

static const struct {
  const char* verb;
  int (*run)(void);
} kVerbs[] = {{"exit", do_exit},
              {"raise", do_raise},
              {"cat", do_cat},
              {"tee", do_tee},
              {"env", do_env},
              {"cwd", do_cwd},
              {"read", do_read},
              {"write", do_write},
              {"stat", do_stat},
              {"sleep", do_sleep},
              {"ignore-term", do_ignore_term},
              {"term-9", do_term_9},
              {"stop", do_stop},
              {"daemon", do_daemon},
              {"fork-bomb", do_fork_bomb},
              {"flood", do_flood},
              {"eat", do_eat},
              {"open-files", do_open_files},
              {"fds", do_fds},
              {"overwrite-exe", do_overwrite_exe},
              {"release-agent", do_release_agent},
              {"tiocsti", do_tiocsti},
              {"trace-init", do_trace_init},
              {"limits", do_limits},
              {"priority", do_priority},
              {"queue", do_queue}};

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  argument = argc > 2 ? argv[2] : "";
  for (size_t i = 0; i < sizeof kVerbs / sizeof kVerbs[0]; ++i)
    if (strcmp(argv[1], kVerbs[i].verb) == 0) return kVerbs[i].run();
  return 64;
}
