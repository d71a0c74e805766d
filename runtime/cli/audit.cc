#include <ctime>

#include "audit/syscall_names.h"
#include "base/fs.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

struct Verb {
  const char* name;
  const char* help;
  int (*run)(const AuditOptions&);
  bool needs_job;
  bool filters;
};

constexpr Verb kVerbs[] = {
    {"list", "the jobs that have a log", &AuditList, false, false},
    {"show", "what a job did: its records and a summary", &AuditShow, true, true},
    {"query", "the events of a job that match", &AuditQuery, true, true},
    {"stats", "calls, errors and time by syscall", &AuditStats, true, true},
    {"verify", "whether a log is whole and unchanged", &AuditVerify, false, false},
    {"prove", "that a job's record is in the public log", &AuditProve, true, false},
    {"export", "all events, for other tools", &AuditExport, true, true},
    {"profile", "the smallest seccomp profile that jobs would pass", &AuditProfile, false, false},
    {"diff", "what changed between two jobs", &AuditDiff, false, false},
    {"unload", "detach the BPF programs that no job uses", &AuditUnload, false, false},
};

void AddFilters(CLI::App* verb, AuditOptions& options) {
  verb->add_option("--syscall", options.syscalls, "only these syscalls, by name")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb->add_option("--path", options.path, "only where a path begins so");
  verb->add_option("--comm", options.comm, "only tasks of this name");
  verb->add_option("--address", options.address, "only where a socket address begins so");
  verb->add_option("--error", options.error, "only calls that failed so, as ENOENT");
  verb->add_option("--result", options.result, "only calls that returned this number");
  verb->add_option("--since", options.since, "only from this time on (2026-08-01T12:00:00Z)");
  verb->add_option("--until", options.until, "only up to this time");
  verb->add_option("--pid", options.pid, "only this process or thread (inside or outside)");
  verb->add_flag("--denied", options.denied, "only calls that the filter refused");
  verb->add_flag("--errors", options.errors, "only calls that failed");
}

// What only one verb takes.
void AddOwn(CLI::App* sub, const Verb& verb, AuditOptions& options) {
  if (verb.run == &AuditList) sub->add_flag("--json", options.json, "one JSON object a line");
  if (verb.run == &AuditVerify) {
    sub->add_flag("--all", options.all, "every log");
    sub->add_option("--public", options.public_dir, "a directory with a public log");
  }
  if (verb.run == &AuditShow) sub->add_flag("--events", options.events, "every event");
  if (verb.run == &AuditQuery) sub->add_flag("--csv", options.csv, "comma-separated, with a head");
  if (verb.run == &AuditExport)
    sub->add_option("--format", options.format, "jsonl, csv, chrome or summary")
        ->check(CLI::IsMember({"jsonl", "csv", "chrome", "summary"}));
  if (verb.run == &AuditProfile) {
    sub->add_option("--against", options.against,
                    "a seccomp profile: say what it allows in excess");
    sub->add_option("JOBS", options.jobs, "the jobs' ids")->required();
  }
  if (verb.run == &AuditDiff) {
    sub->add_option("JOBS", options.jobs, "the two jobs' ids")->required()->expected(2);
    sub->add_flag("--json", options.json, "one JSON object a line");
  }
}

// "2026-08-01", or with "T12:34", ":56", "Z" after it; UTC.
Result<int64_t> ParseTime(const std::string& option, const std::string& text) {
  for (const char* format : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ",
                             "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    tm parts{};
    const char* end = ::strptime(text.c_str(), format, &parts);
    if (end != nullptr && *end == '\0') return int64_t{::timegm(&parts)} * 1'000'000'000;
  }
  return BadInput(option, "not a time", "Write it as 2026-08-01T12:00:00Z");
}

}  // namespace

Result<EventFilter> FilterOf(const AuditOptions& options) {
  EventFilter filter;
  for (const std::string& name : options.syscalls) {
    auto number = SyscallNumber(name);
    if (!number) return BadInput("--syscall", "there is no syscall " + name);
    filter.syscalls.push_back(*number);
  }
  if (!options.path.empty()) filter.path = options.path;
  if (!options.comm.empty()) filter.comm = options.comm;
  if (!options.address.empty()) filter.address = options.address;
  if (!options.error.empty()) filter.error = options.error;
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

int ReportEnd(const LogReader& log) {
  if (log.end() == LogEnd::kSealed) return 0;
  if (log.end() == LogEnd::kUnsealed) {
    fprintf(stderr, "carrel: %s: no seal yet: what follows is not in it\n", log.job().c_str());
    return 0;
  }
  return PrintError(Fault(log.job(), log.why(), "What came before is shown"));
}

int AuditCommand(int argc, char** argv) {
  CLI::App app("Reads the audit logs.", "carrel audit");
  app.require_subcommand(1);
  AuditOptions options;
  for (const Verb& verb : kVerbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.help);
    sub->add_option("--state", options.state, "where carrel keeps everything of its own");
    if (verb.needs_job || verb.run == &AuditVerify) {
      sub->add_option("JOB,--job,--id", options.job, "the job's id");
      sub->add_flag("--json", options.json, "one JSON object a line");
    }
    AddOwn(sub, verb, options);
    if (verb.filters) AddFilters(sub, options);
  }
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  for (const Verb& verb : kVerbs) {
    if (!app.got_subcommand(verb.name)) continue;
    if (verb.needs_job && options.job.empty())
      return PrintError(BadInput("JOB", "say which job", "`carrel audit list` shows them"));
    std::vector<std::string> jobs = options.jobs;
    if (!options.job.empty()) jobs.push_back(options.job);
    for (const std::string& job : jobs)
      if (!IsSafeComponent(job)) return PrintError(BadInput("JOB", "not the id of a job"));
    return verb.run(options);
  }
  return static_cast<int>(ErrorKind::kBadInput);
}

}  // namespace carrel
