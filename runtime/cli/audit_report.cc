// carrel audit report.
#include <fcntl.h>

#include <cstdio>

#include "audit/public_log.h"
#include "audit/report.h"
#include "audit/text.h"
#include "audit/verify.h"
#include "base/fs.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

// The place of the log's seal in the public log, when that is good and has it.
std::optional<uint64_t> PublicIndex(const std::string& state, const LogVerdict& verdict) {
  auto log = ReadPublicLog(state, state + "/public");
  if (!log) return std::nullopt;
  for (uint64_t i = log->records.size(); i-- > 0;) {
    auto record = ParseJson(log->records[i], "public record");
    if (record && record->is_object() && record->value("seal", std::string()) == verdict.head)
      return i;
  }
  return std::nullopt;
}

Result<int> Report(const AuditOptions& options) {
  const std::string path = options.LogPath();
  CARREL_ASSIGN(const LogVerdict verdict, VerifyLog(options.state, path, options.jobs[0]));
  // Of an altered log what can be read is shown, beneath a verdict that says so.
  CARREL_ASSIGN(const uint64_t rows, CountRows(path));
  CARREL_ASSIGN(LogReader log, LogReader::Open(path));
  CARREL_ASSIGN(const ReportData data, GatherReport(log, rows));
  const OrderedJson report = ReportJson(data, verdict, PublicIndex(options.state, verdict));
  CARREL_ASSIGN(const std::string page, ReportPage(report));
  if (options.output.empty()) {
    fwrite(page.data(), 1, page.size(), stdout);
  } else {
    // It holds what the log holds: for its maker alone.
    CARREL_ASSIGN(const UniqueFd file, OpenOutput(options.output, 0600));
    CARREL_TRY(WriteAll(file.get(), page));
  }
  if (!verdict.why.empty())
    fprintf(stderr, "carrel: %s: the log is %s: %s\n", options.jobs[0].c_str(),
            FindingName(verdict.finding), Printable(verdict.why).c_str());
  return FindingStatus(verdict.finding);
}

}  // namespace

int AuditReport(const AuditOptions& options) {
  auto status = Report(options);
  return status ? *status : PrintError(status.error());
}

}  // namespace carrel
