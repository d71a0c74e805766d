// Runs a program in a cgroup of its own with the BPF source attached, as the supervisor does, and
// reads its log back.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "audit/audit_log.h"
#include "audit/bpf_objects.h"
#include "audit/event_source.h"
#include "audit/query.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "base/fs.h"

namespace carrel::testing_support {

/// Where the cgroup v2 tree is, or "".
inline std::string CgroupRoot() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, path, type, rest;
       mounts >> device >> path >> type && std::getline(mounts, rest);)
    if (type == "cgroup2") return path;
  return "";
}

/// A cgroup that is removed, with what is still in it.
class TestCgroup {
 public:
  TestCgroup() {
    static std::atomic<int> number{0};
    path_ = CgroupRoot() + "/carrel-audit-test-" + std::to_string(::getpid()) + "-" +
            std::to_string(++number);
    EXPECT_EQ(::mkdir(path_.c_str(), 0755), 0) << path_;
    fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ~TestCgroup() {
    ::close(fd_);
    for (int i = 0; i < 100 && ::rmdir(path_.c_str()) != 0; ++i) {
      for (pid_t pid : Pids()) ::kill(pid, SIGKILL);
      ::usleep(20000);
    }
  }
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;
  int fd() const { return fd_; }
  uint64_t id() const {
    struct {
      file_handle handle;
      uint64_t id;
    } handle{};
    handle.handle.handle_bytes = sizeof handle.id;
    int mount = 0;
    EXPECT_EQ(::name_to_handle_at(AT_FDCWD, path_.c_str(), &handle.handle, &mount, 0), 0);
    return handle.id;
  }
  std::vector<pid_t> Pids() const {
    std::ifstream file(path_ + "/cgroup.procs");
    std::vector<pid_t> pids;
    for (pid_t pid; file >> pid;) pids.push_back(pid);
    return pids;
  }

 private:
  std::string path_;
  int fd_ = -1;
};

struct AuditedOptions {
  int reader_pause_ms = 0;             ///< before each drain: a slow reader
  bool pid_namespace = false;          ///< the program is pid 1 of its own
  std::function<void(pid_t)> running;  ///< called once, soon after the start
  bool freezer = false;                ///< the reader freezes the cgroup when it is behind
  bool may_fail = false;               ///< the first error of a drain is kept in `failure`
};

struct AuditedRun {
  int status = -1;  ///< as wait() gives it
  EventCounts counts;
  AuditSeal seal;
  std::string path;
  std::map<std::string, uint64_t> calls;  ///< by name
  uint64_t denied = 0;
  double seconds = 0;
  std::string failure;
};

/// Starts `argv` in `cgroup`; the child's set-up calls come before its exec, as the launcher's do.
inline pid_t StartIn(const TestCgroup& cgroup, const std::vector<std::string>& argv,
                     bool pid_namespace) {
  std::vector<char*> raw;
  for (const std::string& arg : argv) raw.push_back(const_cast<char*>(arg.c_str()));
  raw.push_back(nullptr);
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP | (pid_namespace ? CLONE_NEWPID : 0);
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(cgroup.fd());
  pid_t pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) {
    for (int i = 0; i < 50; ++i) ::syscall(SYS_getppid);  // must not be in the log
    ::execv("/nonexistent/program", raw.data());          // nor this, which fails
    ::execv(raw[0], raw.data());
    ::_exit(126);
  }
  return pid;
}

/// The whole run. Calls are counted from the log, as a reader sees it.
inline AuditedRun RunAudited(const std::string& state, const std::string& id,
                             const std::vector<std::string>& argv,
                             const AuditedOptions& options = {}) {
  AuditedRun run;
  TestCgroup cgroup;
  auto source = AttachBpfSource(state, cgroup.id(), options.freezer ? cgroup.fd() : -1);
  EXPECT_TRUE(source.has_value()) << source.error().ToString();
  auto log = AuditLog::Create(state, id);
  EXPECT_TRUE(log.has_value()) << log.error().ToString();
  if (!source || !log) return run;
  (*log)->SetRoot(UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)));
  timespec begin{}, end{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t pid = StartIn(cgroup, argv, options.pid_namespace);
  if (options.running) options.running(pid);
  for (bool ended = false; !ended || !cgroup.Pids().empty();) {
    pollfd wait{(*source)->poll_fd(), POLLIN, 0};
    ::poll(&wait, 1, ended ? 1 : 20);
    if (options.reader_pause_ms > 0)
      ::usleep(static_cast<useconds_t>(options.reader_pause_ms) * 1000);
    auto drained = (*source)->Drain(**log);
    EXPECT_TRUE(drained.has_value() || options.may_fail) << drained.error().ToString();
    if (!drained && run.failure.empty()) run.failure = drained.error().ToString();
    if (!ended) ended = ::waitpid(pid, &run.status, WNOHANG) == pid;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  run.seconds = static_cast<double>(end.tv_sec - begin.tv_sec) +
                static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e9;
  auto counts = (*source)->Finish(**log);
  EXPECT_TRUE(counts.has_value()) << counts.error().ToString();
  run.counts = *counts;
  auto seal = (*log)->Finish(run.counts);
  EXPECT_TRUE(seal.has_value()) << seal.error().ToString();
  run.seal = *seal;
  run.path = seal->path;
  auto reader = LogReader::Open(run.path);
  EXPECT_TRUE(reader.has_value());
  auto read = ForEachEvent(*reader, {}, [&](const AuditEvent& event) {
    if (event.kind != EventKind::kCall) return;
    ++run.calls[SyscallName(event.nr, (event.flags & kCallCompat) != 0)];
    if ((event.flags & kCallDenied) != 0) ++run.denied;
  });
  EXPECT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(reader->end(), LogEnd::kSealed) << reader->why();
  return run;
}

}  // namespace carrel::testing_support
