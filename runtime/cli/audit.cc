#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "audit/render.h"
#include "audit/syscall_names.h"
#include "base/fs.h"
#include "cli/audit_commands.h"
#include "cli/host_options.h"

namespace carrel {
namespace {

enum class Jobs { kNone, kOne, kTwo, kSome, kMany };  // kMany: all when none is named

struct Verb {
  const char* name;
  const char* help;
  int (*run)(const AuditOptions&);
  Jobs jobs;
  bool filters;
};

constexpr Verb kVerbs[] = {
    {"list", "the jobs that have a log, the newest last", &AuditList, Jobs::kMany, false},
    {"show", "what a job did: its records and a summary", &AuditShow, Jobs::kOne, true},
    {"query", "the syscalls that match, of one job or of many", &AuditQuery, Jobs::kMany, true},
    {"stats", "calls, errors and time by syscall", &AuditStats, Jobs::kMany, true},
    {"tail", "the end of a log; --follow goes on while the job runs", &AuditTail, Jobs::kOne, true},
    {"verify", "whether a log is whole and unchanged", &AuditVerify, Jobs::kMany, false},
    {"prove", "that a job's record is in the public log, or that the log only grew", &AuditProve,
     Jobs::kMany, false},
    {"export", "all events, for other tools", &AuditExport, Jobs::kMany, true},
    {"profile", "the smallest seccomp profile that jobs would pass", &AuditProfile, Jobs::kSome,
     false},
    {"diff", "what changed in behaviour between two jobs", &AuditDiff, Jobs::kTwo, false},
    {"report", "a page about a job, to look at in a browser", &AuditReport, Jobs::kOne, false},
    {"unload", "detach the BPF programs that no job uses", &AuditUnload, Jobs::kNone, false},
};

void AddJobFilters(CLI::App* verb, AuditOptions& options) {
  verb->add_option("--project", options.project, "only jobs of this project");
  verb->add_option("--workspace", options.workspace, "only jobs of this workspace");
  verb->add_option("--action", options.action, "only jobs of this action");
  verb->add_option("--user", options.user, "only jobs that this user started");
}

void AddTimes(CLI::App* verb, AuditOptions& options) {
  verb->add_option("--since", options.since, "only from this time on (2026-08-01T12:00:00Z)");
  verb->add_option("--until", options.until, "only up to this time");
}

void AddFilters(CLI::App* verb, AuditOptions& options) {
  verb->add_option("--syscall", options.syscalls, "only these syscalls, by name")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb->add_option("--path", options.path, "only where a path begins so");
  verb->add_option("--comm", options.comm, "only tasks of this name");
  verb->add_option("--pid", options.pid, "only this process or thread (inside or outside)");
  verb->add_option("--address", options.address, "only where a socket address begins so");
  verb->add_option("--error", options.error, "only calls that failed so, as ENOENT");
  verb->add_option("--result", options.result, "only calls that returned this number");
  verb->add_flag("--denied", options.denied, "only calls that the filter refused");
  verb->add_flag("--errors", options.errors, "only calls that failed");
  verb->add_option("--kind", options.kinds,
                   "call, exec, task, exit, comm, stop, record, or all (query: call)")
      ->delimiter(',')
      ->allow_extra_args(false);
}

void AddJobs(CLI::App* sub, Jobs jobs, AuditOptions& options) {
  if (jobs == Jobs::kNone) return;
  auto* ids = sub->add_option("JOBS,--job,--id", options.jobs, "the jobs' ids");
  if (jobs == Jobs::kTwo) ids->expected(2);
}

void AddOutput(CLI::App* sub, const Verb& verb, AuditOptions& options) {
  if (verb.run == &AuditExport) {
    sub->add_option("--format", options.format, "jsonl, csv, chrome or summary (as strace -c)")
        ->check(CLI::IsMember({"jsonl", "csv", "chrome", "summary"}));
    sub->add_flag("--schema", options.schema, "print the JSON Schema of a line of jsonl");
  } else if (verb.run != &AuditUnload && verb.run != &AuditReport) {
    sub->add_flag("--json", options.json, "one JSON object a line");
  }
  if (verb.run == &AuditQuery) sub->add_flag("--csv", options.csv, "comma-separated, with a head");
}

// What only one verb takes.
void AddOwn(CLI::App* sub, const Verb& verb, AuditOptions& options) {
  if (verb.run == &AuditList) AddTimes(sub, options);
  if (verb.run == &AuditVerify) {
    sub->add_flag("--all", options.all, "every log");
    sub->add_option("--public", options.public_path,
                    "a public log (its directory), or a proof that `prove` printed");
    sub->add_option("--older", options.older,
                    "with --public: a tree.json from before; is this log that one, grown?");
  }
  if (verb.run == &AuditProve)
    sub->add_option("--consistency", options.consistency,
                    "prove that the log of this size is the beginning of the present one")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  if (verb.run == &AuditShow) sub->add_flag("--events", options.events, "every event");
  if (verb.run == &AuditTail) {
    sub->add_option("-n,--lines", options.lines, "how many events at first (10)");
    sub->add_flag("-f,--follow", options.follow, "wait for more until the log is sealed");
  }
  if (verb.run == &AuditProfile) {
    sub->add_option("-o,--output", options.output,
                    "write the profile here; then say what it spares");
    sub->add_option("--against", options.against,
                    "compare with this profile, not with the one that the jobs had");
  }
  if (verb.run == &AuditReport)
    sub->add_option("-o,--output", options.output, "the file to write (else stdout)");
  if (verb.run == &AuditDiff)
    sub->add_flag("--all", options.all, "also counts that differ by less than twice");
}

// "2026-08-01", or with "T12:34", ":56", "Z" after it; UTC.
Result<int64_t> ParseTime(const std::string& option, const std::string& text) {
  for (const char* format : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ",
                             "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    tm parts{};
    const char* end = ::strptime(text.c_str(), format, &parts);
    if (end == nullptr || *end != '\0') continue;
    // A year that nanoseconds do not reach is before, or after, everything.
    constexpr int64_t kSecond = 1'000'000'000;
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / kSecond;
    return std::clamp<int64_t>(::timegm(&parts), -kMost, kMost) * kSecond;
  }
  return BadInput(option, "not a time", "Write it as 2026-08-01T12:00:00Z");
}

Result<EventKinds> ParseKinds(const std::vector<std::string>& names) {
  EventKinds kinds = 0;
  for (const std::string& name : names) {
    if (name == "all") return kAllKinds;
    uint8_t kind = 0;
    while (kind <= kLastEventKind && name != KindName(static_cast<EventKind>(kind))) ++kind;
    if (kind > kLastEventKind) return BadInput("--kind", "there is no kind " + name);
    kinds |= KindBit(static_cast<EventKind>(kind));
  }
  return kinds == 0 ? kAllKinds : kinds;
}

Result<void> CheckJobs(const Verb& verb, const AuditOptions& options) {
  for (const std::string& job : options.jobs)
    if (!IsSafeComponent(job)) return BadInput("JOB", "not the id of a job");
  const size_t count = options.jobs.size();
  const char* hint = "`carrel audit list` shows them";
  if (verb.jobs == Jobs::kOne && count != 1) return BadInput("JOB", "say which job", hint);
  if (verb.jobs == Jobs::kTwo && count != 2) return BadInput("JOBS", "say which two jobs", hint);
  if (verb.jobs == Jobs::kSome && count == 0) return BadInput("JOBS", "say which jobs", hint);
  return {};
}

// A mistyped --state must not look like a host on which nothing is wrong.
Result<void> CheckState(const Verb& verb, const AuditOptions& options) {
  if (verb.run == &AuditUnload || options.schema) return {};
  auto state = OpenPath(options.state, O_RDONLY | O_DIRECTORY);
  if (state || state.error().code != ENOENT) return {};
  return BadInput(options.state, "there is no such state directory",
                  "--state names it, or `state` in the configuration");
}

}  // namespace

Result<EventFilter> FilterOf(const AuditOptions& options) {
  EventFilter filter;
  CARREL_ASSIGN(filter.kinds, ParseKinds(options.kinds));
  for (const std::string& name : options.syscalls) {
    auto number = SyscallNumber(name);
    if (!number) return BadInput("--syscall", "there is no syscall " + name);
    filter.syscalls.push_back(*number);
  }
  if (!options.path.empty()) filter.path = options.path;
  if (!options.comm.empty()) filter.comm = options.comm;
  if (!options.address.empty()) filter.address = options.address;
  if (!options.error.empty()) {
    if (!IsErrorName(options.error))
      return BadInput("--error", "there is no error " + options.error, "Write it as ENOENT");
    filter.error = options.error;
  }
  if (!options.result.empty()) {
    char* end = nullptr;
    filter.result = strtoll(options.result.c_str(), &end, 0);
    if (*end != '\0') return BadInput("--result", "not a number");
  }
  if (!options.since.empty()) {
    CARREL_ASSIGN(filter.since_ns, ParseTime("--since", options.since));
  }
  if (!options.until.empty()) {
    CARREL_ASSIGN(filter.until_ns, ParseTime("--until", options.until));
  }
  if (options.pid != 0) filter.pid = options.pid;
  filter.denied = options.denied;
  filter.errors = options.errors;
  return filter;
}

Result<JobFilter> JobFilterOf(const AuditOptions& options) {
  JobFilter filter;
  filter.ids = options.jobs;
  if (!options.project.empty()) filter.project = options.project;
  if (!options.workspace.empty()) filter.workspace = options.workspace;
  if (!options.action.empty()) filter.action = options.action;
  if (!options.user.empty()) filter.user = options.user;
  if (!options.until.empty()) {
    CARREL_ASSIGN(filter.until_ns, ParseTime("--until", options.until));
  }
  return filter;
}

Result<std::vector<JobInfo>> SelectJobs(const AuditOptions& options, int* status) {
  CARREL_ASSIGN(const JobFilter filter, JobFilterOf(options));
  CARREL_ASSIGN(JobList list, FindJobs(options.state, filter));
  for (const Error& problem : list.problems) *status = PrintError(problem);
  return std::move(list.jobs);
}

Result<UniqueFd> OpenOutput(const std::string& path, mode_t mode) {
  auto file = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (!file && file.error().code != ENOSPC) file.error().kind = ErrorKind::kBadInput;
  return file;
}

void PrintJson(const OrderedJson& object) {
  puts(object.dump(-1, ' ', true, OrderedJson::error_handler_t::replace).c_str());
}

size_t ScreenColumns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 40) return 80;
  return size.ws_col;
}

