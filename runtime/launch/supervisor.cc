#include "launch/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "launch/child/init_report.h"

namespace carrel {
namespace {

constexpr int64_t kTickNs = 100'000'000;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr size_t kChunk = 64u << 10;

bool Writable(int fd) {
  pollfd entry = {fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) > 0;
}

uint64_t Microseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
}

class SupervisorLoop {
 public:
  SupervisorLoop(const LaunchedInit& init, const LaunchLimits& limits, int signal_fd,
                 SuperviseRequest request)
      : init_(init), limits_(limits), signal_fd_(signal_fd), request_(std::move(request)) {
    const int64_t now = MonotonicNs();
    deadline_ = now + limits.time_seconds * kSecondNs;
    next_tick_ = now + kTickNs;
    next_second_ = now + kSecondNs;
    if (request_.input_target) (void)::fcntl(request_.input_target.get(), F_SETFL, O_NONBLOCK);
  }

  Result<ActionEnd> Run() {
    while (!init_ended_ || AnyOutputOpen()) {
      CARREL_TRY(Wait());
      CheckTime();
      HandleSignal();
      ForwardInput();
      for (OutputStream& output : request_.outputs) Pump(output);
      RunServices();
      if (!init_ended_ && Readable(init_.pidfd.get())) CARREL_TRY(Reap());
    }
    return std::move(end_);
  }

 private:
  bool AnyOutputOpen() const {
    return std::any_of(request_.outputs.begin(), request_.outputs.end(),
                       [](const OutputStream& output) { return bool(output.source); });
  }

  void Watch(int fd, short events) { polled_.push_back({fd, events, 0}); }

  bool Happened(int fd, int events) const {
    return std::any_of(polled_.begin(), polled_.end(), [&](const pollfd& entry) {
      return entry.fd == fd && (entry.revents & events) != 0;
    });
  }
  bool Readable(int fd) const { return Happened(fd, POLLIN | POLLHUP | POLLERR | POLLNVAL); }

  Result<void> Wait() {
    polled_.clear();
    if (!init_ended_) {
      Watch(init_.pidfd.get(), POLLIN);
      for (const Service& service : request_.services) Watch(service.fd, POLLIN);
      if (request_.input_target)
        input_.empty() ? Watch(request_.input_source, POLLIN)
                       : Watch(request_.input_target.get(), POLLOUT);
    }
    Watch(signal_fd_, POLLIN);
    // A stream whose reader is not ready is not read: the pipe fills, and the action waits.
    for (const OutputStream& output : request_.outputs)
      if (output.source)
        output.blocked ? Watch(output.ready_fd, POLLOUT) : Watch(output.source.get(), POLLIN);
    const int64_t wait_ns = std::max<int64_t>(0, next_tick_ - MonotonicNs());
    if (::poll(polled_.data(), polled_.size(), static_cast<int>(wait_ns / 1'000'000) + 1) < 0 &&
        errno != EINTR)
      return SysFault("supervise", "poll");
    return {};
  }

  void Signal(int number) {
    if (!init_ended_) (void)::syscall(SYS_pidfd_send_signal, init_.pidfd.get(), number, nullptr, 0);
  }

  void Fail(Error error) {
    if (!end_.failure) end_.failure = std::move(error);
    Signal(SIGKILL);
  }

  // TERM first, KILL after the grace time.
  void BeginEnd() {
    if (kill_at_ != 0) return;
    Signal(SIGTERM);
    kill_at_ = MonotonicNs() + limits_.grace_seconds * kSecondNs;
  }

  void CheckTime() {
    const int64_t now = MonotonicNs();
    if (!init_ended_ && !end_.timed_out && now >= deadline_ && kill_at_ == 0) {
      end_.timed_out = true;
      BeginEnd();
    }
    if (kill_at_ != 0 && now >= kill_at_) Signal(SIGKILL);
    if (now >= next_second_) {
      next_second_ = now + kSecondNs;
      if (request_.every_second && !init_ended_) request_.every_second();
    }
  }

