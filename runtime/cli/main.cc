#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "base/journal.h"
#include "base/log.h"
#include "cli/command.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr Command kCommands[] = {
    {"run", "run a job from its definition to its results", &RunCommand},
    {"exec", "run one command in the same sandbox", &ExecCommand},
    {"prepare", "the job agent's: make a job ready", &PrepareCommand},
    {"execute", "the job agent's: start its action", &ExecuteCommand},
    {"status", "the job agent's: say its state", &StatusCommand},
    {"finalize", "the job agent's: outputs by level, and records", &FinalizeCommand},
    {"terminate", "the job agent's: end its action now", &TerminateCommand},
    {"cleanup", "the job agent's: remove what is left of it", &CleanupCommand},
    {"list", "list the agent's jobs", &ListCommand},
    {"logs", "print the log of a job's action", &LogsCommand},
    {"stats", "say what running actions use", &StatsCommand},
    {"kill", "kill a job's action", &KillCommand},
    {"dbtask", "run a short database command", &DbtaskCommand},
    {"pipeline", "check, draw and run a study's project.yaml", &PipelineCommand},
    {"image", "build, import, list, verify and remove images", &ImageCommand},
    {"policy", "check, explain and compare the policy", &PolicyCommand},
    {"audit", "read the audit logs", &AuditCommand},
    {"docker", "answer docker's command line (also when called as docker)", &DockerCommand},
    {"doctor", "check this host", &DoctorCommand},
    {"selftest", "run the test studies on this host", &SelftestCommand},
    {"gc", "remove what need not be kept", &GcCommand},
    {"metrics", "this host's state, for Prometheus", &MetricsCommand},
};

void PrintUsage(FILE* out) {
  fprintf(out,
          "carrel %s: runs analysis code next to patient records\n\nusage: carrel COMMAND ...\n\n",
          CARREL_VERSION);
  for (const Command& command : kCommands)
    fprintf(out, "  %-9s %s\n", command.name, command.summary);
  fprintf(out, "\n`carrel COMMAND --help` lists a command's options.\n");
}

// CLI11 wraps nothing: a description that is too long goes on below where it began.
std::string Wrapped(const std::string& help) {
  constexpr size_t kColumns = 80, kDescriptions = 30;
  std::string out;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    const std::string indent(line.starts_with("  ") ? kDescriptions : 0, ' ');
    while (line.size() > kColumns) {
      const size_t space = line.rfind(' ', kColumns);
      if (space == std::string::npos || space <= indent.size()) break;
      out += line.substr(0, space) + "\n";
      line = indent + line.substr(space + 1);
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace

bool ParseOptions(CLI::App& app, int argc, char** argv, int* status) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help
      std::ostringstream help;
      *status = app.exit(error, help, help);
      fputs(Wrapped(help.str()).c_str(), stdout);
      return false;
    }
    std::string name = app.get_name();
    const auto verbs_called = [&](std::string_view named) {
      return app.get_subcommands([=](CLI::App* verb) { return verb->get_name() == named; });
    };
    const bool has_verbs = app.get_require_subcommand_min() > 0;
    if (has_verbs && argc > 1 && argv[1][0] != '-' && verbs_called(argv[1]).empty()) {
      *status = PrintError(BadInput("", std::string("there is no subcommand ") + argv[1],
                                    "`" + name + " --help` lists them"),
                           name);
      return false;
    }
    for (const CLI::App* verb : app.get_subcommands()) name += " " + verb->get_name();
    std::string what = error.what();
    // A mistyped option is to be said before what is missing because of it.
    for (const std::string& word : app.remaining(true))
      if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) &&
          word.size() > 1 && word[0] == '-')
        what = "there is no option " + word;
    *status = PrintError(BadInput("", what, "`" + name + " --help` lists the options"), name);
    return false;
  }
}

// An error can quote what a hostile study or image is called.
int PrintError(const Error& failed, const std::string& program) {
  Error error = failed;
  if (error.code == EACCES && ::geteuid() != 0) {  // not a fault: these are root's files
    error.kind = ErrorKind::kBadInput;
    if (error.hint.empty()) error.hint = "carrel's files are root's: run it with sudo";
  }
  const std::string text = error.ToString();
  std::string visible;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    visible += (start == 0 ? "" : "\n") + MakeVisible(text.substr(start, end - start));
    start = end + 1;
  }
  const char* kind = error.kind == ErrorKind::kRefused    ? "refused"
                     : error.kind == ErrorKind::kBadInput ? "bad input"
                                                          : "fault";
  if (!SendToJournal(3, visible, {{"CARREL_ERROR", kind}, {"CARREL_WHERE", error.where}}))
    fprintf(stderr, "%s: %s\n", program.c_str(), visible.c_str());
  return static_cast<int>(error.kind);
}

// What a caller may have left odd is put right before anything is opened: a closed standard stream
// (a file of ours would become the action's stdout), an ignored SIGCHLD (nobody could be waited
// for), a umask that hides carrel's directories from the action or opens them to everybody.
bool NormalizeCaller() {
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
      return false;
  ::signal(SIGCHLD, SIG_DFL);
  ::umask(0022);
  return true;
}

int Main(int argc, char** argv) {
  if (!NormalizeCaller()) return static_cast<int>(ErrorKind::kFault);
  InitLog(getenv("CARREL_DEBUG") != nullptr);
  const std::string_view called = argc > 0 ? argv[0] : "";
  if (called.substr(called.rfind('/') + 1) == "docker") return DockerCommand(argc, argv);
  if (argc >= 2) {
    for (const Command& command : kCommands)
      if (strcmp(argv[1], command.name) == 0) return command.run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0) {
      printf("carrel %s\n", CARREL_VERSION);
      return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
      PrintUsage(stdout);
      return 0;
    }
    fprintf(stderr, "carrel: unknown command %s\n", argv[1]);
  }
  PrintUsage(stderr);
  return static_cast<int>(ErrorKind::kBadInput);
}

// A result that nobody could write down is not one: a log exported to a full disk must not look
// whole. Who closes a pipe has read what they wanted.
int FinishOutput(int status) {
  const int failed = ::fflush(stdout) == 0 ? 0 : errno;
  if ((failed == 0 && ::ferror(stdout) == 0) || failed == EPIPE) return status;
  const int code = PrintError(SysFault("stdout", "the output could not be written", failed));
  return status == 0 ? code : status;
}

}  // namespace carrel

int main(int argc, char** argv) { return carrel::FinishOutput(carrel::Main(argc, argv)); }
