#include "launch/launcher.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

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
  // then, as that may be patients' records. (/proc is read-only inside: it stays.) The child's
  // memory is still the launcher's, which has secrets of its own: it gets the same.
  CARREL_TRY(WriteMap(pid, "coredump_filter", "0"));
  const std::string inside = std::to_string(kInsideId) + " ";
  CARREL_TRY(WriteMap(pid, "uid_map", inside + std::to_string(plan.host_uid) + " 1"));
  CARREL_TRY(WriteMap(pid, "setgroups", "deny"));
  return WriteMap(pid, "gid_map", inside + std::to_string(plan.host_gid) + " 1");
}

// A caller's real-time scheduling, or nice value below 0, is not handed down: no processor limit of
// a cgroup holds a real-time task. A lower priority is.
Result<void> KeepPriority() {
  const int policy = ::sched_getscheduler(0);
  const bool real_time = policy == SCHED_FIFO || policy == SCHED_RR;
  if (!real_time && ::getpriority(PRIO_PROCESS, 0) >= 0) return {};
  sched_param param{};
  if (::sched_getparam(0, &param) != 0 ||
      ::sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param) != 0)
    return SysFault("launch", "sched_setscheduler with SCHED_RESET_ON_FORK");
  return {};
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

}  // namespace

// Where the child runs until it executes the init. Below it is a page that nobody can touch.
class Launch::Stack {
 public:
  static constexpr size_t kBytes = 64u << 10;
  static constexpr size_t kGuard = 4096;

