// /proc, /sys and /dev.
#ifndef PROBE_PROC_H_
#define PROBE_PROC_H_

#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "report.h"

// Each must be missing, unreadable or empty.
static const char* const kProcSecrets[] = {"acpi/wakeup",
                                           "asound/version",
                                           "buddyinfo",
                                           "bus/pci/devices",
                                           "cgroups",
                                           "cmdline",
                                           "config.gz",
                                           "consoles",
                                           "crypto",
                                           "devices",
                                           "diskstats",
                                           "dma",
                                           "driver/rtc",
                                           "dynamic_debug",
                                           "execdomains",
                                           "fb",
                                           "fs/ext4",
                                           "interrupts",
                                           "iomem",
                                           "ioports",
                                           "irq/0",
                                           "kallsyms",
                                           "kcore",
                                           "key-users",
                                           "keys",
                                           "kmsg",
                                           "kpagecgroup",
                                           "kpagecount",
                                           "kpageflags",
                                           "latency_stats",
                                           "locks",
                                           "mdstat",
                                           "misc",
                                           "modules",
                                           "mtrr",
                                           "pagetypeinfo",
                                           "partitions",
                                           "pressure/cpu",
                                           "sched_debug",
                                           "schedstat",
                                           "scsi/scsi",
                                           "slabinfo",
                                           "softirqs",
                                           "swaps",
                                           "sysrq-trigger",
                                           "sysvipc/shm",
                                           "timer_list",
                                           "tty/drivers",
                                           "vmallocinfo",
                                           "vmcore",
                                           "vmstat",
                                           "zoneinfo",
                                           "sys/kernel/core_pattern",
                                           "sys/kernel/random/boot_id",
                                           "sys/kernel/hostname",
                                           "sys/kernel/modprobe",
                                           "sys/kernel/hotplug",
                                           "sys/kernel/kptr_restrict",
                                           "sys/kernel/version",
                                           "sys/kernel/ns_last_pid",
                                           "sys/fs/binfmt_misc/register",
                                           "sys/fs/file-nr",
                                           "sys/vm/panic_on_oom",
                                           "sys/net/ipv4/ip_forward",
                                           "sys/user/max_user_namespaces",
                                           "sys/kernel/keys/maxkeys",
                                           "self/stack"};

static int nothing_to_read(const char* path) {
  struct stat info;
  if (stat(path, &info) != 0) return 1;
  if (S_ISDIR(info.st_mode)) {
    DIR* directory = opendir(path);
    int entries = 0;
    for (struct dirent* entry; directory && (entry = readdir(directory));)
      entries += entry->d_name[0] != '.';
    if (directory) closedir(directory);
    return entries == 0;
  }
  char byte[2];
  return slurp(path, byte, sizeof byte) <= 0;
}

static void probe_proc_reads(void) {
  for (size_t i = 0; i < sizeof kProcSecrets / sizeof kProcSecrets[0]; ++i) {
    char path[128], name[128];
    snprintf(path, sizeof path, "/proc/%s", kProcSecrets[i]);
    snprintf(name, sizeof name, "proc-read-%s", kProcSecrets[i]);
    barred(name, nothing_to_read(path), "%s", exists(path) ? "covered" : "not there");
  }
  // Whatever else this kernel shows at the top of /proc.
  static const char* const shown[] = {"cpuinfo", "filesystems", "loadavg", "meminfo",
                                      "mounts",  "net",         "self",    "stat",
                                      "sys",     "thread-self", "uptime",  "version"};
  DIR* directory = opendir("/proc");
  int others = 0, processes = 0;
  char first[64] = "none";
  for (struct dirent* entry; directory && (entry = readdir(directory));) {
    int known = entry->d_name[0] == '.';
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; ++i)
      known |= strcmp(entry->d_name, shown[i]) == 0;
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') {
      const int pid = atoi(entry->d_name);
      processes += pid != getpid();
      continue;
    }
    char path[300];
    snprintf(path, sizeof path, "/proc/%s", entry->d_name);
    if (known || nothing_to_read(path)) continue;
    ++others;
    snprintf(first, sizeof first, "%.60s", entry->d_name);
  }
  closedir(directory);
  barred("proc-nothing-else", others == 0, "%d; %s", others, first);
  barred("proc-other-processes", processes == 0, "%d to be seen", processes);
  char text[65536];
  slurp("/proc/self/mountinfo", text, sizeof text);
  barred("mountinfo-host-paths", strstr(text, "/host/") == NULL, "sources of the binds");
  slurp("/proc/loadavg", text, sizeof text);
  barred("proc-loadavg", text[0] == 0 || strncmp(text, "0.00 0.00 0.00", 14) == 0, "%s", text);
  slurp("/proc/uptime", text, sizeof text);
  barred("proc-uptime", text[0] == 0, "%s", text);
}

