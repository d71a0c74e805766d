// The fault points of `carrel_faults`. CARREL_FAULT is "POINT:kill" (this process), or
// "POINT:kill-child" (the first process that it starts from there on: git, mkfs, the init).
#include "job/fault_point.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>

#include "base/fs.h"

namespace carrel {
namespace {

// Kills the first child of `parent` other than itself. The children file lists those of the main
// thread, and all of carrel's are.
[[noreturn]] void KillFirstChild(pid_t parent) {
  const std::string path =
      "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
  for (int i = 0; i < 200'000; ++i) {
    const std::string children = ReadFile(path, 65536).value_or("");
    for (char* at = const_cast<char*>(children.c_str()); *at != '\0';) {
      const long pid = strtol(at, &at, 10);
      while (*at == ' ') ++at;
      if (pid > 1 && pid != ::getpid()) {
        ::kill(static_cast<pid_t>(pid), SIGKILL);
        ::_exit(0);
      }
    }
    ::usleep(50);
  }
  ::_exit(1);
}

}  // namespace

void FaultPoint(const char* name) {
  const char* fault = ::getenv("CARREL_FAULT");
  if (fault == nullptr) return;
  const size_t length = strlen(name);
  if (strncmp(fault, name, length) != 0 || fault[length] != ':') return;
  const std::string what = fault + length + 1;
  if (what == "kill") ::kill(::getpid(), SIGKILL);
  if (what != "kill-child") return;
  ::unsetenv("CARREL_FAULT");
  const pid_t parent = ::getpid();
  if (::fork() == 0) KillFirstChild(parent);
}

}  // namespace carrel