  Stack()
      : memory_(::mmap(nullptr, kGuard + kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Stack() {
    if (memory_ != MAP_FAILED) ::munmap(memory_, kGuard + kBytes);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  bool Ready() {
    return memory_ != MAP_FAILED && ::mprotect(bottom(), kBytes, PROT_READ | PROT_WRITE) == 0;
  }
  void* bottom() const { return static_cast<char*>(memory_) + kGuard; }

 private:
  void* memory_;
};

// A launcher that is protected from the kernel's out-of-memory killer must not hand that down: the
// action would be the last to be killed on the host. The kernel keeps one score for all who share a
// memory, so the launcher goes without protection until the init has a memory of its own.
class Launch::OomScore {
 public:
  static constexpr const char* kFile = "/proc/self/oom_score_adj";

  /// Nothing to put back when the score is not negative.
  static Result<std::unique_ptr<OomScore>> Raise() {
    CARREL_ASSIGN(const std::string score, ReadFile(kFile, 64));
    if (!score.starts_with('-')) return std::unique_ptr<OomScore>();
    CARREL_TRY(Write("0"));
    return std::unique_ptr<OomScore>(new OomScore(score));
  }
  /// A launcher that is not allowed to put it back stays without protection.
  ~OomScore() { (void)Write(before_).has_value(); }
  OomScore(const OomScore&) = delete;
  OomScore& operator=(const OomScore&) = delete;

 private:
  explicit OomScore(std::string before) : before_(std::move(before)) {}
  static Result<void> Write(const std::string& score) {
    CARREL_ASSIGN(UniqueFd fd, OpenPath(kFile, O_WRONLY));
    if (!WriteAll(fd.get(), score)) return SysFault(kFile, "write " + score);
    return {};
  }
  const std::string before_;
};

Launch::Launch(const LaunchPlan& plan, const LoweredPlan& lowered)
    : plan_(plan),
      program_{.operations = lowered.operations.data(),
               .count = lowered.operations.size(),
               .sync_fd = -1,
               .parent_fd = -1,
               .report_fd = -1,
               .stdio = {-1, -1, -1},
               .argv = const_cast<char**>(lowered.argv.data()),
               .environment = const_cast<char**>(lowered.environment.data())},
      stack_(std::make_unique<Stack>()) {}

Launch::~Launch() {
  if (init_.pid <= 0) return;
  ::kill(init_.pid, SIGKILL);  // our child, not reaped yet: nobody else's pid
  ::waitpid(init_.pid, nullptr, 0);
}

Result<void> Launch::Clone(const Cgroup& cgroup) {
  CARREL_TRY(KeepPriority());
  int pidfd = -1;
  clone_args args = {};
  // A time namespace begins with an exec or a fork: the child makes it itself.
  args.flags = (plan_.namespaces & ~uint64_t{CLONE_NEWTIME}) | CLONE_PIDFD | CLONE_INTO_CGROUP |
               CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(cgroup.v2_fd());
  const long pid = child::Start(program_, args, stack_->bottom(), Stack::kBytes);
  if (pid < 0) return SysFault("launch", "clone3", static_cast<int>(-pid));
  init_.pid = static_cast<pid_t>(pid);
  init_.pidfd.reset(pidfd);
  return {};
}

Result<std::unique_ptr<Launch>> Launch::Begin(const LaunchPlan& plan, const LoweredPlan& lowered,
                                              const Cgroup& cgroup, ActionStreams streams) {
  std::unique_ptr<Launch> launch(new Launch(plan, lowered));
  if (!launch->stack_->Ready()) return SysFault("launch", "the child's stack");
  CARREL_ASSIGN(launch->oom_score_, OomScore::Raise());
  CARREL_ASSIGN(auto sync, SocketPair());
  CARREL_ASSIGN(auto report, SocketPair());
  CARREL_ASSIGN(const UniqueFd in, MoveUp(std::move(streams.in)));
  CARREL_ASSIGN(const UniqueFd out, MoveUp(std::move(streams.out)));
  CARREL_ASSIGN(const UniqueFd err, MoveUp(std::move(streams.err)));
  child::Program& program = launch->program_;
  program.sync_fd = sync.second.get();
  program.parent_fd = sync.first.get();
  program.report_fd = report.second.get();
  program.stdio[0] = in.get();
  program.stdio[1] = out.get();
  program.stdio[2] = err.get();
  launch->sync_ = std::move(sync.first);
  launch->init_.report = std::move(report.first);
  CARREL_TRY(launch->Clone(cgroup));
  return launch;
}

// Follows the child until the socket closes (the init was executed) or a step has failed.
Result<void> Launch::Handshake(const CallListener& listener, const Prepared& prepared) {
  for (;;) {
    CARREL_ASSIGN(const bool heard, Await(listener));
    if (!heard) continue;
    child::Message message{};
    const ssize_t n = ::recv(sync_.get(), &message, sizeof message, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return {};
    if (n != static_cast<ssize_t>(sizeof message)) return SysFault("launch", "handshake");
    if (message.kind == child::MessageKind::kFailed) return StepError(plan_, message);
    if (message.kind == child::MessageKind::kListener) {
      CARREL_ASSIGN(UniqueFd taken, TakeListener(message.error));
      CARREL_TRY(listener.take(std::move(taken)));
      listening_ = true;
      continue;
    }
    if (prepared) CARREL_TRY(prepared(init_.pidfd.get()));
    CARREL_TRY(MapIds(init_.pid, plan_));
    // Its root is the action's by now, and it waits.
    CARREL_ASSIGN(init_.root,
                  OpenPath("/proc/" + std::to_string(init_.pid) + "/root", O_PATH | O_DIRECTORY));
    if (::send(sync_.get(), "g", 1, MSG_NOSIGNAL) != 1) return SysFault("launch", "handshake");
  }
}

// Serves the listener until the child has something to say.
Result<bool> Launch::Await(const CallListener& listener) {
  if (!listening_) return true;
  pollfd entries[] = {{sync_.get(), POLLIN, 0}, {listener.fd, POLLIN, 0}};
  if (::poll(entries, 2, -1) < 0 && errno != EINTR) return SysFault("launch", "poll");
  if (entries[1].revents != 0) CARREL_TRY(listener.serve());
  return entries[0].revents != 0;
}

// The child has said which descriptor its listener will be: the call that makes it cannot say so
// itself, as the next one waits already. It is there within microseconds.
Result<UniqueFd> Launch::TakeListener(int number) {
  for (int tries = 0; tries < 100'000; ++tries) {
    UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, init_.pidfd.get(), number, 0)));
    if (fd) return fd;
    if (errno != EBADF) return SysFault("launch", "pidfd_getfd");
    pollfd child = {sync_.get(), POLLIN, 0};
    if (::poll(&child, 1, 0) > 0) break;  // it failed, and says why
    ::usleep(50);
  }
  child::Message message{};
  if (::recv(sync_.get(), &message, sizeof message, MSG_DONTWAIT) ==
      static_cast<ssize_t>(sizeof message))
    return StepError(plan_, message);
  return Fault("launch", "the child's listener did not come");
}

Result<LaunchedInit> Launch::Complete(const CallListener& listener, const Prepared& prepared) {
  CARREL_TRY(Handshake(listener, prepared));
  oom_score_.reset();
  return std::exchange(init_, LaunchedInit{});
}

}  // namespace carrel
