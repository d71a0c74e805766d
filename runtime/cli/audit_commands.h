// The verbs of `carrel audit`. Each is given its options, and returns the exit status.
#pragma once

#include <string>
#include <vector>

#include "audit/catalogue.h"
#include "audit/query.h"
#include "audit/summary.h"
#include "base/unique_fd.h"
#include "cli/command.h"

namespace carrel {

struct AuditOptions {
  std::string config;
  std::string state;
  std::vector<std::string> jobs;  ///< positional, or --job
  // Which jobs.
  std::string project;
  std::string workspace;
  std::string action;
  std::string user;
  // Which events.
  std::vector<std::string> kinds;
  std::vector<std::string> syscalls;
  std::string path;
  std::string comm;
  std::string address;
  std::string error;
  std::string result;
  std::string since;
  std::string until;
  uint32_t pid = 0;
  bool denied = false;
  bool errors = false;
  // How it is shown.
  bool json = false;
  bool csv = false;
  bool events = false;           ///< show
  std::string format = "jsonl";  ///< export
  bool schema = false;           ///< export
  size_t lines = 10;             ///< tail
  bool follow = false;           ///< tail
  std::string against;           ///< profile: the profile to compare with
  std::string output;            ///< profile, report: the file to write
  bool all = false;              ///< verify: every log; diff: every count
  std::string public_path;       ///< verify --public
  std::string older;             ///< verify --public: an older head
  int64_t consistency = -1;      ///< prove

  std::string LogPath() const { return AuditLogPath(state, jobs.at(0)); }
};

/// The filters that the options ask for; an unknown syscall name is an error.
Result<EventFilter> FilterOf(const AuditOptions& options);
Result<JobFilter> JobFilterOf(const AuditOptions& options);

/// The logs that the options are about; prints what cannot be read, and sets `*status` then.
Result<std::vector<JobInfo>> SelectJobs(const AuditOptions& options, int* status);

/// Calls by syscall of all the jobs that the options are about, most first.
Result<std::vector<SyscallStats>> CountJobs(const AuditOptions& options, const EventFilter& filter,
                                            int* status);

int AuditList(const AuditOptions& options);
int AuditShow(const AuditOptions& options);
int AuditEvents(const AuditOptions& options);  ///< `show` with every event
int AuditQuery(const AuditOptions& options);
int AuditStats(const AuditOptions& options);
int AuditTail(const AuditOptions& options);
int AuditVerify(const AuditOptions& options);
int AuditProve(const AuditOptions& options);
int AuditExport(const AuditOptions& options);
int AuditProfile(const AuditOptions& options);
int AuditDiff(const AuditOptions& options);
int AuditReport(const AuditOptions& options);
int AuditUnload(const AuditOptions& options);

/// Opens the file that --output names; one that cannot be made there is kBadInput.
Result<UniqueFd> OpenOutput(const std::string& path, mode_t mode);

/// One line on stdout, ASCII only: nothing in it can act on a terminal.
void PrintJson(const OrderedJson& object);

/// Columns of the terminal that stdout is; 80 when it is none. For what is laid out for people.
size_t ScreenColumns();

/// The same for rows that another program may read: nothing is cut where there is no terminal.
size_t RowColumns();

/// Says on stderr how a log ended, when that is not with a seal. Returns the status of the command.
int ReportEnd(const LogReader& log);

}  // namespace carrel
