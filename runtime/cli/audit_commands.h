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
  uint32_t pid = 0;
  bool denied = false;
  bool errors = false;

  std::string LogPath() const { return state + "/audit/" + job + ".carrel-log"; }
};

/// The filter that the options ask for; an unknown syscall name is an error.
Result<EventFilter> FilterOf(const AuditOptions& options);

int AuditList(const AuditOptions& options);
int AuditShow(const AuditOptions& options);
int AuditQuery(const AuditOptions& options);
int AuditStats(const AuditOptions& options);
int AuditVerify(const AuditOptions& options);
int AuditUnload(const AuditOptions& options);

/// Says on stderr how a log ended, when that is not with a seal. Returns the status of the command.
int ReportEnd(const LogReader& log);

}  // namespace carrel