  void HandleSignal() {
    if (!Readable(signal_fd_)) return;
    signalfd_siginfo info{};
    if (::read(signal_fd_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return;
    const int number = static_cast<int>(info.ssi_signo);
    if (init_ended_) {  // only output that nobody reads is left: it is given up
      for (OutputStream& output : request_.outputs) output.source.reset();
    } else if (!request_.signals_cancel) {
      Signal(number);
    } else if (number == SIGUSR1 || end_.cancelled) {
      Signal(SIGKILL);  // an operator's kill, which is no cancellation, or asked twice
    } else {
      end_.cancelled = true;
      BeginEnd();
    }
  }

  void ForwardInput() {
    if (!request_.input_target || init_ended_) return;
    if (input_.empty()) {
      if (!Readable(request_.input_source)) return;
      input_.resize(kChunk);
      const ssize_t n = ::read(request_.input_source, input_.data(), input_.size());
      input_.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) request_.input_target.reset();
      return;
    }
    if (!Happened(request_.input_target.get(), POLLOUT | POLLERR)) return;
    const ssize_t n = ::write(request_.input_target.get(), input_.data(), input_.size());
    if (n > 0) input_.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) {  // EPIPE: the action reads no more
      input_.clear();
      request_.input_target.reset();
    }
  }

  void Pump(OutputStream& output) {
    if (!output.source) return;
    const int awaited = output.blocked ? output.ready_fd : output.source.get();
    if (!Happened(awaited, POLLIN | POLLOUT | POLLHUP | POLLERR | POLLNVAL)) return;
    output.blocked = output.ready_fd >= 0 && !Writable(output.ready_fd);
    if (output.blocked) return;
    buffer_.resize(output.ready_fd >= 0 ? 4096 : kChunk);  // PIPE_BUF: what POLLOUT promises
    const ssize_t n = ::read(output.source.get(), buffer_.data(), buffer_.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      output.source.reset();
      return;
    }
    if (auto taken = output.sink({buffer_.data(), static_cast<size_t>(n)}); !taken) {
      // EPIPE: nobody reads any more. The action's own pipe closes too, and it gets SIGPIPE.
      output.source.reset();
      if (taken.error().code != EPIPE) Fail(std::move(taken).error());
    }
  }

  void RunServices() {
    const int64_t now = MonotonicNs();
    const bool tick = now >= next_tick_;
    if (tick) next_tick_ = now + kTickNs;
    if (init_ended_) return;
    for (const Service& service : request_.services)
      if (tick || Readable(service.fd))
        if (auto done = service.service(); !done) Fail(std::move(done).error());
  }

  Result<void> Reap() {
    siginfo_t info{};
    rusage used{};  // the library's waitid does not have it
    if (::syscall(SYS_waitid, P_PIDFD, init_.pidfd.get(), &info, WEXITED, &used) != 0)
      return SysFault("supervise", "waitid");
    init_ended_ = true;
    end_.cpu_usec = Microseconds(used.ru_utime) + Microseconds(used.ru_stime);
    request_.input_target.reset();
    end_.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    carrel_init_report report{};
    while (::recv(init_.report.get(), &report, sizeof report, MSG_DONTWAIT) ==
           static_cast<ssize_t>(sizeof report)) {
      if (report.kind == CARREL_REPORT_EXEC_FAILED) end_.exec_error = report.value;
      if (report.kind == CARREL_REPORT_FORK_FAILED)
        end_.failure = SysFault("init", "the action's process could not be started", report.value);
    }
    return {};
  }

  const LaunchedInit& init_;
  const LaunchLimits& limits_;
  const int signal_fd_;
  SuperviseRequest request_;
  ActionEnd end_;
  std::vector<pollfd> polled_;
  std::string input_, buffer_;
  bool init_ended_ = false;
  int64_t deadline_ = 0, next_tick_ = 0, next_second_ = 0, kill_at_ = 0;
};

}  // namespace

Result<UniqueFd> BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return SysFault("supervise", "sigprocmask");
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return SysFault("supervise", "signalfd");
  return fd;
}

Result<ActionEnd> Supervise(const LaunchedInit& init, const LaunchLimits& limits, int signal_fd,
                            SuperviseRequest request) {
  return SupervisorLoop(init, limits, signal_fd, std::move(request)).Run();
}

}  // namespace carrel
