#include "pipeline/job_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr size_t kMaxOutput = 64u << 20;
constexpr size_t kMaxComplaint = 8192;

// In the child, between fork and exec: system calls only.
[[noreturn]] void BecomeJob(char* const* argv, char* const* environment, int input, int output,
                            int errors, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(125);  // it died before the line above
  ::dup2(input, 0);
  ::dup2(output, 1);
  ::dup2(errors, 2);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // The program that runs now, whatever its name stands for by now.
  ::execve("/proc/self/exe", argv, environment);
  ::_exit(125);
}

}  // namespace

Result<JobProcess> JobProcess::Start(const std::vector<std::string>& args) {
  JobProcess job;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SysFault("job", "pipe");
  job.errors_ = UniqueFd(ends[0]);
  const UniqueFd errors(ends[1]);
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return SysFault("job", "O_NONBLOCK");
  job.output_ = UniqueFd(::memfd_create("carrel-job", MFD_CLOEXEC));
  if (!job.output_) return SysFault("job", "memfd_create");
  CARREL_ASSIGN(const UniqueFd null, OpenPath("/dev/null", O_RDONLY));

  std::vector<std::string> words = {"carrel"};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<std::string> variables = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const char* name : {"CARREL_CONFIG", "CARREL_DEBUG"})
    if (const char* value = ::getenv(name)) variables.push_back(std::string(name) + "=" + value);
  std::vector<char*> argv, environment;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : variables) environment.push_back(variable.data());
  argv.push_back(nullptr);
  environment.push_back(nullptr);

  const pid_t parent = ::getpid();
  job.pid_ = ::fork();
  if (job.pid_ < 0) return SysFault("job", "fork");
  if (job.pid_ == 0)
    BecomeJob(argv.data(), environment.data(), null.get(), job.output_.get(), errors.get(), parent);
  job.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, job.pid_, 0)));
  if (!job.pidfd_) return SysFault("job", "pidfd_open");
  return job;
}

JobProcess::~JobProcess() {
  if (!pidfd_) return;
  Cancel();
  (void)Wait();
}

void JobProcess::Cancel() {
  (void)::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGTERM, nullptr, 0);
}

void JobProcess::TakeLine(const std::string& line) {
  int step = 0, last = 0;
  if (::sscanf(line.c_str(), "[%d/%d]", &step, &last) == 2) {
    step_ = step;
    return;
  }
  if (complaint_.size() < kMaxComplaint) complaint_ += (complaint_.empty() ? "" : "\n") + line;
}

int JobProcess::ReadSaid() {
  char chunk[4096];
  for (ssize_t n = 0; (n = ::read(errors_.get(), chunk, sizeof chunk)) > 0;) {
    partial_.append(chunk, static_cast<size_t>(n));
    for (size_t end = 0; (end = partial_.find('\n')) != std::string::npos;) {
      TakeLine(partial_.substr(0, end));
      partial_.erase(0, end + 1);
    }
    if (partial_.size() > kMaxComplaint) partial_.clear();
  }
  return step_;
}

Result<int> JobProcess::Wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0)
    if (errno != EINTR) return SysFault("job", "waitpid");
  pidfd_.reset();
  (void)ReadSaid();
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Json JobProcess::Output() const {
  if (::lseek(output_.get(), 0, SEEK_SET) != 0) return nullptr;
  auto text = ReadFd(output_.get(), kMaxOutput);
  Json value = text ? Json::parse(*text, nullptr, false) : Json();
  return value.is_discarded() ? Json() : value;
}

}  // namespace carrel
