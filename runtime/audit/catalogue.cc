#include "audit/catalogue.h"

#include <fcntl.h>

#include <algorithm>

#include "audit/log_reader.h"
#include "base/fs.h"

namespace carrel {
namespace {

constexpr std::string_view kSuffix = ".carrel-log";

std::string Text(const Json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// The decision is the first thing that is written, before the action can have a hand in the log.
void ReadDecision(const Json& record, JobInfo& info) {
  const Json empty = Json::object();
  auto member = [&](const char* key) -> const Json& {
    auto at = record.find(key);
    return at != record.end() && at->is_object() ? *at : empty;
  };
  const Json &job = member("job"), &decision = member("decision");
  info.workspace = Text(job, "workspace");
  info.action = Text(job, "action");
  info.user = Text(job, "user");
  info.commit = Text(job, "commit");
  if (auto allowed = decision.find("allowed"); allowed != decision.end())
    info.refused = *allowed == false;
  info.project = Text(decision, "project");
  info.tool = Text(decision, "tool");
  info.seccomp_profile = Text(decision, "seccomp_profile");
  info.policy_digest = Text(decision, "policy_digest");
}

bool Fits(const JobInfo& info, const JobFilter& filter) {
  auto is = [](const std::optional<std::string>& wanted, const std::string& value) {
    return !wanted || *wanted == value;
  };
  return is(filter.project, info.project) && is(filter.workspace, info.workspace) &&
         is(filter.action, info.action) && is(filter.user, info.user) &&
         (!filter.until_ns || info.start_ns <= *filter.until_ns);
}

}  // namespace

Result<std::vector<std::string>> LogIds(const std::string& state_dir) {
  auto dir = OpenPath(state_dir + "/audit", O_RDONLY | O_DIRECTORY);
  if (!dir && dir.error().code == ENOENT) return std::vector<std::string>{};
  if (!dir) return std::move(dir).error();
  CARREL_ASSIGN(auto names, ListDir(dir->get()));
  std::vector<std::string> ids;
  for (const std::string& name : names)
    if (name.ends_with(kSuffix)) ids.push_back(name.substr(0, name.size() - kSuffix.size()));
  return ids;
}

std::string AuditLogPath(const std::string& state_dir, const std::string& id) {
  return state_dir + "/audit/" + id + std::string(kSuffix);
}

Result<JobInfo> ReadJobInfo(const std::string& state_dir, const std::string& id) {
  JobInfo info;
  info.id = id;
  info.path = AuditLogPath(state_dir, id);
  CARREL_ASSIGN(LogReader log, LogReader::Open(info.path));
  if (log.end() != LogEnd::kOpen && log.end() != LogEnd::kUnsealed) return Fault(id, log.why());
  if (auto at = log.start().find("time_ns"); at != log.start().end() && at->is_number_integer())
    info.start_ns = at->get<int64_t>();
  CARREL_ASSIGN(const bool block, log.NextBlock());
  if (!block) return info;
  AuditEvent event;
  CARREL_ASSIGN(const bool row, log.NextEvent(event));
  if (!row || event.kind != EventKind::kRecord) return info;
  CARREL_ASSIGN(const Json record, ParseJson(event.record, id));
  const std::string kind = record.is_object() ? Text(record, "kind") : "";
  if (kind == "decision" || kind == "container") ReadDecision(record, info);
  return info;
}

Result<JobList> FindJobs(const std::string& state_dir, const JobFilter& filter) {
  JobList list;
  std::vector<std::string> ids = filter.ids;
  if (ids.empty()) {
    CARREL_ASSIGN(ids, LogIds(state_dir));
  }
  for (const std::string& id : ids) {
    auto info = ReadJobInfo(state_dir, id);
    // Of a log that was named, every fault is the answer.
    if (!info && !filter.ids.empty()) return std::move(info).error();
    if (!info)
      list.problems.push_back(std::move(info).error());
    else if (Fits(*info, filter))
      list.jobs.push_back(std::move(*info));
  }
  std::stable_sort(list.jobs.begin(), list.jobs.end(),
                   [](const JobInfo& a, const JobInfo& b) { return a.start_ns < b.start_ns; });
  return list;
}

}  // namespace carrel
