#include "base/subprocess.h"

#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/process.hpp>
#include <boost/process/extend.hpp>

#include "base/interrupt.h"

namespace carrel {
namespace {

namespace bp = boost::process;
constexpr size_t kMaxErrors = 64u << 10;

// In the forked helper: die with carrel, and have no descriptor of ours beyond stdio.
struct DieWithParent : bp::extend::handler {
  template <typename Executor>
  void on_exec_setup(Executor&) const {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Boost's own limit_handles also closes the pipes that become stdio.
    ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    ::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
  }
};

// Reads a pipe to its end, keeping the first `limit` bytes.
class Collector {
 public:
  Collector(boost::asio::io_context& context, size_t limit) : pipe(context), limit_(limit) {}
  void Start() {
    pipe.async_read_some(boost::asio::buffer(chunk_),
                         [this](boost::system::error_code error, size_t n) {
                           size_t room = limit_ - std::min(limit_, text.size());
                           text.append(chunk_, std::min(n, room));
                           overflow = overflow || n > room;
                           if (!error) Start();
                         });
  }
  bp::async_pipe pipe;
  std::string text;
  bool overflow = false;

 private:
  size_t limit_;
  char chunk_[8192];
};

// Runs until the helper's streams have ended; gives up at the time limit, at once when it prints
// too much, and soon after a signal that carrel has blocked.
Result<void> Pump(boost::asio::io_context& context, const Collector& out,
                  const std::string& program, const SubprocessOptions& options) {
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  while (!context.stopped()) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0)
      return Fault(program, "did not end within " + std::to_string(options.timeout.count()) + " s");
    CARREL_TRY(CheckCancelled());
    context.run_for(std::min<std::chrono::nanoseconds>(left, std::chrono::milliseconds(50)));
    if (out.overflow)
      return SysFault(program, "printed more than " + std::to_string(options.max_output) + " bytes",
                      EFBIG);
  }
  return {};
}

}  // namespace

Result<SubprocessResult> RunSubprocess(const std::vector<std::string>& argv,
                                       const SubprocessOptions& options) try {
  static const std::vector<boost::filesystem::path> kPath = {"/usr/sbin", "/usr/bin", "/sbin",
                                                             "/bin"};
  const boost::filesystem::path program =
      argv.at(0).starts_with('/') ? argv[0] : bp::search_path(argv[0], kPath);
  if (program.empty())
    return Fault(argv[0], "the helper program is not installed",
                 "Run ci/setup, or `carrel doctor`");

  boost::asio::io_context context;
  Collector out(context, options.max_output);
  Collector err(context, kMaxErrors);
  bp::async_pipe in(context);
  bp::environment environment;
  environment.clear();
  // set, not []: Boost 1.74's look-up reads past the end of shorter entries.
  environment.set("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
  environment.set("LC_ALL", "C.UTF-8");
  for (const auto& [name, value] : options.environment) environment.set(name, value);

  auto start = [&](auto&& output) {
    return bp::child(program, bp::args(std::vector<std::string>(argv.begin() + 1, argv.end())),
                     environment,
                     bp::start_dir(options.directory.empty() ? "/" : options.directory),
                     bp::std_in<in, output, bp::std_err> err.pipe, DieWithParent{});
  };
  FILE* file = options.output_fd < 0 ? nullptr : ::fdopen(::dup(options.output_fd), "w");
  bp::child child = file == nullptr ? start(bp::std_out > out.pipe) : start(bp::std_out > file);
  if (file != nullptr)
    ::fclose(file);
  else
    out.Start();
  err.Start();
  boost::asio::async_write(in, boost::asio::buffer(options.input),
                           [&](boost::system::error_code, size_t) { in.close(); });
  std::error_code ignored;
  if (auto pumped = Pump(context, out, argv[0], options); !pumped) {
    child.terminate(ignored);
    return std::move(pumped).error();
  }
  child.wait(ignored);
  const int status = child.native_exit_code();
  return SubprocessResult{WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                          std::move(out.text), std::move(err.text)};
} catch (const std::exception& error) {
  return Fault(argv.empty() ? "subprocess" : argv[0],
               std::string("could not be run: ") + error.what());
}

Result<std::string> RunChecked(const std::vector<std::string>& argv,
                               const SubprocessOptions& options) {
  CARREL_ASSIGN(auto result, RunSubprocess(argv, options));
  if (result.exit_code == 0) return std::move(result.output);
  std::string tail =
      result.errors.size() > 600 ? result.errors.substr(result.errors.size() - 600) : result.errors;
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  return Fault(argv[0], "exit status " + std::to_string(result.exit_code) + ": " + tail);
}

}  // namespace carrel
