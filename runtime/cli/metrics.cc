// carrel metrics: the host's state in Prometheus' text format, for node_exporter's textfile
// collector. Counts and sizes only: no name of a study, a user or a file.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/audit_files.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "image/image_store.h"
#include "policy/host_config.h"
#include "policy/host_policy.h"

namespace carrel {
namespace {

constexpr int64_t kDay = 86400;

/// The text as it grows.
class Text {
 public:
  void Metric(const char* name, const char* help, const char* type = "gauge") {
    text_ += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
    name_ = name;
  }
  // `label` is of a fixed set: nothing in it needs escaping.
  void Value(double value, const char* label = nullptr, const std::string& is = "") {
    text_ += name_;
    if (label != nullptr) text_ += std::string("{") + label + "=\"" + is + "\"}";
    char number[40];
    snprintf(number, sizeof number, " %.17g\n", value);
    text_ += number;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_, name_;
};

/// The jobs of the last day, by their metadata.json.
struct DayOfJobs {
  std::map<std::string, uint64_t> outcomes = {
      {"succeeded", 0}, {"failed", 0}, {"out_of_memory", 0}, {"cancelled", 0}, {"error", 0}};
  double cpu_seconds = 0, run_seconds = 0;
  uint64_t memory_peak_bytes = 0, syscalls = 0, denied = 0, withheld = 0;
};

std::string OutcomeOf(const Json& metadata) {
  auto is_true = [&](const char* key) {
    auto found = metadata.find(key);
    return found != metadata.end() && found->is_boolean() && found->get<bool>();
  };
  if (metadata.value("error", Json()).is_string() && metadata["error"] != "") return "error";
  if (is_true("cancelled")) return "cancelled";
  if (is_true("oom_killed")) return "out_of_memory";
  const Json code = metadata.value("exit_code", Json());
  const bool unmatched = !metadata.value("unmatched_patterns", Json::array()).empty();
  return (code == "0" || code == 0) && !unmatched ? "succeeded" : "failed";
}

void AddJob(const Json& metadata, DayOfJobs& day) {
  if (!metadata.is_object()) return;
  ++day.outcomes[OutcomeOf(metadata)];
  day.withheld += metadata.value("level4_excluded_files", Json::object()).size();
  const Json metrics = metadata.value("job_metrics", Json::object());
  auto number = [&](const char* key) {
    auto found = metrics.find(key);
    return found != metrics.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  day.cpu_seconds += number("cpu_usec") / 1e6;
  day.run_seconds += number("duration_ms") / 1e3;
  day.memory_peak_bytes =
      std::max(day.memory_peak_bytes, static_cast<uint64_t>(number("memory_peak_bytes")));
  day.syscalls += static_cast<uint64_t>(number("syscalls"));
  day.denied += static_cast<uint64_t>(number("syscalls_denied"));
}

DayOfJobs JobsOfTheDay(const HostConfig& host) {
  DayOfJobs day;
  const int64_t now_ns = NowNs();
  const int64_t since_s = now_ns / 1'000'000'000 - kDay;
  std::set<std::string> months = {YearMonth(now_ns), YearMonth(now_ns - kDay * 1'000'000'000)};
  for (const std::string& month : months) {
    auto directory = OpenPath(host.high_privacy + "/logs/" + month, O_RDONLY | O_DIRECTORY);
    if (!directory) continue;
    auto jobs = ListDir(directory->get());
    if (!jobs) continue;
    for (const std::string& job : *jobs) {
      auto file = OpenBeneath(directory->get(), job + "/metadata.json", O_RDONLY | O_NOFOLLOW);
      struct stat info {};
      if (!file || ::fstat(file->get(), &info) != 0 || info.st_mtim.tv_sec < since_s) continue;
      if (auto text = ReadFd(file->get(), 64u << 20))
        AddJob(Json::parse(*text, nullptr, false), day);
    }
  }
  return day;
}

void PutJobs(const HostConfig& host, Text& out) {
  const DayOfJobs day = JobsOfTheDay(host);
  out.Metric("carrel_jobs_finished_day", "Jobs that ended in the last 24 hours.");
  for (const auto& [outcome, count] : day.outcomes)
    out.Value(static_cast<double>(count), "outcome", outcome);
  out.Metric("carrel_job_cpu_seconds_day", "Processor time of these jobs.");
  out.Value(day.cpu_seconds);
  out.Metric("carrel_job_run_seconds_day", "Running time of these jobs.");
  out.Value(day.run_seconds);
  out.Metric("carrel_job_memory_peak_bytes_day", "The largest memory peak of one of these jobs.");
  out.Value(static_cast<double>(day.memory_peak_bytes));
  out.Metric("carrel_job_syscalls_day", "System calls of these jobs.");
  out.Value(static_cast<double>(day.syscalls));
  out.Metric("carrel_job_syscalls_denied_day", "System calls that the filter refused them.");
  out.Value(static_cast<double>(day.denied));
  out.Metric("carrel_outputs_withheld_day", "Outputs of these jobs withheld from level 4.");
  out.Value(static_cast<double>(day.withheld));
}

Result<void> PutState(const HostConfig& host, Text& out) {
  CARREL_ASSIGN(const RunNames runs, ListRuns(host.state));
  out.Metric("carrel_jobs_running", "Jobs that run now.");
  out.Value(static_cast<double>(runs.running.size()));
  out.Metric("carrel_jobs_stale", "Runs whose process is gone and that nobody has swept yet.");
  out.Value(static_cast<double>(runs.stale.size()));
  CARREL_ASSIGN(const auto files, ListAuditFiles(host.state));
  std::set<std::string> running(runs.running.begin(), runs.running.end());
  double bytes = 0;
  size_t sealed = 0, open = 0, broken = 0;
  for (const AuditFile& file : files) {
    bytes += static_cast<double>(file.bytes);
    // "id.2" is a later log of the job "id".
    const bool runs_now =
        running.contains(file.id) || running.contains(file.id.substr(0, file.id.rfind('.')));
    ++(file.sealed ? sealed : runs_now ? open : broken);
  }
  out.Metric("carrel_audit_logs", "Audit logs: sealed, open (the job runs), or neither.");
  out.Value(static_cast<double>(sealed), "state", "sealed");
  out.Value(static_cast<double>(open), "state", "open");
  out.Value(static_cast<double>(broken), "state", "unsealed");
  out.Metric("carrel_audit_bytes", "Bytes of all audit logs.");
  out.Value(bytes);
  return {};
}

void PutDisks(const HostConfig& host, Text& out) {
  const std::pair<const char*, const std::string*> places[] = {
      {"state", &host.state}, {"level3", &host.high_privacy}, {"level4", &host.medium_privacy}};
  struct statvfs info {};
  out.Metric("carrel_disk_free_bytes", "Room on the disk of a directory of carrel's.");
  for (const auto& [name, path] : places)
    if (::statvfs(path->c_str(), &info) == 0)
      out.Value(static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize), "place",
                name);
  out.Metric("carrel_disk_free_inodes", "Files that can still be made there.");
  for (const auto& [name, path] : places)
    if (::statvfs(path->c_str(), &info) == 0)
      out.Value(static_cast<double>(info.f_favail), "place", name);
}

void PutImages(const HostConfig& host, Text& out) {
  std::vector<Image> images;
  if (::access((host.state + "/images").c_str(), F_OK) == 0)
    if (auto store = ImageStore::Open(host.state))
      if (auto list = store->List()) images = std::move(*list);
  double bytes = 0;
  for (const Image& image : images) bytes += static_cast<double>(image.bytes);
  out.Metric("carrel_images", "Images in the store.");
  out.Value(static_cast<double>(images.size()));
  out.Metric("carrel_image_bytes", "Apparent size of their trees.");
  out.Value(bytes);
  auto policy = LoadHostPolicy(host, NowNs());
  size_t soon = 0;
  if (policy)
    for (const auto& [file, grants] : policy->permissions)
      for (const Grant& grant : grants)
        soon += grant.InForce(NowNs()) && !grant.InForce(NowNs() + 30 * kDay * 1'000'000'000);
  out.Metric("carrel_policy_good", "1 when the permission files can be read and agree.");
  out.Value(policy ? 1 : 0);
  out.Metric("carrel_grants_expiring", "Grants that end within 30 days.");
  out.Value(static_cast<double>(soon));
}

// The youngest report of a `carrel selftest` that ran to its end.
void PutSelftest(const HostConfig& host, Text& out) {
  auto directory = OpenPath(host.state + "/selftest", O_RDONLY | O_DIRECTORY);
  if (!directory) return;
  auto names = ListDir(directory->get());
  for (size_t i = names ? names->size() : 0; i-- > 0;) {
    auto file = OpenBeneath(directory->get(), (*names)[i] + "/report.json", O_RDONLY | O_NOFOLLOW);
    if (!file) continue;
    auto text = ReadFd(file->get(), 64u << 20);
    const Json report = text ? Json::parse(*text, nullptr, false) : Json();
    if (!report.is_object() || report.value("cancelled", false)) continue;
    out.Metric("carrel_selftest_time_seconds", "When the last selftest ended.");
    out.Value(report.value("ended_s", 0.0));
    out.Metric("carrel_selftest_failures", "Checks that failed in it.");
    out.Value(report.value("failed", 0.0));
    return;
  }
}

Result<void> WriteOut(const std::string& path, const std::string& text) {
  const std::filesystem::path file = std::filesystem::absolute(path);
  auto directory = OpenPath(file.parent_path().string(), O_RDONLY | O_DIRECTORY);
  if (!directory) return BadInput("-o", directory.error().ToString(), "Make the directory");
  if (!IsSafeComponent(file.filename().string())) return BadInput("-o", "is not a file's name");
  return WriteFileAtomic(directory->get(), file.filename().string(), text, 0644);
}

}  // namespace

int MetricsCommand(int argc, char** argv) {
  CLI::App app("Prints this host's state in Prometheus' text format.", "carrel metrics");
  std::string config, state, output;
  AddHostOptions(app, config, state);
  app.add_option("-o,--output", output, "write here, atomically, instead of to stdout");
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  if (!host) return status;
  Text out;
  out.Metric("carrel_info", "The version of carrel.");
  out.Value(1, "version", CARREL_VERSION);
  if (auto put = PutState(*host, out); !put) return PrintError(put.error());
  PutJobs(*host, out);
  PutDisks(*host, out);
  PutImages(*host, out);
  PutSelftest(*host, out);
  if (output.empty()) {
    fputs(out.text().c_str(), stdout);
    return 0;
  }
  auto written = WriteOut(output, out.text());
  return written ? 0 : PrintError(written.error());
}

}  // namespace carrel