size_t RowColumns() {
  return ::isatty(STDOUT_FILENO) == 1 ? ScreenColumns() : std::numeric_limits<size_t>::max();
}

int ReportEnd(const LogReader& log) {
  const LogStanding standing = log.Standing();
  const char* job = log.job().c_str();
  if (standing == LogStanding::kSealed) {
    if (log.seal().interrupted)
      fprintf(stderr, "carrel: %s: carrel was killed over this log; %s\n", job,
              log.seal().counts.lost == 0 ? "the rest was recovered from the kernel's ring"
                                          : "what it had not yet written is lost");
    return 0;
  }
  if (standing == LogStanding::kRunning || standing == LogStanding::kWaiting) {
    fprintf(stderr, "carrel: %s: %s\n", job, StandingText(standing));
    return 0;
  }
  if (standing == LogStanding::kAltered)
    return PrintError(Fault(log.job(), log.why(), "What came before is shown"));
  std::string what = StandingText(standing);
  if (!log.why().empty()) what += "; " + log.why();
  return PrintError(Fault(log.job(), what,
                          "What came before is shown. The next run, or `carrel gc`, seals it with "
                          "what the kernel still holds of its events"));
}

int AuditCommand(int argc, char** argv) {
  CLI::App app("Reads the audit logs.", "carrel audit");
  app.require_subcommand(1);
  AuditOptions options;
  for (const Verb& verb : kVerbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.help);
    AddHostOptions(*sub, options.config, options.state);
    AddJobs(sub, verb.jobs, options);
    AddOutput(sub, verb, options);
    AddOwn(sub, verb, options);
    if (verb.jobs == Jobs::kMany && (verb.filters || verb.run == &AuditList))
      AddJobFilters(sub, options);
    if (verb.filters) {
      AddFilters(sub, options);
      AddTimes(sub, options);
    }
  }
  int status = 0;
  if (!ParseWithState(app, argc, argv, options.config, options.state, &status)) return status;
  for (const Verb& verb : kVerbs) {
    if (!app.got_subcommand(verb.name)) continue;
    auto good = CheckState(verb, options);
    if (good) good = CheckJobs(verb, options);
    return good ? verb.run(options) : PrintError(good.error(), "carrel audit");
  }
  return static_cast<int>(ErrorKind::kBadInput);
}

}  // namespace carrel
