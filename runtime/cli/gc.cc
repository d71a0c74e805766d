// carrel gc: clears away what the configuration's retention does not keep. Never an audit log that
// is not sealed, and nothing of a job that runs. Logs that were cut off are sealed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <set>

#include "agent/verbs.h"
#include "audit/verify.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/audit_files.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "image/image_store.h"
#include "image/names.h"
#include "job/recover.h"
#include "launch/host_facts.h"
#include "policy/host_config.h"
#include "policy/host_policy.h"

namespace carrel {
namespace {

constexpr int64_t kDay = 86400;

/// One thing that was, or would be, removed; or kept although it is old.
struct Item {
  std::string kind, name, why;
  bool removed = true;
  uint64_t bytes = 0;
};

uint64_t BytesBelow(int directory, const std::string& name) {
  struct stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  if (!S_ISDIR(info.st_mode)) return static_cast<uint64_t>(info.st_blocks) * 512;
  uint64_t total = 0;
  auto inside = OpenBeneath(directory, name, O_RDONLY | O_DIRECTORY);
  if (!inside) return 0;
  auto names = ListDir(inside->get());
  if (!names) return 0;
  for (const std::string& entry : *names) total += BytesBelow(inside->get(), entry);
  return total;
}

class Collector {
 public:
  Collector(HostConfig host, bool dry_run)
      : host_(std::move(host)), dry_run_(dry_run), now_s_(::time(nullptr)) {}

  Result<std::vector<Item>> Run() {
    CARREL_TRY(StaleRuns());
    CARREL_TRY(Jobs());
    CARREL_TRY(AuditLogs());
    CARREL_TRY(JobLogs());
    CARREL_TRY(Images());
    CARREL_TRY(OldDirectories("pipelines/run", "pipeline files", 1, false));
    CARREL_TRY(OldDirectories("selftest", "selftest", host_.retention.selftest_days, true));
    return std::move(items_);
  }

 private:
  bool IsOld(int64_t then_s, uint32_t days) const {
    return days > 0 && then_s + days * kDay < now_s_;
  }
  void Removed(std::string kind, std::string name, std::string why, uint64_t bytes) {
    items_.push_back({std::move(kind), std::move(name), std::move(why), true, bytes});
  }
  void Kept(std::string kind, std::string name, std::string why) {
    items_.push_back({std::move(kind), std::move(name), std::move(why), false, 0});
  }

  Result<void> StaleRuns() {
    CARREL_ASSIGN(const RunNames runs, ListRuns(host_.state));
    if (runs.stale.empty() && dry_run_) return {};
    CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
    if (runs.stale.empty()) return SealCutOffLogs(host_.state, facts, host_.cgroup_parent);
    CARREL_ASSIGN(const UniqueFd parent, OpenPath(host_.state + "/run", O_RDONLY | O_DIRECTORY));
    for (const std::string& id : runs.stale)
      Removed("scratch", id, "its process is gone", BytesBelow(parent.get(), id));
    if (dry_run_) return {};
    return SweepDeadRuns(host_.state, facts, host_.cgroup_parent);
  }

