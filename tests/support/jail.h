// What tests of the sandbox share: a root filesystem with payloads, a state directory, runs of
// `carrel exec` with whatever odd state its caller may have, and a look at what is left on the
// host.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "support/carrel.h"

namespace carrel::testing_support {

inline std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Waits up to `seconds` until `done` holds.
inline bool Eventually(const std::function<bool()>& done, int seconds = 10) {
  for (int i = 0; i < seconds * 200; ++i) {
    if (done()) return true;
    ::usleep(5000);
  }
  return done();
}

/// The cgroup hierarchies' mount points.
inline std::vector<std::string> CgroupMounts() {
  std::vector<std::string> mounts;
  std::ifstream in("/proc/self/mounts");
  for (std::string device, path, type, rest;
       in >> device >> path >> type && std::getline(in, rest);)
    if (type == "cgroup" || type == "cgroup2") mounts.push_back(path);
  return mounts;
}

/// The id that run `id` of this test has on the host, where tests of other checkouts may run at the
/// same time. Ids that are not plain words (bad ones) are left as they are.
inline std::string HostId(const std::string& id) {
  const bool plain = !id.empty() && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) != 0;
  });
  return plain ? id + "-" + std::to_string(::getpid()) : id;
}

/// Cgroups of run `id` that exist, in any hierarchy: of any state directory.
inline std::vector<std::string> CgroupsOf(const std::string& id) {
  std::vector<std::string> found;
  std::error_code none;
  const std::string prefix = HostId(id) + "-";
  for (const std::string& mount : CgroupMounts())
    for (const auto& entry : std::filesystem::directory_iterator(mount + "/carrel", none))
      if (const std::string name = entry.path().filename();
          name.starts_with(prefix) && name.size() == prefix.size() + 8)
        found.push_back(entry.path());
  return found;
}

/// The tasks of run `id`.
inline std::vector<pid_t> TasksOf(const std::string& id) {
  std::vector<pid_t> tasks;
  for (const std::string& path : CgroupsOf(id)) {
    std::ifstream in(path + "/cgroup.procs");
    for (pid_t pid = 0; in >> pid;) tasks.push_back(pid);
  }
  return tasks;
}

/// A program of the host that the test started; killed when it is still there at the end.
class Process {
 public:
  Process(pid_t pid, std::string out, std::string err)
      : pid_(pid), out_(std::move(out)), err_(std::move(err)) {}
  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), out_(other.out_), err_(other.err_) {}
  Process& operator=(Process&&) = delete;
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  std::string Out() const { return ReadText(out_); }
  std::string Err() const { return ReadText(err_); }

  /// The exit status as a shell tells it; -1, and a failed test, when it takes too long.
  int Wait(int seconds = 60) {
    int status = 0;
    const bool ended =
        Eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, seconds);
    EXPECT_TRUE(ended) << "it runs still";
    if (!ended) return -1;
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
  std::string out_, err_;
};

struct Outcome {
  int status = -1;
  std::string out, err;
};

/// How to start carrel; everything has a plain default.
struct StartOptions {
  std::function<void()> before;  ///< in the new process, after its streams are set, before exec
  int in = -1, out = -1, err = -1;
  std::vector<std::string> environment;  ///< the whole of it, "NAME=value"
  std::string binary = CARREL_BINARY;
};

class Jail {
 public:
  /// The root filesystem holds copies of these payloads, and nothing else.
  explicit Jail(const std::vector<std::string>& payloads) {
    std::filesystem::create_directory(rootfs());
    for (const std::string& name : payloads) AddProgram(Payload(name), "/" + name);
  }

  // The audit's BPF objects stay loaded and pinned between runs, on a mount of their own. What a
  // test that failed has left must not make others fail.
  ~Jail() {
    for (const std::string& lock : RunsLeft())  // names on the host: not plain, so left as they are
      for (const std::string& path : CgroupsOf(lock.substr(0, lock.rfind(".lock"))))
        Eventually([&] { return ::rmdir(path.c_str()) == 0 || errno == ENOENT; }, 5);
    ::umount2((state() + "/bpf").c_str(), MNT_DETACH);
  }
  Jail(const Jail&) = delete;
  Jail& operator=(const Jail&) = delete;

  std::string rootfs() const { return directory_ / "rootfs"; }
  std::string state() const { return directory_ / "state"; }
  std::string operator/(const std::string& name) const { return directory_ / name; }

  void AddProgram(const std::string& source, const std::string& inside) const {
    std::filesystem::copy_file(source, rootfs() + inside);
    ASSERT_EQ(::chmod((rootfs() + inside).c_str(), 0755), 0);
  }

  /// "carrel exec --state S --rootfs R OPTIONS..."; options include "--" and the command.
  Process Start(std::vector<std::string> options, const StartOptions& start = {}) {
    for (size_t i = 1; i < options.size(); ++i)
      if (options[i - 1] == "--id") options[i] = HostId(options[i]);
    options.insert(options.begin(), {"exec", "--state", state(), "--rootfs", rootfs()});
    return StartCarrel(options, start);
  }
  Outcome Run(const std::vector<std::string>& options, const StartOptions& start = {}) {
    Process process = Start(options, start);
    const int status = process.Wait();
    return {status, process.Out(), process.Err()};
  }

  Process StartCarrel(const std::vector<std::string>& options, const StartOptions& start = {}) {
    const std::string name = directory_ / ("run" + std::to_string(++runs_));
    std::vector<std::string> words = {start.binary};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> argv, environment;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    for (const std::string& e : start.environment)
      environment.push_back(const_cast<char*>(e.c_str()));
    argv.push_back(nullptr);
    environment.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      Connect(start.in, "/dev/null", O_RDONLY, 0);
      Connect(start.out, name + ".out", O_WRONLY | O_CREAT | O_TRUNC, 1);
      Connect(start.err, name + ".err", O_WRONLY | O_CREAT | O_TRUNC, 2);
      if (start.before) start.before();
      ::execve(argv[0], argv.data(), environment.data());
      ::_exit(125);
    }
    EXPECT_GT(pid, 0);
    return Process(pid, name + ".out", name + ".err");
  }

  /// Runs' directories and locks that are left.
  std::vector<std::string> RunsLeft() const {
    std::vector<std::string> left;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(state() + "/run", none))
      left.push_back(entry.path().filename());
    return left;
  }

  /// Nothing of run `id` is on the host: tasks, cgroups, directories, mounts.
  void ExpectNothingLeft(const std::string& id) const {
    EXPECT_THAT(TasksOf(id), ::testing::IsEmpty());
    EXPECT_THAT(CgroupsOf(id), ::testing::IsEmpty());
    EXPECT_THAT(RunsLeft(), ::testing::IsEmpty());
    EXPECT_EQ(ReadText("/proc/self/mountinfo").find(state() + "/run"), std::string::npos);
  }

 private:
  static void Connect(int fd, const std::string& path, int flags, int target) {
    if (fd < 0) fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd == target)
      ::fcntl(fd, F_SETFD, 0);
    else
      ::dup2(fd, target);
  }

  TempDir directory_;
  int runs_ = 0;
};

}  // namespace carrel::testing_support