static void probe_proc_writes(void) {
  static const char* const files[] = {"sysrq-trigger",
                                      "sys/kernel/core_pattern",
                                      "sys/kernel/modprobe",
                                      "sys/kernel/hostname",
                                      "sys/vm/drop_caches",
                                      "sys/vm/overcommit_memory",
                                      "sys/kernel/osrelease",
                                      "sys/fs/binfmt_misc/register",
                                      "sys/user/max_user_namespaces",
                                      "sys/net/ipv4/ip_forward",
                                      "irq/default_smp_affinity",
                                      "bus/pci/00/00.0",
                                      "mtrr",
                                      "scsi/scsi",
                                      "acpi/wakeup",
                                      "self/oom_score_adj",
                                      "self/oom_adj",
                                      "self/uid_map",
                                      "self/gid_map",
                                      "self/setgroups",
                                      "self/projid_map",
                                      "self/mem",
                                      "self/attr/current",
                                      "self/attr/exec",
                                      "self/clear_refs",
                                      "self/coredump_filter",
                                      "self/timerslack_ns",
                                      "self/loginuid",
                                      "self/comm",
                                      "self/autogroup",
                                      "self/sched",
                                      "self/make-it-fail",
                                      "kcore",
                                      "kmsg",
                                      "cpuinfo",
                                      "meminfo"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    char path[128], name[128];
    snprintf(path, sizeof path, "/proc/%s", files[i]);
    snprintf(name, sizeof name, "proc-write-%s", files[i]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    barred(name, fd == -1, "%s", strerrorname_np(errno));
    if (fd >= 0) close(fd);
  }
}

static int count_mounts_of(const char* type) {
  static char text[131072];
  char wanted[64];
  snprintf(wanted, sizeof wanted, " - %s ", type);
  slurp("/proc/self/mountinfo", text, sizeof text);
  int count = 0;
  for (char* at = text; (at = strstr(at, wanted)) != NULL; ++at) ++count;
  return count;
}

static void probe_mounts(void) {
  static const char* const types[] = {
      "sysfs",      "cgroup",    "cgroup2",  "debugfs",     "tracefs", "bpf",
      "securityfs", "configfs",  "devtmpfs", "devpts",      "pstore",  "efivarfs",
      "mqueue",     "hugetlbfs", "fusectl",  "binfmt_misc", "fuse"};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i) {
    char name[48];
    snprintf(name, sizeof name, "mount-%s", types[i]);
    barred(name, count_mounts_of(types[i]) == 0, "%d", count_mounts_of(types[i]));
  }
  static char text[131072];
  slurp("/proc/self/mountinfo", text, sizeof text);
  int suid = 0, devices = 0, writable = 0, shared = 0, both = 0;
  char* save = NULL;
  for (char* line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char target[256] = "", options[256] = "";
    sscanf(line, "%*s %*s %*s %*s %255s %255s", target, options);
    suid += strstr(options, "nosuid") == NULL;
    devices += strstr(options, "nodev") == NULL && strcmp(target, "/dev") != 0;
    const int scratch = strcmp(target, "/tmp") == 0 || strcmp(target, "/dev/shm") == 0 ||
                        strncmp(target, "/work", 5) == 0;
    writable += strncmp(options, "rw", 2) == 0 && !scratch;
    both += strcmp(target, "/dev") == 0 && strstr(options, "noexec") == NULL;
    shared += strstr(line, " shared:") != NULL || strstr(line, " master:") != NULL;
  }
  barred("mounts-nosuid", suid == 0, "%d mounts without", suid);
  barred("mounts-nodev", devices == 0, "%d mounts without, beside /dev", devices);
  barred("mounts-readonly", writable == 0, "%d writable, beside scratch", writable);
  barred("mounts-private", shared == 0, "%d shared or slave", shared);
  barred("mounts-dev-noexec", both == 0, "/dev");
}

