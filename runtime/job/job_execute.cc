// Steps 6 to 10: the plan, and the action.
#include <fcntl.h>
#include <signal.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/interrupt.h"
#include "job/await_database.h"
#include "job/job_context.h"
#include "job/workspace.h"
#include "launch/host_facts.h"

namespace carrel {
namespace {

constexpr const char* kScratchFile = "scratch.img";

LaunchRequest MakeRequest(JobContext& job, uint32_t host_id, const std::string& tree) {
  const Image& image = job.records.image;
  LaunchRequest request;
  request.id = job.job().id;
  request.argv = image.config.entrypoint;
  const auto& args = job.job().args.empty() ? image.config.cmd : job.job().args;
  request.argv.insert(request.argv.end(), args.begin(), args.end());
  request.environment = ActionEnvironment(image, job.decision(), job.database);
  request.working_directory = "/workspace";
  request.rootfs = image.rootfs;
  request.binds = job.database.binds;
  request.binds.insert(request.binds.begin(), {tree, "/workspace"});
  request.writable = job.writable;
  request.host_uid = request.host_gid = host_id;
  request.seccomp_profile = job.decision().seccomp_profile;
  request.database_port = job.database.port;
  request.limits = ToLaunchLimits(job.decision().limits);
  return request;
}

SandboxStreams LogStreams(JobContext& job) {
  SandboxStreams streams;
  for (auto stream : {ActionLog::Stream::kStdout, ActionLog::Stream::kStderr})
    streams.outputs.push_back({.sink = [&job, stream](std::string_view data) {
      if (stream == ActionLog::Stream::kStdout && job.on_stdout) job.on_stdout(data);
      return job.action_log->Write(stream, data, NowNs());
    }});
  streams.every_second = [&job, begin = MonotonicNs()](const EventCounts& counts) {
    job.every_second(counts);
    job.progress(10, "run " + job.job().action + ", " +
                         std::to_string((MonotonicNs() - begin) / 1'000'000'000) + " s");
  };
  streams.signals_cancel = true;
  streams.companion = ServeDatabase(job.database, *job.log);
  streams.step = [&job](int number) {
    static const std::map<int, std::string> kNames = {{7, "compile the filter"},
                                                      {8, "make the cgroup, attach the audit"},
                                                      {9, "start the sandbox"},
                                                      {10, "run "}};
    job.Step(number, kNames.at(number) + (number == 10 ? job.job().action : ""));
  };
  return streams;
}

// What cannot be told from the outside: that the log is the log of what ran.
Result<void> RequireWholeLog(const SandboxResult& run) {
  if (run.end.failure) return *run.end.failure;
  if (run.counts.lost > 0)
    return Fault("audit", std::to_string(run.counts.lost) + " events were lost",
                 "The log of this job is not complete; its outputs are not taken");
  if (run.counts.events == 0 && run.end.exec_error == 0)
    return Fault("audit", "no system call of the action was seen",
                 "The log of this job is empty; its outputs are not taken. `carrel audit unload`, "
                 "then `carrel doctor`");
  return {};
}

}  // namespace

SandboxResult CancelledBeforeStart() {
  SandboxResult run;
  run.started_ns = run.ended_ns = NowNs();
  run.end.exit_code = 128 + SIGKILL;  // what the agent's readers know as cancelled
  run.end.cancelled = true;
  return run;
}

Result<LaunchPlan> PlanDryRun(JobContext& job) {
  CARREL_TRY(ResolveImage(job));
  CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
  CARREL_ASSIGN(job.database, DescribeDatabase(job.decision(), job.host()));
  for (const std::string& root :
       WritableRoots(job.job().output_spec, job.decision().copy_up_always))
    job.writable.push_back({.target = root.empty() ? "/workspace" : "/workspace/" + root,
                            .upper = "<scratch>/upper/" + root});
  return PlanSandbox(MakeRequest(job, job.host().uid_start, "<checkout>"), facts, job.host().state);
}

Result<void> MountScratch(JobContext& job) {
  const Limits& limits = job.decision().limits;
  const std::string mount_point = job.run->directory.path() + "/scratch";
  CARREL_TRY(MakeDirsBeneath(job.run->directory.fd(), "scratch", 0700));
  CARREL_ASSIGN(job.scratch_file,
                MakeScratchFile(job.place_dir.get(), job.keep_scratch ? kScratchFile : "",
                                limits.scratch_bytes, limits.scratch_inodes,
                                job.host().state + "/scratch-templates"));
  CARREL_ASSIGN(Scratch scratch, Scratch::Mount(job.scratch_file.get(), mount_point));
  job.scratch.emplace(std::move(scratch));
  CARREL_ASSIGN(job.writable, PrepareWritable({.tree = job.place + "/workspace",
                                               .scratch = mount_point,
                                               .output_spec = job.job().output_spec,
                                               .copy_up_always = job.decision().copy_up_always,
                                               .host_uid = job.run->slot.id(),
                                               .host_gid = job.run->slot.id()}));
  return {};
}

Result<void> PlanLaunch(JobContext& job) {
  job.Step(6, "plan");
  CARREL_ASSIGN(job.database, OpenDatabase(job.decision(), job.host()));
  LaunchRequest request = MakeRequest(job, job.run->slot.id(), job.place + "/workspace");
  CARREL_TRY(AddMissingMountPoints(request, job.run->directory));
  CARREL_ASSIGN(job.plan, PlanSandbox(request, job.run->facts, job.host().state));
  return {};
}

namespace {

// A job that cannot have its database yet waits here, with all else prepared.
Result<void> WaitForDatabase(JobContext& job) {
  if (!job.decision().database) return {};
  uint64_t waited = 0;
  auto place =
      AwaitDatabase(job.host(), job.decision().database->name, [&](const std::string& why) {
        ++waited;
        job.progress(10, "wait: " + why);
      });
  if (!place && place.error().code == ECANCELED) return {};
  if (!place) return std::move(place).error();
  job.database_place = std::move(*place);
  if (waited == 0) return {};
  return job.log->Append("database-wait", {{"seconds", waited}});
}

}  // namespace

Result<void> RunAction(JobContext& job) {
  CARREL_TRY(WaitForDatabase(job));
  CARREL_ASSIGN(UniqueFd file,
                OpenBeneath(job.place_dir.get(), "action.log", O_RDWR | O_CREAT | O_EXCL, 0600));
  job.action_log.emplace(std::move(file), job.decision().limits.log_bytes);
  if (job.database.gateway) job.redactor = job.database.gateway->redactor();
  job.action_log->Redact(job.redactor);
  if (CancelPending()) {
    job.records.run = CancelledBeforeStart();
    return job.log->Append("cancelled", {{"before_start", true}});
  }
  CARREL_ASSIGN(job.records.run, RunSandbox(*job.run, job.plan, *job.log, LogStreams(job)));
  if (job.database.gateway) job.records.run.statements = job.database.gateway->statements();
  job.database = {};
  job.records.container = ContainerMetadata(job.records, job.plan);
  CARREL_TRY(RequireWholeLog(job.records.run));
  return job.scratch->Sync();
}

}  // namespace carrel
