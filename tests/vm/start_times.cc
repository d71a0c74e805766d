// Start times of `carrel exec` and of bubblewrap with the same filter, back to back, inside the
// virtual machine: the launchers take turns. Figures, not a test; printed as one line each.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "base/subprocess.h"

namespace carrel {
namespace {

constexpr int kRuns = 21;
constexpr int kFilterFd = 10;
const std::string kWork = "/var/tmp/carrel-start-times";

struct Launcher {
  std::string name;
  std::vector<std::string> argv;
  std::vector<double> ms;
};

[[noreturn]] void Die(const std::string& message) {
  fprintf(stderr, "start_times: %s\n", message.c_str());
  exit(1);
}

double Measure(const std::vector<std::string>& argv) {
  std::vector<char*> raw;
  for (const std::string& arg : argv) raw.push_back(const_cast<char*>(arg.c_str()));
  raw.push_back(nullptr);
  const int64_t begin = MonotonicNs();
  pid_t pid = -1;
  int status = -1;
  if (::posix_spawnp(&pid, raw[0], nullptr, nullptr, raw.data(), environ) != 0)
    Die("cannot start " + argv[0]);
  ::waitpid(pid, &status, 0);
  const int64_t end = MonotonicNs();
  if (status != 0) Die(argv[0] + " failed");
  return static_cast<double>(end - begin) / 1e6;
}

// carrel's cached filter behind its one line of header.
void OpenFilter() {
  for (const auto& entry : std::filesystem::directory_iterator(kWork + "/state/seccomp")) {
    const std::string bytes = ReadFile(entry.path()).value_or("");
    FILE* raw = fopen((kWork + "/filter").c_str(), "w");
    const size_t header = bytes.find('\n') + 1;
    fwrite(bytes.data() + header, 1, bytes.size() - header, raw);
    fclose(raw);
  }
  const int fd = ::open((kWork + "/filter").c_str(), O_RDONLY);
  if (fd < 0 || ::dup2(fd, kFilterFd) != kFilterFd) Die("no filter");
  ::close(fd);
}

int Main() {
  std::filesystem::create_directories(kWork + "/rootfs/bin");
  for (const char* name : {"proc", "dev", "sys", "tmp"})
    std::filesystem::create_directories(kWork + "/rootfs/" + name);
  std::filesystem::copy_file(CARREL_PAYLOADS "/nothing", kWork + "/rootfs/bin/true");
  const std::string root = kWork + "/rootfs";
  const std::vector<std::string> ours = {CARREL_BINARY, "exec", "--state", kWork + "/state",
                                         "--rootfs",    root,   "--",      "/bin/true"};
  const std::vector<std::string> bwrap = {"bwrap",
                                          "--unshare-all",
                                          "--uid",
                                          "1000",
                                          "--gid",
                                          "1000",
                                          "--die-with-parent",
                                          "--new-session",
                                          "--cap-drop",
                                          "ALL",
                                          "--ro-bind",
                                          root,
                                          "/",
                                          "--proc",
                                          "/proc",
                                          "--dev",
                                          "/dev",
                                          "--tmpfs",
                                          "/tmp",
                                          "--clearenv"};
  std::vector<Launcher> launchers = {{"plain", {root + "/bin/true"}, {}},
                                     {"carrel", ours, {}},
                                     {"bwrap", bwrap, {}},
                                     {"bwrap+filter", bwrap, {}}};
  launchers[2].argv.push_back("/bin/true");
  launchers[3].argv.insert(launchers[3].argv.end(),
                           {"--seccomp", std::to_string(kFilterFd), "/bin/true"});
  Measure(ours);  // loads the audit programs and compiles the filter: once per boot
  for (int run = 0; run < kRuns; ++run)
    for (Launcher& launcher : launchers) {
      if (launcher.name == "bwrap+filter") OpenFilter();  // bubblewrap reads it to its end
      launcher.ms.push_back(Measure(launcher.argv));
      ::close(kFilterFd);
    }
  for (Launcher& launcher : launchers) {
    std::sort(launcher.ms.begin(), launcher.ms.end());
    printf("start %-14s median %8.2f ms  least %8.2f ms\n", launcher.name.c_str(),
           launcher.ms[kRuns / 2], launcher.ms[0]);
  }
  return 0;
}

}  // namespace
}  // namespace carrel

int main() { return carrel::Main(); }
