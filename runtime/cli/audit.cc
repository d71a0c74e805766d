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
    {"unload", "detach the BPF programs that no job uses", &AuditUnload, false, false},
};

void AddFilters(CLI::App* verb, AuditOptions& options) {
  verb->add_option("--syscall", options.syscalls, "only these syscalls, by name")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb->add_option("--path", options.path, "only where a path begins so");
  verb->add_option("--comm", options.comm, "only tasks of this name");
  verb->add_option("--pid", options.pid, "only this process or thread (inside or outside)");
  verb->add_flag("--denied", options.denied, "only calls that the filter refused");
  verb->add_flag("--errors", options.errors, "only calls that failed");
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
    if (verb.run == &AuditList) sub->add_flag("--json", options.json, "one JSON object a line");
    if (verb.run == &AuditVerify) sub->add_flag("--all", options.all, "every log");
    if (verb.run == &AuditShow)
      sub->add_flag("--events", options.events, "every event, not a summary");
    if (verb.filters) AddFilters(sub, options);
  }
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  for (const Verb& verb : kVerbs) {
    if (!app.got_subcommand(verb.name)) continue;
    if (verb.needs_job && options.job.empty())
      return PrintError(BadInput("JOB", "say which job", "`carrel audit list` shows them"));
    if (!options.job.empty() && !IsSafeComponent(options.job))
      return PrintError(BadInput("JOB", "not the id of a job"));
    return verb.run(options);
  }
  return static_cast<int>(ErrorKind::kBadInput);
}

}  // namespace carrel
