#include "job/job_runner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "audit/audit_log.h"
#include "audit/bpf_objects.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "image/image_store.h"
#include "job/action_log.h"
#include "job/checkout.h"
#include "job/inputs.h"
#include "job/job_definition.h"
#include "job/job_records.h"
#include "job/sandbox.h"
#include "job/scratch.h"
#include "job/workspace.h"
#include "launch/host_facts.h"
#include "policy/decide.h"
#include "policy/sql_declaration.h"

namespace carrel {
namespace {

Result<void> RequireRoot() {
  if (::geteuid() == 0) return {};
  return Fault("host",
               "carrel run must be started by root: it makes namespaces, mounts and cgroups",
               "The action itself never runs as root");
}

// A signal that came while the workspace was prepared.
bool CancelPending() {
  sigset_t pending;
  sigemptyset(&pending);
  return ::sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

SandboxResult CancelledBeforeStart(int64_t now_ns) {
  SandboxResult run;
  run.started_ns = run.ended_ns = now_ns;
  run.end.exit_code = 128 + SIGKILL;  // what the agent's readers know as cancelled
  run.end.cancelled = true;
  return run;
}

// One run of one job. Each step fills members that later steps read; their destructors undo them in
// reverse order, whatever happens.
class JobRunner {
 public:
  explicit JobRunner(const RunJobOptions& options) : options_(options) {}

  Result<JobOutcome> Run() {
    CARREL_TRY(Decode());
    CARREL_TRY(Decide());
    if (options_.dry_run) return DryRun();
    CARREL_TRY(RequireRoot());
    CARREL_TRY(OpenAuditLog());
    auto done = RunDecided();
    if (!done) CloseAfter(done.error());
    return done;
  }

 private:
  Result<JobOutcome> RunDecided() {
    CARREL_TRY(RequireAllowed(decision_));
    CARREL_TRY(ResolveImage());
    CARREL_TRY(PrepareWorkspace());
    CARREL_TRY(Preflight());
    CARREL_TRY(Plan());
    CARREL_TRY(Execute());
    CARREL_TRY(Collect());
    return Record();
  }

  void Step(int number, const std::string& what) { options_.progress(number, what); }

  // Step 1.
  Result<void> Decode() {
    Step(1, "decode the job");
    CARREL_ASSIGN(records_.host, LoadHostConfig(options_.config, options_.state));
    CARREL_ASSIGN(definition_, ReadJsonFile(options_.definition, 4u << 20));
    CARREL_ASSIGN(records_.job, DecodeJobDefinition(definition_));
    return {};
  }

  // Step 2.
  Result<void> Decide() {
    Step(2, "decide");
    CARREL_ASSIGN(const Policy policy, LoadPolicy(host().policies));
    decision_ = carrel::Decide(RequestOf(job()), policy, host(), NowNs());
    return {};
  }

  Result<JobOutcome> DryRun() {
    OrderedJson result = {{"decision", ToJson(decision_)}};
    CARREL_TRY(RequireAllowed(decision_));
    CARREL_TRY(ResolveImage());
    CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
    LaunchRequest request = MakeRequest(host().uid_start, "<checkout>", DryWritable());
    CARREL_ASSIGN(const LaunchPlan plan, PlanSandbox(request, facts, host().state));
    result["plan"] = plan.ToJson();
    return JobOutcome{true, std::move(result)};
  }

  // Step 3. A refusal is a result too: the log exists before the decision is looked at.
  Result<void> OpenAuditLog() {
    Step(3, "open the audit log");
    // From here on there is something to clean up: a signal cancels, and does not end carrel.
    CARREL_ASSIGN(signals_, BlockSignals());
    // Programs are pinned in the host's mount namespace, before this process has its own.
    if (decision_.allowed) CARREL_TRY(OpenBpfObjects(host().state));
    CARREL_TRY(EnterPrivateMounts());
    CARREL_ASSIGN(SandboxRun run, BeginSandboxRun({host().state, host().cgroup_parent,
                                                   host().uid_start, host().uid_count},
                                                  job().id));
    run_.emplace(std::move(run));
    CARREL_ASSIGN(records_.audit_id, FreeAuditId(host().state, job().id));
    CARREL_ASSIGN(log_, AuditLog::Create(host().state, records_.audit_id));
    return log_->Append("decision", DecisionRecord(job(), decision_, definition_));
  }

  // Step 4.
  Result<void> ResolveImage() {
    Step(4, "resolve the image " + job().image);
    // Opening a store makes it, and a dry run makes nothing.
    if (options_.dry_run && ::access((host().state + "/images").c_str(), F_OK) != 0)
      return BadInput("/image", "there is no image " + job().image + " under " + host().state,
                      "Import or build it with `carrel image`");
    CARREL_ASSIGN(const ImageStore store, ImageStore::Open(host().state));
    CARREL_ASSIGN(image_, store.Resolve(job().image));
    for (const std::string& wanted : {job().image_sha, decision_.image_digest})
      if (!wanted.empty() && wanted != image_.digest && wanted != image_.config_digest)
        return BadInput(
            "/image_sha",
            "the image " + job().image + " here is " + image_.digest + ", not " + wanted,
            "Import the image that the job names; a tag is never trusted alone");
    if (log_ == nullptr) return {};
    return log_->Append("image", {{"name", job().image},
                                  {"digest", image_.digest},
                                  {"config_digest", image_.config_digest}});
  }

  // Step 5.
  Result<void> PrepareWorkspace() {
    Step(5, "check out the code at " + job().commit.substr(0, 12));
    tree_path_ = run_->directory.path() + "/workspace";
    CARREL_ASSIGN(tree_, MakeDirsBeneath(run_->directory.fd(), "workspace", 0755));
    CARREL_ASSIGN(const Checkout code,
                  CheckoutCode({.repo_url = job().repo_url,
                                .commit = job().commit,
                                .allowed_repositories = host().allowed_repositories,
                                .state_dir = host().state,
                                .destination = tree_.get()}));
    CARREL_ASSIGN(const auto inputs, GatherInputs({.workspace = job().workspace,
                                                   .job_ids = job().input_job_ids,
                                                   .paths = job().inputs,
                                                   .high_privacy = host().high_privacy,
                                                   .medium_privacy = host().medium_privacy,
                                                   .destination = tree_.get()}));
    for (const CodeFile& file : code.files)
      if (!S_ISDIR(file.mode)) originals_.insert(file.path);
    for (const InputFile& file : inputs) originals_.insert(file.path);
    records_.tree_id = code.tree_id;
    CARREL_TRY(log_->Append("code", CodeRecord(job(), code)));
    CARREL_TRY(log_->Append("inputs", InputsRecord(inputs)));
    return MountScratch();
  }

  Result<void> MountScratch() {
    const std::string place = run_->directory.path() + "/scratch";
    CARREL_TRY(MakeDirsBeneath(run_->directory.fd(), "scratch", 0700));
    CARREL_ASSIGN(Scratch scratch,
                  Scratch::Mount(run_->directory.path(), place, decision_.limits.scratch_bytes,
                                 decision_.limits.scratch_inodes));
    scratch_.emplace(std::move(scratch));
    CARREL_ASSIGN(writable_, PrepareWritable({.tree = tree_path_,
                                              .scratch = place,
                                              .output_spec = job().output_spec,
                                              .copy_up_always = decision_.copy_up_always,
                                              .host_uid = run_->slot.id(),
                                              .host_gid = run_->slot.id()}));
    return {};
  }

  Result<void> Preflight() {
    for (const carrel::Preflight& check : decision_.preflight) {
      if (check.check != "sql-declaration")
        return Fault("/preflight", "unknown check " + check.check);
      auto file = OpenBeneath(tree_.get(), check.file, O_RDONLY);
      if (!file) return BadInput("/args", "the query " + check.file + " is not in the code");
      CARREL_ASSIGN(const std::string sql, ReadFd(file->get(), 16u << 20));
      const auto dialect = DialectOf(decision_.database ? decision_.database->kind : "");
      CARREL_ASSIGN(const Declaration declaration, RequireDeclaration(sql, dialect, check.file));
      CARREL_TRY(log_->Append("sql-declaration", {{"file", check.file},
                                                  {"sha256", Sha256Hex(sql)},
                                                  {"declaration", DeclarationName(declaration)}}));
    }
    return {};
  }

  LaunchRequest MakeRequest(uint32_t host_id, const std::string& tree,
                            std::vector<WritableSpec> writable) const {
    LaunchRequest request;
    request.id = job().id;
    request.argv = image_.config.entrypoint;
    const auto& args = job().args.empty() ? image_.config.cmd : job().args;
    request.argv.insert(request.argv.end(), args.begin(), args.end());
    request.environment = ActionEnvironment(image_, decision_);
    request.working_directory = "/workspace";
    request.rootfs = image_.rootfs;
    request.binds.push_back({tree, "/workspace"});
    if (decision_.database)
      request.binds.push_back({decision_.database->path, DatabasePathInside(*decision_.database)});
    request.writable = std::move(writable);
    request.host_uid = request.host_gid = host_id;
    request.seccomp_profile = decision_.seccomp_profile;
    request.limits = ToLaunchLimits(decision_.limits);
    return request;
  }

  std::vector<WritableSpec> DryWritable() const {
    std::vector<WritableSpec> specs;
    for (const std::string& root : WritableRoots(job().output_spec, decision_.copy_up_always))
      specs.push_back({.target = root.empty() ? "/workspace" : "/workspace/" + root,
                       .upper = "<scratch>/upper/" + root});
    return specs;
  }

  // Step 6.
  Result<void> Plan() {
    Step(6, "plan");
    if (decision_.database) CARREL_TRY(CheckDatabaseFile(*decision_.database));
    LaunchRequest request = MakeRequest(run_->slot.id(), tree_path_, writable_);
    CARREL_TRY(AddMissingMountPoints(request, run_->directory));
    CARREL_ASSIGN(plan_, PlanSandbox(request, run_->facts, host().state));
    return {};
  }

  // Steps 7 to 10.
  Result<void> Execute() {
    Step(10, "run " + job().action);
    CARREL_ASSIGN(UniqueFd file,
                  OpenBeneath(run_->directory.fd(), "action.log", O_RDWR | O_CREAT | O_EXCL, 0600));
    action_log_.emplace(std::move(file), decision_.limits.log_bytes);
    SandboxStreams streams;
    for (auto stream : {ActionLog::Stream::kStdout, ActionLog::Stream::kStderr})
      streams.outputs.push_back({.sink = [this, stream](std::string_view data) {
        return action_log_->Write(stream, data, NowNs());
      }});
    const int64_t begin = MonotonicNs();
    streams.every_second = [this, begin] {
      Step(10, "run " + job().action + ", " +
                   std::to_string((MonotonicNs() - begin) / 1'000'000'000) + " s");
    };
    streams.signals_cancel = true;
    if (CancelPending()) {
      records_.run = CancelledBeforeStart(NowNs());
      return log_->Append("cancelled", {{"before_start", true}});
    }
    CARREL_ASSIGN(records_.run, RunSandbox(*run_, plan_, *log_, std::move(streams)));
    if (records_.run.end.failure) return *records_.run.end.failure;
    if (records_.run.counts.lost > 0)
      return Fault("audit", std::to_string(records_.run.counts.lost) + " events were lost",
                   "The log of this job is not complete; its outputs are not taken");
    return {};
  }

  // Step 11.
  Result<void> Collect() {
    Step(11, "collect the outputs");
    CARREL_TRY(scratch_->Sync());
    CARREL_ASSIGN(records_.places, OpenPlaces(host(), job(), records_.run.ended_ns));
    CARREL_ASSIGN(room_, ReserveRoom(records_.places, run_->directory.fd(), action_log_->fd()));
    if (!records_.run.end.cancelled) {
      CARREL_ASSIGN(const UniqueFd upper,
                    OpenBeneath(scratch_->fd(), "upper", O_RDONLY | O_DIRECTORY));
      CollectRequest request = MakeCollectRequest(records_, decision_, upper.get());
      request.originals = originals_;
      request.open_original = [this](const std::string& path) {
        return OpenBeneath(tree_.get(), path, O_RDONLY);
      };
      CARREL_ASSIGN(records_.collection, CollectOutputs(request));
    }
    records_.message = DescribeOutcome(records_, decision_);
    return log_->Append("outputs", OutputsRecord(records_.collection));
  }

  // Step 12.
  Result<JobOutcome> Record() {
    Step(12, "write the records");
    room_.clear();
    CARREL_TRY(log_->Append("end", EndRecord(records_)));
    CARREL_ASSIGN(records_.seal, log_->Finish(records_.run.counts));
    log_.reset();
    CARREL_TRY(action_log_->WriteSummary(SummaryLines(records_, decision_), NowNs()));
    CARREL_TRY(WriteRecords(records_, decision_, image_, plan_, action_log_->fd()));
    return JobOutcome{records_.succeeded(), ResultJson(records_, decision_)};
  }

  // The run did not come to a result: the log says why, and is sealed.
  void CloseAfter(const Error& error) {
    if (log_ == nullptr) return;
    (void)log_->Append(
        "end", {{"error", error.ToString()}, {"refused", error.kind == ErrorKind::kRefused}});
    (void)log_->Finish(records_.run.counts);
  }

  const JobDefinition& job() const { return records_.job; }
  const HostConfig& host() const { return records_.host; }

  const RunJobOptions& options_;
  Json definition_;
  JobRecords records_;
  Decision decision_;
  Image image_;
  std::optional<SandboxRun> run_;
  std::unique_ptr<AuditLog> log_;
  std::string tree_path_;
  UniqueFd tree_;
  std::set<std::string> originals_;
  std::optional<Scratch> scratch_;
  std::vector<WritableSpec> writable_;
  LaunchPlan plan_;
  std::optional<ActionLog> action_log_;
  UniqueFd signals_;
  std::vector<UniqueFd> room_;
};

}  // namespace

Result<JobOutcome> RunJob(const RunJobOptions& options) { return JobRunner(options).Run(); }

}  // namespace carrel