static void probe_sys(void) {
  static const char* const paths[] = {"kernel",
                                      "firmware",
                                      "class",
                                      "block",
                                      "bus",
                                      "module",
                                      "power",
                                      "dev",
                                      "hypervisor",
                                      "devices/virtual/net",
                                      "fs/bpf",
                                      "fs/selinux",
                                      "kernel/debug",
                                      "kernel/tracing",
                                      "devices/virtual/dmi",
                                      "fs/cgroup/unified",
                                      "fs/cgroup/cgroup.procs",
                                      "fs/cgroup/memory"};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; ++i) {
    char path[128], name[128];
    snprintf(path, sizeof path, "/sys/%s", paths[i]);
    snprintf(name, sizeof name, "sys-%s", paths[i]);
    barred(name, nothing_to_read(path), "%s", exists(path) ? "there" : "not there");
  }
  barred("sys-write", open("/sys/fs/cgroup/memory.max", O_WRONLY) == -1, "%s",
         strerrorname_np(errno));
  barred("sys-mkdir", mkdir("/sys/fs/cgroup/x", 0755) == -1, "%s", strerrorname_np(errno));
}

static void probe_devices(void) {
  static const char* const absent[] = {"mem",         "kmem",        "port",     "kmsg",
                                       "console",     "tty",         "tty0",     "ptmx",
                                       "pts",         "fuse",        "kvm",      "net/tun",
                                       "vhost-net",   "vhost-vsock", "vsock",    "loop-control",
                                       "loop0",       "sda",         "vda",      "mapper/control",
                                       "userfaultfd", "uinput",      "hwrng",    "tpm0",
                                       "vfio/vfio",   "rtc0",        "watchdog", "cpu/0/msr",
                                       "mqueue",      "hugepages",   "dri",      "snd",
                                       "log",         "core",        "autofs",   "btrfs-control"};
  int there = 0;
  char first[64] = "none";
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; ++i) {
    char path[80];
    snprintf(path, sizeof path, "/dev/%s", absent[i]);
    if (!exists(path)) continue;
    ++there;
    snprintf(first, sizeof first, "%s", absent[i]);
  }
  barred("dev-dangerous", there == 0, "%d; %s", there, first);
  DIR* directory = opendir("/dev");
  int others = 0;
  for (struct dirent* entry; directory && (entry = readdir(directory));) {
    struct stat info;
    if (fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISBLK(info.st_mode) || (S_ISCHR(info.st_mode) && major(info.st_rdev) != 1)) ++others;
  }
  if (directory) closedir(directory);
  barred("dev-only-memory-devices", others == 0, "%d of another kind", others);
  barred("dev-create", open("/dev/new", O_CREAT | O_WRONLY, 0600) == -1, "%s",
         strerrorname_np(errno));
  barred("dev-replace", rename("/dev/null", "/dev/zero") == -1, "%s", strerrorname_np(errno));
  barred("dev-chmod", chmod("/dev/null", 0) == -1, "%s", strerrorname_np(errno));
  // A node in the root filesystem itself (the test puts one there) is on a nodev mount.
  int fd = open("/image-device", O_RDONLY);
  barred("dev-in-image", fd == -1, "%s", strerrorname_np(errno));
  if (fd >= 0) close(fd);
  char byte[4] = {1, 1, 1, 1};
  needed("dev-zero", slurp("/dev/zero", byte, 2) == 1 && byte[0] == 0, "read");
  needed("dev-urandom", slurp("/dev/urandom", byte, 2) == 1, "read");
  fd = open("/dev/null", O_RDWR);
  needed("dev-null", fd >= 0 && write(fd, "x", 1) == 1 && read(fd, byte, 1) == 0, "write, read");
  close(fd);
  fd = open("/dev/full", O_RDWR);
  needed("dev-full", fd >= 0 && write(fd, "x", 1) == -1 && errno == ENOSPC, "ENOSPC");
  close(fd);
  needed("dev-fd", exists("/dev/fd/0") && exists("/dev/stdin") && exists("/dev/stdout"), "links");
}

static void probe_places(void) {
  probe_proc_reads();
  probe_proc_writes();
  probe_mounts();
  probe_sys();
  probe_devices();
}

#endif
