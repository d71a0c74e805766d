// How the probe tells what it found: one line a point.
//
//   NAME: closed   what must not be possible is not
//   NAME: open     it is
//   NAME: works    what analysis code needs is there
//   NAME: broken   it is not
#ifndef PROBE_REPORT_H_
#define PROBE_REPORT_H_

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char* name, const char* state, const char* format, va_list args) {
  char detail[512];
  vsnprintf(detail, sizeof detail, format, args);
  for (char* c = detail; *c; ++c)
    if (*c == '\n') *c = ' ';
  printf("%s: %s (%s)\n", name, state, detail);
  fflush(stdout);
}

// A point that must be closed.
__attribute__((format(printf, 3, 4))) static void barred(const char* name, int closed,
                                                         const char* format, ...) {
  va_list args;
  va_start(args, format);
  say(name, closed ? "closed" : "open", format, args);
  va_end(args);
}

// A point that analysis code needs.
__attribute__((format(printf, 3, 4))) static void needed(const char* name, int works,
                                                         const char* format, ...) {
  va_list args;
  va_start(args, format);
  say(name, works ? "works" : "broken", format, args);
  va_end(args);
}

// A call that the filter must answer: any errno but these two says that the kernel looked at the
// arguments.
static void barred_call(const char* name, long result) {
  const int code = errno;
  barred(name, result == -1 && (code == EPERM || code == ENOSYS), "%s",
         result == -1 ? strerrorname_np(code) : "it succeeded");
}

// Runs `body` in a child, so that a crash or a hang is an answer too. Gives its exit status, 128+n
// for a signal; a child that takes ten seconds ends with SIGALRM.
static int in_child(int (*body)(void)) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(10);
    _exit(body());
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// What is in a file, at most `size`-1 bytes; -1 when it cannot be read.
static ssize_t slurp(const char* path, char* buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  size_t length = 0;
  ssize_t n = 0;
  while (length < size - 1 && (n = read(fd, buffer + length, size - 1 - length)) > 0)
    length += (size_t)n;
  const int code = errno;
  close(fd);
  errno = code;
  buffer[length] = 0;
  return n < 0 ? -1 : (ssize_t)length;
}

// The rest of the line that starts with `key` in /proc/self/status.
static const char* status_field(const char* key) {
  static char text[8192];
  static char value[256];
  if (slurp("/proc/self/status", text, sizeof text) < 0) return "?";
  char* line = strstr(text, key);
  if (!line) return "?";
  sscanf(line + strlen(key), " %255[^\n]", value);
  return value;
}

static int exists(const char* path) {
  struct stat info;
  return lstat(path, &info) == 0;
}

#endif
