// carrel audit list, unload.
#include <fmt/format.h>

#include <cstdio>

#include "audit/bpf_objects.h"
#include "audit/log_reader.h"
#include "audit/text.h"
#include "base/clock.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

// What is known of a log without decoding its events.
struct LogState {
  uint64_t calls = 0, denied = 0, lost = 0, bytes = 0;
  const char* end = "damaged";
};

LogState StateOf(const std::string& path) {
  LogState state;
  auto log = LogReader::Open(path);
  if (!log) return state;
  for (;;) {
    auto more = log->NextBlock();
    if (!more || !*more) break;
    state.calls += log->header().calls;
    state.denied += log->header().denied;
  }
  state.bytes = log->offset();
  const LogStanding standing = log->Standing();
  state.end = standing == LogStanding::kAltered ? "damaged" : StandingName(standing);
  if (standing != LogStanding::kSealed) return state;
  state.lost = log->seal().counts.lost;
  if (state.lost != 0)
    state.end = "incomplete";
  else if (log->seal().interrupted)
    state.end = "recovered";
  return state;
}

}  // namespace

int AuditList(const AuditOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return PrintError(filter.error(), "carrel audit");
  int status = 0;
  auto jobs = SelectJobs(options, &status);
  if (!jobs) return PrintError(jobs.error());
  const size_t columns = RowColumns();
  if (!options.json) puts("started              log              calls  denied  job");
  for (const JobInfo& job : *jobs) {
    if (filter->since_ns && job.start_ns < *filter->since_ns) continue;
    const LogState state = StateOf(job.path);
    // A log that got no further than its name, on a full disk, knows no time.
    const std::string start = job.start_ns == 0 ? "" : Rfc3339(job.start_ns);
    if (options.json) {
      PrintJson({{"job", job.id},
                 {"start", start.empty() ? OrderedJson(nullptr) : OrderedJson(start)},
                 {"project", Utf8(job.project)},
                 {"workspace", Utf8(job.workspace)},
                 {"action", Utf8(job.action)},
                 {"user", Utf8(job.user)},
                 {"refused", job.refused},
                 {"events", state.calls},
                 {"denied", state.denied},
                 {"lost", state.lost},
                 {"bytes", state.bytes},
                 {"end", state.end}});
      continue;
    }
    std::string name = job.id;
    if (!job.workspace.empty()) name += "  " + job.workspace + '/' + job.action;
    if (job.refused) name += "  (refused)";
    const std::string when = start.empty() ? "-" : start.substr(0, 10) + ' ' + start.substr(11, 8);
    puts(Fit(fmt::format("{:<19}  {:<10} {:>10} {:>7}  {}", when, state.end, state.calls,
                         state.denied, Printable(name)),
             columns)
             .c_str());
  }
  return status;
}

int AuditUnload(const AuditOptions& options) {
  auto removed = RemoveBpfObjects(options.state, false);
  if (!removed) return PrintError(removed.error());
  printf("%d version%s detached\n", *removed, *removed == 1 ? "" : "s");
  return 0;
}

}  // namespace carrel
