// Who the action is: ids, capabilities, namespaces, descriptors, inherited state.
#ifndef PROBE_IDENTITY_H_
#define PROBE_IDENTITY_H_

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "report.h"

static void probe_ids(void) {
  uid_t r, e, s;
  getresuid(&r, &e, &s);
  barred("uid-not-root", r != 0 && r == e && e == s, "%u %u %u", r, e, s);
  getresgid(&r, &e, &s);
  barred("gid-not-root", r != 0 && r == e && e == s, "%u %u %u", r, e, s);
  gid_t groups[64];
  const int count = getgroups(64, groups);
  barred("supplementary-groups", count == 0, "%d", count);
  barred("setuid-0", setuid(0) == -1, "%s", strerrorname_np(errno));
  barred("setgid-0", setgid(0) == -1, "%s", strerrorname_np(errno));
  barred("setresuid-other", setresuid(1, 1, 1) == -1, "%s", strerrorname_np(errno));
  unsigned inside = 0, outside = 0, length = 0;
  char text[256];
  slurp("/proc/self/uid_map", text, sizeof text);
  sscanf(text, "%u %u %u", &inside, &outside, &length);
  barred("uid-map-one-id", length == 1 && inside != 0 && outside != 0, "%s", text);
}

static void probe_capabilities(void) {
  static const char* const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
  for (size_t i = 0; i < 5; ++i) {
    char key[16], name[32];
    snprintf(key, sizeof key, "%s:", sets[i]);
    snprintf(name, sizeof name, "capabilities-%s", sets[i] + 3);
    const char* value = status_field(key);
    barred(name, strspn(value, "0") == strlen(value), "%s", value);
  }
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{1u << CAP_SYS_ADMIN, 1u << CAP_SYS_ADMIN, 0}};
  barred("capset-gain", syscall(SYS_capset, &header, data) == -1, "%s", strerrorname_np(errno));
  data[0] = (struct __user_cap_data_struct){0, 0, 1u << CAP_SYS_ADMIN};
  barred("capset-inheritable", syscall(SYS_capset, &header, data) == -1, "%s",
         strerrorname_np(errno));
  barred("ambient-raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == -1, "%s",
         strerrorname_np(errno));
  const int wanted = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  const int bits = prctl(PR_GET_SECUREBITS);
  barred("securebits-locked", bits == wanted, "%#x", bits);
  barred("no-new-privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "%s",
         status_field("NoNewPrivs:"));
  barred("seccomp-mode", strcmp(status_field("Seccomp:"), "2") == 0, "%s",
         status_field("Seccomp:"));
}

// The host's namespaces come as "mnt:[4026531840] net:[...] ..." from the test.
static void probe_namespaces(void) {
  static const char* const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
  const char* host = getenv("PROBE_HOST_NS");
  for (size_t i = 0; i < 8; ++i) {
    char path[64], link[64] = "", name[32];
    snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
    snprintf(name, sizeof name, "namespace-%s", names[i]);
    const ssize_t n = readlink(path, link, sizeof link - 1);
    barred(name, n > 0 && host != NULL && strstr(host, link) == NULL, "%s", link);
  }
  struct utsname uts;
  uname(&uts);
  const char* node = getenv("PROBE_HOST_NAME");
  barred("hostname", node == NULL || strcmp(node, uts.nodename) != 0, "%s", uts.nodename);
  barred("domainname", strcmp(uts.domainname, "(none)") == 0, "%s", uts.domainname);
  char text[4096];
  slurp("/proc/self/cgroup", text, sizeof text);
  int elsewhere = 0;
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    elsewhere += strcmp(strrchr(line, ':'), ":/") != 0;
  barred("cgroup-path", elsewhere == 0, "%d lines tell a path", elsewhere);
}

static void probe_inherited(void) {
  int extra = 0, last = -1;
  for (int fd = 3; fd < 70000; ++fd)
    if (fcntl(fd, F_GETFD) != -1) ++extra, last = fd;
  barred("descriptors", extra == 0, "%d beside 0, 1, 2; last %d", extra, last);
  int directories = 0;
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info;
    directories += fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
  }
  barred("descriptor-to-directory", directories == 0, "%d", directories);
  char cwd[4096];
  barred("working-directory", getcwd(cwd, sizeof cwd) && cwd[0] == '/', "%s", cwd);
  struct stat root, up;
  barred("root-is-top",
         stat("/", &root) == 0 && stat("/../../..", &up) == 0 && root.st_ino == up.st_ino &&
             root.st_dev == up.st_dev,
         "..");
  needed("signals-not-ignored", strspn(status_field("SigIgn:"), "0") == 16, "%s",
         status_field("SigIgn:"));
  needed("signals-not-blocked", strspn(status_field("SigBlk:"), "0") == 16, "%s",
         status_field("SigBlk:"));
  needed("umask-022", strcmp(status_field("Umask:"), "0022") == 0, "%s", status_field("Umask:"));
  needed("personality-plain", syscall(SYS_personality, 0xffffffff) == 0, "%lx",
         (unsigned long)syscall(SYS_personality, 0xffffffff));
  barred("terminal", open("/dev/tty", O_RDWR) == -1, "%s", strerrorname_np(errno));
  extern char** environ;
  int unknown = 0;
  for (char** entry = environ; *entry; ++entry)
    unknown += strncmp(*entry, "PROBE_", 6) != 0 && strncmp(*entry, "PATH=", 5) != 0 &&
               strncmp(*entry, "HOME=", 5) != 0;
  barred("environment", unknown == 0, "%d variables that nobody asked for", unknown);
}

static volatile sig_atomic_t init_signals;
static void count_signal(int number) {
  (void)number;
  ++init_signals;
}

// Pid 1 has the action's own id: what keeps it apart is that it is not dumpable, and the pid
// namespace's rule for signals.
static void probe_init(void) {
  static const char* const files[] = {"exe",  "mem",    "environ", "cwd",  "root",   "fd",
                                      "maps", "status", "cmdline", "auxv", "ns/mnt", "stack"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    char path[64], name[64], link[256];
    snprintf(path, sizeof path, "/proc/1/%s", files[i]);
    snprintf(name, sizeof name, "init-%s", files[i]);
    int fd = open(path, O_RDONLY);
    const int code = errno;
    barred(name, fd == -1 && readlink(path, link, sizeof link) == -1, "%s", strerrorname_np(code));
    if (fd >= 0) close(fd);
  }
  barred("init-exe-write", open("/proc/1/exe", O_WRONLY) == -1, "%s", strerrorname_np(errno));
  kill(1, SIGKILL);
  kill(1, SIGSTOP);
  usleep(20000);
  barred("init-kill", kill(1, 0) == 0, "pid 1 is there after SIGKILL from inside");
  int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);
  if (pidfd >= 0) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
  long stolen = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, 3, 0);
  barred("init-pidfd-getfd", stolen == -1, "%s", strerrorname_np(errno));
  if (pidfd >= 0) close(pidfd);
  struct rlimit64 limit = {0, 0};
  barred("init-prlimit", syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &limit, NULL) == -1, "%s",
         strerrorname_np(errno));
  // The init hands a signal on to the action: harmless, and how TERM reaches it.
  signal(SIGUSR1, count_signal);
  kill(1, SIGUSR1);
  for (int i = 0; i < 100 && !init_signals; ++i) usleep(10000);
  needed("init-forwards", init_signals > 0, "%d", (int)init_signals);
  signal(SIGUSR1, SIG_DFL);
}

static void probe_identity(void) {
  probe_ids();
  probe_capabilities();
  probe_namespaces();
  probe_inherited();
  probe_init();
}

#endif
