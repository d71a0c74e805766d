#include "agent/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "job/fault_point.h"

namespace carrel {
namespace {

// stdin and stdout lead nowhere; what carrel has to say goes to the job's own file.
Result<void> LeaveCaller(const JobDir& dir) {
  if (::setsid() < 0) return SysFault("supervisor", "setsid");
  CARREL_ASSIGN(const UniqueFd null, OpenPath("/dev/null", O_RDWR));
  CARREL_ASSIGN(const UniqueFd log, OpenBeneath(dir.fd(), "supervisor.log",
                                                O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
  if (::dup2(null.get(), 0) < 0 || ::dup2(null.get(), 1) < 0 || ::dup2(log.get(), 2) < 0)
    return SysFault("supervisor", "dup2");
  if (::chdir("/") != 0) return SysFault("supervisor", "chdir");
  // The caller's other descriptors (a pipe that it reads to the end) are not ours to keep open.
  // Ours are close-on-exec, theirs are not.
  for (int fd = 3; fd < 1024; ++fd)
    if (const int flags = ::fcntl(fd, F_GETFD); flags >= 0 && (flags & FD_CLOEXEC) == 0)
      ::close(fd);
  return {};
}

Result<void> Supervise(const JobDir& dir, int lock, UniqueFd& ready,
                       const std::function<Result<void>(const Ready&)>& work) {
  CARREL_TRY(LeaveCaller(dir));
  CARREL_TRY(JobDir::SignSupervision(lock));
  FaultPoint("supervisor");
  return work([&ready] { ready.reset(); });
}

}  // namespace

Result<void> StartSupervisor(JobDir& dir, UniqueFd supervision, int wait_ms,
                             const std::function<Result<void>(const Ready&)>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SysFault("supervisor", "pipe2");
  const UniqueFd wait(ends[0]);
  UniqueFd ready(ends[1]);
  // Twice, so that nobody has to wait for it: its parent is the host's init.
  const pid_t child = ::fork();
  if (child < 0) return SysFault("supervisor", "fork");
  if (child == 0) {
    if (::fork() != 0) ::_exit(0);
    dir.ForgetVerbLock();  // the verb's, which ends long before this process
    auto done = Supervise(dir, supervision.get(), ready, work);
    if (!done) fprintf(stderr, "%s\n", done.error().ToString().c_str());
    ::_exit(done ? 0 : 1);
  }
  ready.reset();
  supervision.reset();
  ::waitpid(child, nullptr, 0);
  pollfd end = {wait.get(), POLLIN, 0};
  const int64_t deadline = MonotonicNs() + wait_ms * 1'000'000ll;
  while (::poll(&end, 1,
                static_cast<int>(std::max<int64_t>(0, (deadline - MonotonicNs()) / 1'000'000))) <
             0 &&
         errno == EINTR)
    continue;
  return {};
}

}  // namespace carrel
