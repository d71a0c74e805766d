#include "pipeline/runner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "image/image_store.h"
#include "launch/cgroup.h"
#include "pipeline/action_records.h"
#include "pipeline/job_file.h"
#include "pipeline/job_process.h"
#include "policy/host_policy.h"

namespace carrel {
namespace {

constexpr int kPollMs = 100;

// Twelve characters that no earlier run had.
Result<std::string> RandomId() {
  unsigned char bytes[12];
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return SysFault("job id", "getrandom");
  std::string id;
  for (unsigned char byte : bytes) id += "abcdefghijklmnopqrstuvwxyz234567"[byte & 31];
  return id;
}

uint64_t AvailableMemory() {
  const std::string text = ReadFile("/proc/meminfo", 1u << 16).value_or("");
  const size_t at = text.find("MemAvailable:");
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 13, nullptr, 10) * 1024;
}

// What a running job has in memory now, wherever its cgroup is.
uint64_t MemoryOf(const std::string& cgroup) {
  for (const char* form :
       {"/sys/fs/cgroup/%/memory.current", "/sys/fs/cgroup/memory/%/memory.usage_in_bytes"}) {
    std::string path = form;
    path.replace(path.find('%'), 1, cgroup);
    if (auto text = ReadFile(path, 64)) return std::strtoull(text->c_str(), nullptr, 10);
  }
  return 0;
}

// The signals that cancel come through a descriptor; put back at the end.
class CancelSignals {
 public:
  CancelSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
    ::sigprocmask(SIG_BLOCK, &set, &before_);
    fd_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~CancelSignals() {
    (void)Came();
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  int fd() const { return fd_.get(); }
  bool Came() const {
    signalfd_siginfo info;
    bool came = false;
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) came = true;
    return came;
  }

 private:
  sigset_t before_;
  UniqueFd fd_;
};

class Runner {
 public:
  explicit Runner(const PipelineRequest& request) : request_(request) {}

  Result<PipelineResult> Run() {
    CARREL_TRY(Prepare());
    const int64_t begin = MonotonicNs();
    const CancelSignals signals;
    while (!Done()) {
      if (!result_.cancelled) StartWhatCan();
      Wait(signals.fd());
      if (signals.Came() || (request_.cancel && request_.cancel(result_.actions))) Cancel();
      TakeIn();
      Report();
    }
    Report(true);
    result_.duration_ms = (MonotonicNs() - begin) / 1'000'000;
    (void)RemoveTree(files_parent_.get(), run_id_);
    return std::move(result_);
  }

 private:
  struct Job {
    const ProjectAction* action = nullptr;
    std::optional<JobProcess> process;
    std::string fingerprint;
    std::map<std::string, std::string> outputs;  // path to SHA-256, after a good end
  };

  Result<void> Prepare() {
    CARREL_ASSIGN(const auto order, SelectActions(*request_.project, request_.actions));
    for (const ProjectAction* action : order) {
      index_[action->name] = jobs_.size();
      jobs_.emplace_back().action = action;
      result_.actions.emplace_back().name = action->name;
    }
    CARREL_ASSIGN(policy_, LoadHostPolicy(request_.host, NowNs()));
    CARREL_ASSIGN(ActionRecords records, ActionRecords::Open(request_.host, request_.workspace));
    records_.emplace(std::move(records));
    CARREL_ASSIGN(ImageStore images, ImageStore::Open(request_.host.state));
    images_.emplace(std::move(images));
    processors_ = std::max(1u, std::thread::hardware_concurrency());
    share_ = ShareOf(request_, policy_, processors_);
    memory_budget_ = AvailableMemory() / 10 * 9;
    CARREL_ASSIGN(run_id_, RandomId());
    CARREL_ASSIGN(files_parent_, MakeDirs(request_.host.state + "/pipelines/run", 0700));
    CARREL_ASSIGN(files_, MakeDirsBeneath(files_parent_.get(), run_id_, 0700));
    if (::flock(files_.get(), LOCK_SH) != 0) return SysFault(run_id_, "flock");  // see gc
    return {};
  }

  ActionRun& RunOf(const Job& job) { return result_.actions[index_[job.action->name]]; }
  size_t Running() const {
    return static_cast<size_t>(std::count_if(
        jobs_.begin(), jobs_.end(), [](const Job& job) { return job.process.has_value(); }));
  }
  bool Done() const {
    return std::none_of(result_.actions.begin(), result_.actions.end(), [](const ActionRun& run) {
      return run.state == ActionState::kWaiting || run.state == ActionState::kRunning;
    });
  }

