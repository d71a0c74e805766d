#include "launch/launcher.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel {
namespace {

// Descriptors that the child uses must be above those that it puts in place.
Result<UniqueFd> MoveUp(UniqueFd fd) {
  UniqueFd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 10));
  if (!high) return SysFault("launch", "fcntl");
  return high;
}

Result<std::pair<UniqueFd, UniqueFd>> SocketPair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return SysFault("launch", "socketpair");
  UniqueFd mine(ends[0]);
  CARREL_ASSIGN(UniqueFd childs, MoveUp(UniqueFd(ends[1])));
  return std::make_pair(std::move(mine), std::move(childs));
}

Result<void> WriteMap(pid_t pid, const char* file, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY));
  if (!WriteAll(fd.get(), text)) return SysFault(path, "write " + text);
  return {};
}

// One id inside, one unprivileged id outside: no root exists in the namespace.
Result<void> MapIds(pid_t pid, const LaunchPlan& plan) {
  // RLIMIT_CORE does not hold back a core_pattern that is a program: a core is to hold no memory
  // then, as that may be patients' records. (/proc is read-only inside: it stays.)
  CARREL_TRY(WriteMap(pid, "coredump_filter", "0"));
  const std::string inside = std::to_string(kInsideId) + " ";
  CARREL_TRY(WriteMap(pid, "uid_map", inside + std::to_string(plan.host_uid) + " 1"));
  CARREL_TRY(WriteMap(pid, "setgroups", "deny"));
  return WriteMap(pid, "gid_map", inside + std::to_string(plan.host_gid) + " 1");
}

Error StepError(const LaunchPlan& plan, const child::Message& message) {
  const Operation& operation = plan.operations.at(message.step);
  char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, message.call);
  Error error = SysFault(Describe(operation) + " (step " + std::to_string(message.step) + ")",
                         name != nullptr ? name : "system call", message.error);
  ::free(name);
  if (message.error == ELOOP || message.error == EXDEV)
    error.hint = "The mount point in the root filesystem is a link or lies behind one";
  if (operation.kind != Operation::Kind::kWorkingDirectory) return error;
  error.kind = ErrorKind::kBadInput;
  error.hint = "The working directory does not exist inside, or cannot be entered";
  return error;
}

// Follows the child until the socket closes (the init was executed) or a step has failed.
Result<void> Handshake(const LaunchPlan& plan, pid_t pid, int sync) {
  for (;;) {
    child::Message message{};
    const ssize_t n = ::recv(sync, &message, sizeof message, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return {};
    if (n != static_cast<ssize_t>(sizeof message)) return SysFault("launch", "handshake");
    if (message.kind == child::MessageKind::kFailed) return StepError(plan, message);
    CARREL_TRY(MapIds(pid, plan));
    if (::send(sync, "g", 1, MSG_NOSIGNAL) != 1) return SysFault("launch", "handshake");
  }
}

pid_t Clone(uint64_t flags, int cgroup, int* pidfd) {
  clone_args args = {};
  args.flags = flags | CLONE_PIDFD | CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(cgroup);
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

}  // namespace

Result<LaunchedInit> Launch(const LaunchPlan& plan, const LoweredPlan& lowered,
                            const Cgroup& cgroup, ActionStreams streams) {
  CARREL_ASSIGN(auto sync, SocketPair());
  CARREL_ASSIGN(auto report, SocketPair());
  CARREL_ASSIGN(const UniqueFd in, MoveUp(std::move(streams.in)));
  CARREL_ASSIGN(const UniqueFd out, MoveUp(std::move(streams.out)));
  CARREL_ASSIGN(const UniqueFd err, MoveUp(std::move(streams.err)));
  const child::Program program = {.operations = lowered.operations.data(),
                                  .count = lowered.operations.size(),
                                  .sync_fd = sync.second.get(),
                                  .parent_fd = sync.first.get(),
                                  .report_fd = report.second.get(),
                                  .stdio = {in.get(), out.get(), err.get()},
                                  .argv = const_cast<char**>(lowered.argv.data()),
                                  .environment = const_cast<char**>(lowered.environment.data())};
  LaunchedInit init;
  int pidfd = -1;
  init.pid = Clone(plan.namespaces, cgroup.v2_fd(), &pidfd);
  if (init.pid == 0) child::Execute(program);
  if (init.pid < 0) return SysFault("launch", "clone3");
  init.pidfd.reset(pidfd);
  sync.second.reset();
  report.second.reset();
  if (auto started = Handshake(plan, init.pid, sync.first.get()); !started) {
    ::kill(init.pid, SIGKILL);  // our child, not reaped yet: nobody else's pid
    ::waitpid(init.pid, nullptr, 0);
    return std::move(started).error();
  }
  init.report = std::move(report.first);
  return init;
}

}  // namespace carrel
