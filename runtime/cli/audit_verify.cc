// carrel audit verify, prove.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "audit/proof.h"
#include "audit/public_log.h"
#include "audit/text.h"
#include "audit/verify.h"
#include "base/fs.h"
#include "base/json.h"
#include "cli/audit_commands.h"

namespace carrel {
namespace {

// What the public log says of each job, and of each seal.
struct Published {
  std::multimap<std::string, uint64_t> by_job;
  std::map<std::string, uint64_t> by_seal;
  std::vector<std::string> jobs;  ///< by index
};

Result<Published> ReadPublished(const std::string& state, LogFinding* finding) {
  CARREL_ASSIGN(const PublicLog log, ReadPublicLog(state, state + "/public", finding));
  Published out;
  for (uint64_t i = 0; i < log.records.size(); ++i) {
    auto record = ParseJson(log.records[i], "public record");
    const bool valid = record && record->is_object();
    out.jobs.push_back(valid ? record->value("job", std::string()) : "");
    if (!valid) continue;
    out.by_job.emplace(out.jobs.back(), i);
    if (auto seal = record->value("seal", std::string()); !seal.empty()) out.by_seal[seal] = i;
  }
  return out;
}

// "J" for "J.2", the log of a second run.
std::string WithoutRun(const std::string& id) {
  const size_t dot = id.rfind('.');
  const bool run = dot != std::string::npos && dot + 1 < id.size() &&
                   id.find_first_not_of("0123456789", dot + 1) == std::string::npos;
  return run ? id.substr(0, dot) : id;
}

// A log that is whole by itself, but whose seal is not one that was published for its job, was
// swapped. A log without any public record (of `carrel exec`, say) has nothing to be held against.
std::optional<uint64_t> HoldAgainst(const Published& published, LogVerdict& verdict) {
  if (verdict.finding != LogFinding::kWhole) return std::nullopt;
  if (auto at = published.by_seal.find(verdict.head); at != published.by_seal.end())
    return at->second;
  if (published.by_job.contains(verdict.job) ||
      published.by_job.contains(WithoutRun(verdict.job))) {
    verdict.finding = LogFinding::kAltered;
    verdict.why = "the public record carries another seal: this is not the log that was published";
  }
  return std::nullopt;
}

void PrintVerdict(const AuditOptions& options, const std::string& job, const LogVerdict& verdict,
                  std::optional<uint64_t> index) {
  if (!options.json) {
    std::string text = fmt::format("{}: {}, {} events in {} blocks", Printable(job),
                                   FindingName(verdict.finding), verdict.events, verdict.blocks);
    if (!verdict.why.empty()) text += ": " + Printable(verdict.why);
    if (index) text += fmt::format(", public record {}", *index);
    puts(text.c_str());
    return;
  }
  OrderedJson out = {{"job", job},
                     {"finding", FindingName(verdict.finding)},
                     {"events", verdict.events},
                     {"denied", verdict.denied},
                     {"blocks", verdict.blocks},
                     {"bytes", verdict.bytes},
                     {"head", verdict.head},
                     {"public_index", index ? OrderedJson(*index) : OrderedJson(nullptr)}};
  if (!verdict.why.empty()) out["why"] = verdict.why;
  PrintJson(out);
}

int PrintFinding(const AuditOptions& options, LogFinding finding, const std::string& what) {
  if (options.json)
    PrintJson({{"public", Utf8(options.public_path)},
               {"finding", FindingName(finding)},
               {"what", Utf8(what)}});
  else
    puts(fmt::format("{}: {}: {}", Printable(options.public_path), FindingName(finding),
                     Printable(what))
             .c_str());
  return FindingStatus(finding);
}

// The directory of a log that was named by itself or by one of its files; "" for another file.
std::string PublicDirectory(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return path;
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name != "log.jsonl" && name != "tree.json") return "";
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

Result<int> VerifyPublic(const AuditOptions& options) {
  const std::string directory = PublicDirectory(options.public_path);
  if (directory.empty()) {
    CARREL_ASSIGN(const Json json, ReadJsonFile(options.public_path));
    CARREL_ASSIGN(const ProofVerdict verdict, CheckProof(options.state, json));
    return PrintFinding(options, verdict.finding, verdict.what);
  }
  LogFinding finding = LogFinding::kAltered;
  auto log = ReadPublicLog(options.state, directory, &finding);
  if (!log) return PrintFinding(options, finding, log.error().ToString());
  if (log->head.text.empty() && log->unsigned_bytes == 0)
    return BadInput(options.public_path, "there is no public log");
  // Threat: a copy without its head, or with records after it, that passes for whole.
  if (log->unsigned_bytes > 0)
    return PrintFinding(options, LogFinding::kUnsealed,
                        fmt::format("the signed head covers {} records; {} bytes of log.jsonl that "
                                    "follow them are under none",
                                    log->records.size(), log->unsigned_bytes));
  const std::string what = fmt::format("{} records under root {}", log->records.size(),
                                       HexOf(log->head.frontier.Root()));
  if (options.older.empty()) return PrintFinding(options, LogFinding::kWhole, what);
  CARREL_ASSIGN(const std::string text, ReadFile(options.older, 1u << 20));
  auto older = ParseHead(options.state, text, &finding);
  if (!older)
    return PrintFinding(options, finding, options.older + ": " + older.error().ToString());
  if (!IsBeginningOf(*older, *log))
    return PrintFinding(options, LogFinding::kAltered,
                        "the older log is not the beginning of this one: it was rewritten");
  return PrintFinding(options, LogFinding::kWhole,
                      what + fmt::format(", grown from {}", older->frontier.size));
}

// Records whose private log is gone.
int ReportMissing(const AuditOptions& options, const Published& published,
                  const std::set<std::string>& heads) {
  int status = 0;
  for (const auto& [seal, index] : published.by_seal) {
    if (heads.contains(seal)) continue;
    LogVerdict verdict;
    verdict.finding = LogFinding::kMissing;
    verdict.head = seal;
    verdict.why = "it was published, but no log here has its seal";
    PrintVerdict(options, published.jobs[index], verdict, index);
    status = FindingStatus(verdict.finding);
  }
  return status;
}

// Of several findings the worst is the status: a job that runs, whose log is unsealed, must not
// hide that another's is gone.
int Worse(int one, int other) {
  for (LogFinding finding :
       {LogFinding::kAltered, LogFinding::kMissing, LogFinding::kTruncated, LogFinding::kUnknownKey,
        LogFinding::kIncomplete, LogFinding::kUnsealed})
    for (int status : {one, other})
      if (status == FindingStatus(finding)) return status;
  return std::max(one, other);
}

Result<int> VerifyLogs(const AuditOptions& options) {
  if (options.all == !options.jobs.empty()) return BadInput("JOB", "say which jobs, or --all");
  CARREL_ASSIGN(std::vector<std::string> ids, LogIds(options.state));
  if (!options.all) ids = options.jobs;
  int status = 0;
  auto add = [&](int one) { status = Worse(status, one); };
  LogFinding finding = LogFinding::kAltered;
  auto published = ReadPublished(options.state, &finding);
  if (!published) {
    PrintError(published.error());
    add(FindingStatus(finding));
    published = Published{};
  }
  std::set<std::string> heads;
  for (const std::string& job : ids) {
    CARREL_ASSIGN(LogVerdict verdict,
                  VerifyLog(options.state, AuditLogPath(options.state, job), job));
    const auto index = HoldAgainst(*published, verdict);
    PrintVerdict(options, job, verdict, index);
    heads.insert(verdict.head);
    add(FindingStatus(verdict.finding));
  }
  if (options.all) add(ReportMissing(options, *published, heads));
  return status;
}

Result<int> Prove(const AuditOptions& options) {
  if ((options.consistency > 0) == (options.jobs.size() == 1))
    return BadInput("JOB", "say which job, or --consistency with an older size");
  CARREL_ASSIGN(const PublicLog log, ReadPublicLog(options.state, options.state + "/public"));
  if (options.consistency > 0) {
    CARREL_ASSIGN(const OrderedJson proof,
                  ProveConsistency(log, static_cast<uint64_t>(options.consistency)));
    PrintJson(proof);
    return 0;
  }
  const auto index = FindPublicRecord(log, options.jobs[0]);
  if (!index) return BadInput(options.jobs[0], "the public log has no record of this job");
  PrintJson(ProveInclusion(log, *index));
  return 0;
}

}  // namespace

int AuditVerify(const AuditOptions& options) {
  auto status = options.public_path.empty() ? VerifyLogs(options) : VerifyPublic(options);
  return status ? *status : PrintError(status.error());
}

int AuditProve(const AuditOptions& options) {
  auto status = Prove(options);
  return status ? *status : PrintError(status.error());
}

}  // namespace carrel