  // The agent does not clean up a job that ended in an error, so that it can be looked at.
  Result<void> Jobs() {
    CARREL_ASSIGN(const auto ids, JobDir::List(host_.state));
    if (ids.empty()) return {};
    CARREL_ASSIGN(const UniqueFd state, OpenPath(host_.state, O_RDONLY | O_DIRECTORY));
    for (const std::string& id : ids) {
      const auto now = StatusVerb(host_, id);
      if (!now || !IsOld(now->timestamp_ns / 1'000'000'000, host_.retention.job_days)) continue;
      const bool over = now->state == JobState::kUnknown || now->state == JobState::kError ||
                        now->state == JobState::kFinalized;
      if (!over) {
        Kept("job", id, std::string("it is ") + StateName(now->state));
        continue;
      }
      Removed("job", id, Age(now->timestamp_ns / 1'000'000'000),
              BytesBelow(state.get(), "jobs/" + id));
      if (!dry_run_) CARREL_TRY(CleanupVerb(host_, id));
    }
    return {};
  }

  Result<void> AuditLogs() {
    CARREL_ASSIGN(const auto files, ListAuditFiles(host_.state));
    for (const AuditFile& file : files) {
      if (!IsOld(file.changed_s, host_.retention.audit_days)) continue;
      const std::string name = file.id + ".carrel-log";
      if (!file.sealed) {
        Kept("audit log", file.id, "it is not sealed");
        continue;
      }
      // Only what is proved whole: a log that was tampered with is evidence.
      CARREL_ASSIGN(const LogVerdict verdict,
                    VerifyLog(host_.state, host_.state + "/audit/" + name, file.id));
      if (verdict.finding != LogFinding::kWhole) {
        Kept("audit log", file.id, std::string("it is ") + FindingName(verdict.finding));
        continue;
      }
      Removed("audit log", file.id, Age(file.changed_s), file.bytes);
      if (dry_run_) continue;
      CARREL_ASSIGN(const UniqueFd directory,
                    OpenPath(host_.state + "/audit", O_RDONLY | O_DIRECTORY));
      if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT)
        return SysFault(name, "unlink");
    }
    return {};
  }

  // high_privacy/logs/<month>/os-job-<id>, once metadata.json, which comes last, is old.
  Result<void> JobLogs() {
    if (host_.retention.log_days == 0) return {};
    auto logs = OpenPath(host_.high_privacy + "/logs", O_RDONLY | O_DIRECTORY);
    if (!logs && logs.error().code == ENOENT) return {};
    if (!logs) return std::move(logs).error();
    CARREL_ASSIGN(const auto months, ListDir(logs->get()));
    for (const std::string& month : months) {
      auto directory = OpenBeneath(logs->get(), month, O_RDONLY | O_DIRECTORY);
      if (!directory) continue;
      CARREL_ASSIGN(const auto jobs, ListDir(directory->get()));
      for (const std::string& job : jobs) {
        struct stat info {};
        auto metadata = OpenBeneath(directory->get(), job + "/metadata.json", O_PATH);
        if (!job.starts_with("os-job-") || !metadata || ::fstat(metadata->get(), &info) != 0 ||
            !IsOld(info.st_mtim.tv_sec, host_.retention.log_days))
          continue;
        Removed("job log", month + "/" + job, Age(info.st_mtim.tv_sec),
                BytesBelow(directory->get(), job));
        if (!dry_run_) CARREL_TRY(RemoveTree(directory->get(), job));
      }
      if (!dry_run_) (void)::unlinkat(logs->get(), month.c_str(), AT_REMOVEDIR);  // if empty
    }
    return {};
  }

  // What no tool of the policy can name any more.
  Result<void> Images() {
    if (host_.retention.image_days == 0) return {};
    if (::access((host_.state + "/images").c_str(), F_OK) != 0) return {};
    CARREL_ASSIGN(const Policy policy, LoadHostPolicy(host_, NowNs()));
    std::set<std::string> named;
    for (const auto& [name, tool] : policy.tools)
      for (const std::string& image : tool.images)
        for (const std::string& version : tool.versions) named.insert(image + ":" + version);
    CARREL_ASSIGN(ImageStore store, ImageStore::Open(host_.state));
    CARREL_ASSIGN(const auto images, store.List());
    for (const Image& image : images) {
      bool used = false;
      for (const std::string& name : image.names) used = used || named.contains(name);
      const std::string name = image.names.empty() ? image.digest : image.names.front();
      tm when{};
      if (used || ::strptime(image.imported.c_str(), "%Y-%m-%dT%H:%M:%S", &when) == nullptr ||
          !IsOld(::timegm(&when), host_.retention.image_days))
        continue;
      if (!dry_run_) {
        if (auto removed = store.Remove(image.digest); !removed) {
          if (removed.error().kind != ErrorKind::kRefused) return removed;
          Kept("image", name, "a job holds it");
          continue;
        }
      }
      Removed("image", name, "no tool of the policy names it", image.bytes);
    }
    return {};
  }

  // Directories of <state>/<path> by their time of change; `keep_last` keeps the youngest.
  Result<void> OldDirectories(const std::string& path, const char* kind, uint32_t days,
                              bool keep_last) {
    auto parent = OpenPath(host_.state + "/" + path, O_RDONLY | O_DIRECTORY);
    if (!parent && parent.error().code == ENOENT) return {};
    if (!parent) return std::move(parent).error();
    CARREL_ASSIGN(auto names, ListDir(parent->get()));
    if (keep_last && !names.empty()) names.pop_back();  // named by time: the last is the youngest
    for (const std::string& name : names) {
      struct stat info {};
      if (::fstatat(parent->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
          !S_ISDIR(info.st_mode) || !IsOld(info.st_mtim.tv_sec, days))
        continue;
      // A pipeline holds its own as long as it runs, and that can be days.
      CARREL_ASSIGN(const UniqueFd held, OpenBeneath(parent->get(), name, O_RDONLY | O_DIRECTORY));
      if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) {
        Kept(kind, name, "it is in use");
        continue;
      }
      Removed(kind, name, Age(info.st_mtim.tv_sec), BytesBelow(parent->get(), name));
      if (!dry_run_) CARREL_TRY(RemoveTree(parent->get(), name));
    }
    return {};
  }

  std::string Age(int64_t then_s) const {
    return std::to_string((now_s_ - then_s) / kDay) + " days old";
  }

  const HostConfig host_;
  const bool dry_run_;
  const int64_t now_s_;
  std::vector<Item> items_;
};

// What it came to, of all items that are not kept.
std::string Total(const std::vector<Item>& items, bool dry_run) {
  size_t count = 0;
  uint64_t bytes = 0;
  for (const Item& item : items)
    if (item.removed) {
      ++count;
      bytes += item.bytes;
    }
  if (count == 0) return "Nothing to remove: `retention` of the configuration keeps all there is.";
  return fmt::format("{} {} {}, {:.1f} MB.", count, count == 1 ? "thing" : "things",
                     dry_run ? "would go" : "removed", static_cast<double>(bytes) / 1e6);
}

}  // namespace

int GcCommand(int argc, char** argv) {
  CLI::App app("Removes what `retention` of the configuration does not keep.", "carrel gc");
  std::string config, state;
  bool dry_run = false, json = false;
  AddHostOptions(app, config, state);
  app.add_flag("--dry-run", dry_run, "say what would go; remove nothing");
  app.add_flag("--json", json, "one JSON object");
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  if (!host) return status;
  auto items = Collector(*host, dry_run).Run();
  if (!items) return PrintError(items.error());
  uint64_t bytes = 0;
  OrderedJson list = OrderedJson::array();
  for (const Item& item : *items) {
    bytes += item.bytes;
    list.push_back({{"kind", item.kind},
                    {"name", PrintableName(item.name)},
                    {"removed", item.removed},
                    {"why", item.why},
                    {"bytes", item.bytes}});
    const char* what = !item.removed ? "kept" : dry_run ? "would go" : "removed";
    if (!json)
      printf("%-8s  %-14s %s (%s)\n", what, item.kind.c_str(), PrintableName(item.name).c_str(),
             item.why.c_str());
  }
  if (json)
    printf("%s\n",
           OrderedJson({{"dry_run", dry_run}, {"bytes", bytes}, {"items", list}}).dump(2).c_str());
  else
    printf("%s\n", Total(*items, dry_run).c_str());
  return 0;
}

}  // namespace carrel
