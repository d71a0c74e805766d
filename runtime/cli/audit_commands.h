// The verbs of `carrel audit`. Each is given its options, and returns the exit status.
#pragma once

#include <string>
#include <vector>

#include "audit/query.h"
#include "cli/command.h"

namespace carrel {

struct AuditOptions {
  std::string state = kDefaultState;
  std::string job;  ///< positional or --job
  bool json = false;
  bool events = false;
  bool all = false;
  std::vector<std::string> syscalls;
  std::string path;
  std::string comm;
  std::string address;
  std::string error;
  std::string result;
  std::string since;
  std::string until;
  std::string public_dir;         ///< verify --public
  std::string format = "jsonl";   ///< export
  std::string against;            ///< profile: the profile to compare with
  std::vector<std::string> jobs;  ///< profile, diff
  uint32_t pid = 0;
  bool csv = false;
  bool denied = false;
  bool errors = false;

  std::string LogPath() const { return LogPathOf(job); }
  std::string LogPathOf(const std::string& id) const {
    return state + "/audit/" + id + ".carrel-log";
  }
};

/// The filter that the options ask for; an unknown syscall name is an error.
Result<EventFilter> FilterOf(const AuditOptions& options);

int AuditList(const AuditOptions& options);
int AuditShow(const AuditOptions& options);
int AuditQuery(const AuditOptions& options);
int AuditStats(const AuditOptions& options);
int AuditVerify(const AuditOptions& options);
int AuditProve(const AuditOptions& options);
int AuditExport(const AuditOptions& options);
int AuditProfile(const AuditOptions& options);
int AuditDiff(const AuditOptions& options);
int AuditUnload(const AuditOptions& options);

/// One line on stdout, ASCII only: nothing in it can act on a terminal.
void PrintJson(const OrderedJson& object);

/// Says on stderr how a log ended, when that is not with a seal. Returns the status of the command.
int ReportEnd(const LogReader& log);

}  // namespace carrel