  void StartWhatCan() {
    for (Job& job : jobs_) {
      ActionRun& run = RunOf(job);
      if (run.state != ActionState::kWaiting) continue;
      bool ready = true;
      for (const std::string& need : job.action->needs) {
        const ActionRun& needed = result_.actions[index_[need]];
        if (needed.state == ActionState::kWaiting || needed.state == ActionState::kRunning) {
          ready = false;
        } else if (!IsGood(needed.state)) {
          End(run, ActionState::kSkipped, "needs " + need);
          ready = false;
          break;
        }
      }
      // At least one runs, whatever the limits.
      const size_t running = Running();
      const bool room = running == 0 || (running < request_.jobs &&
                                         (running + 1) * share_.memory_bytes <= memory_budget_);
      if (!ready || !room) continue;
      if (auto started = Begin(job, run); !started) {
        run.exit_status = static_cast<int>(started.error().kind);
        End(run, ActionState::kError, started.error().ToString());
      }
    }
  }

  Result<void> Begin(Job& job, ActionRun& run) {
    CARREL_ASSIGN(run.job_id, RandomId());
    std::map<std::string, std::map<std::string, std::string>> needs;
    JobFileInput input{.request = request_,
                       .policy = policy_,
                       .action = *job.action,
                       .id = run.job_id,
                       .run_id = run_id_,
                       .image_digest = "",
                       .input_job_ids = {},
                       .share = share_,
                       .now_s = NowNs() / 1'000'000'000};
    if (auto image = images_->Resolve(job.action->image)) input.image_digest = image->digest;
    for (const std::string& need : job.action->needs) {
      input.input_job_ids.push_back(result_.actions[index_[need]].job_id);
      needs[need] = jobs_[index_[need]].outputs;
    }
    job.fingerprint = Fingerprint(input, needs);
    if (const ActionRecord* record =
            request_.force ? nullptr : records_->UpToDate(job.action->name, job.fingerprint)) {
      run.job_id = record->job_id;
      job.outputs = record->outputs;
      End(run, ActionState::kUpToDate, "same code, inputs and outputs as before");
      return {};
    }
    const std::string name = job.action->name + ".json";
    CARREL_TRY(WriteFileAtomic(files_.get(), name, JobFile(input).dump(1), 0600));
    std::vector<std::string> args = {
        "run", request_.host.state + "/pipelines/run/" + run_id_ + "/" + name};
    if (!request_.config.empty()) args.insert(args.end(), {"--config", request_.config});
    if (!request_.state.empty()) args.insert(args.end(), {"--state", request_.state});
    CARREL_ASSIGN(JobProcess process, JobProcess::Start(args));
    job.process.emplace(std::move(process));
    run.state = ActionState::kRunning;
    run.started_ns = MonotonicNs();
    changed_ = true;
    return {};
  }

  void End(ActionRun& run, ActionState state, std::string message) {
    run.state = state;
    run.message = std::move(message);
    changed_ = true;
  }

  void Wait(int signals) const {
    std::vector<pollfd> fds = {{signals, POLLIN, 0}};
    for (const Job& job : jobs_)
      if (job.process)
        for (int fd : {job.process->exit_fd(), job.process->said_fd()})
          fds.push_back({fd, POLLIN, 0});
    // Nothing to wait for: an action ended without a process, and others may start.
    (void)::poll(fds.data(), fds.size(), fds.size() == 1 ? 0 : kPollMs);
  }

  void Cancel() {
    result_.cancelled = true;
    for (Job& job : jobs_) {
      if (job.process) job.process->Cancel();
      if (ActionRun& run = RunOf(job); run.state == ActionState::kWaiting)
        End(run, ActionState::kCancelled, "cancelled before its start");
    }
  }

  void TakeIn() {
    for (Job& job : jobs_) {
      if (!job.process) continue;
      ActionRun& run = RunOf(job);
      if (const int step = job.process->ReadSaid(); step != run.step) {
        run.step = step;
        changed_ = true;
      }
      pollfd ended = {job.process->exit_fd(), POLLIN, 0};
      if (::poll(&ended, 1, 0) == 1) Finish(job, run);
    }
  }

  void Finish(Job& job, ActionRun& run) {
    const auto status = job.process->Wait();
    run.duration_ms = (MonotonicNs() - run.started_ns) / 1'000'000;
    run.result = job.process->Output();
    const std::string complaint = job.process->complaint();
    job.process.reset();
    const Json results =
        run.result.is_object() ? run.result.value("results", Json::object()) : Json::object();
    const Json metrics = results.value("metrics", Json::object());
    run.memory_bytes = metrics.value("memory_peak_bytes", uint64_t{0});
    std::string message = results.value("status_message", "");
    if (const std::string hint = results.value("hint", ""); !hint.empty())
      message += (message.empty() ? "" : ". ") + hint;
    run.exit_status = status.value_or(70);
    if (!status) return End(run, ActionState::kError, status.error().ToString());
    if (*status == 0 && !results.empty()) return Succeed(job, run, message);
    if (*status == 1 && !results.empty())
      return End(run,
                 results.value("cancelled", false) ? ActionState::kCancelled : ActionState::kFailed,
                 message);
    if (run.result.is_object()) message = run.result.value("error", "");
    // The definition was carrel's own, and is gone: its path tells nobody anything.
    const std::string file = "/" + run.name + ".json: ";
    if (const size_t at = message.find(file); at != std::string::npos && message[0] == '/')
      message.erase(0, at + file.size());
    if (message.empty()) message = complaint;
    if (message.empty() && result_.cancelled) message = "cancelled before its start";
    if (message.empty()) message = "carrel run ended with " + std::to_string(*status);
    if (result_.cancelled && *status != 3) return End(run, ActionState::kCancelled, message);
    End(run, *status == 3 ? ActionState::kRefused : ActionState::kError, message);
  }

  void Succeed(Job& job, ActionRun& run, const std::string& message) {
    auto outputs = records_->OutputsOf(run.job_id);
    if (!outputs) return End(run, ActionState::kError, outputs.error().ToString());
    job.outputs = *outputs;
    auto stored = records_->Store(job.action->name, {job.fingerprint, run.job_id, *outputs});
    if (!stored) return End(run, ActionState::kError, stored.error().ToString());
    End(run, ActionState::kSucceeded, message);
  }

  void Report(bool last = false) {
    const int64_t now = MonotonicNs();
    if (!last && !changed_ && now - reported_ns_ < 1'000'000'000) return;
    for (Job& job : jobs_) {
      ActionRun& run = RunOf(job);
      if (!job.process) continue;
      run.duration_ms = (now - run.started_ns) / 1'000'000;
      run.memory_bytes =
          MemoryOf(request_.host.cgroup_parent + "/" + CgroupName(request_.host.state, run.job_id));
    }
    reported_ns_ = now;
    changed_ = false;
    if (request_.progress) request_.progress(result_.actions);
  }

  const PipelineRequest& request_;
  PipelineResult result_;
  std::vector<Job> jobs_;
  std::map<std::string, size_t> index_;  // by action; the same in jobs_ and in the result
  Policy policy_;
  std::optional<ActionRecords> records_;
  std::optional<ImageStore> images_;
  ActionShare share_;
  uint32_t processors_ = 1;
  uint64_t memory_budget_ = 0;
  std::string run_id_;
  UniqueFd files_parent_, files_;
  bool changed_ = true;
  int64_t reported_ns_ = 0;
};

}  // namespace

const char* StateName(ActionState state) {
  static constexpr const char* kNames[] = {"waiting",    "running", "succeeded",
                                           "up to date", "failed",  "refused",
                                           "error",      "skipped", "cancelled"};
  return kNames[static_cast<size_t>(state)];
}

bool IsGood(ActionState state) {
  return state == ActionState::kSucceeded || state == ActionState::kUpToDate;
}

int PipelineResult::exit_status() const {
  if (cancelled) return 130;
  int worst = 0;
  bool fault = false, refused = false, bad_input = false;
  for (const ActionRun& run : actions) {
    if (!IsGood(run.state)) worst = 1;
    refused = refused || run.state == ActionState::kRefused;
    if (run.state != ActionState::kError) continue;
    (run.exit_status == 2 ? bad_input : fault) = true;
  }
  return fault ? 70 : refused ? 3 : bad_input ? 2 : worst;
}

Result<PipelineResult> RunPipeline(const PipelineRequest& request) { return Runner(request).Run(); }

}  // namespace carrel
