#include "oci/docker_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "image/image_store.h"
#include "job/await_database.h"
#include "job/job_context.h"
#include "job/metadata.h"
#include "oci/container_log.h"
#include "oci/docker_decide.h"
#include "oci/docker_image.h"
#include "oci/docker_mounts.h"
#include "oci/docker_records.h"

namespace carrel {
namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Everything that one container's supervisor needs.
struct Prepared {
  HostConfig host;
  Container container;
  Image image;
  UniqueFd image_hold;
  std::vector<UniqueFd> bind_sources;  ///< as they were checked; `request` names them
  Decision decision;
  DatabaseAccess database;  ///< as described; opened by the supervisor
  UniqueFd place;           ///< among the jobs of the database
  LaunchRequest request;
  bool detached = false;
  bool interactive = false;
  uint64_t audit_bytes = 0;
};

// Docker's limits within those of the host.
Result<Limits> MakeLimits(const HostConfig& host, const DockerRunOptions& options) {
  Limits limits;
  ApplyLimits(host.default_limits, limits);
  // Docker's 0 is "no limit of its own". With less than carrel needs to begin, the kernel would
  // kill carrel.
  if (options.memory_bytes.value_or(0) != 0) limits.memory_bytes = *options.memory_bytes;
  if (limits.memory_bytes < kLeastMemory)
    return BadInput("--memory", "Minimum memory limit allowed is 16MB");
  if (options.cpu_milli.value_or(0) != 0) limits.cpu_milli = *options.cpu_milli;
  if (options.log_bytes) limits.log_bytes = *options.log_bytes;
  Limits capped = limits;
  CapLimits(host.maximum_limits, capped);
  if (capped.memory_bytes != limits.memory_bytes)
    return Refused("--memory", "more than the host's maximum of " +
                                   std::to_string(capped.memory_bytes) + " bytes");
  if (capped.cpu_milli != limits.cpu_milli)
    return Refused("--cpus", "more than the host's maximum of " + std::to_string(capped.cpu_milli) +
                                 " thousandths");
  return capped;
}

// A lone "" says that there is none, in an image as on the command line.
std::vector<std::string> EntryPoint(const DockerRunOptions& options, const Image& image) {
  std::vector<std::string> words = image.config.entrypoint;
  if (options.entrypoint) words = {*options.entrypoint};
  if (words.size() == 1 && words[0].empty()) words.clear();
  return words;
}

std::vector<std::string> RedactedEnvironment(const LaunchRequest& request) {
  OrderedJson list = OrderedJson::array();
  for (const auto& [name, value] : request.environment) list.push_back(name + "=" + value);
  const OrderedJson redacted = RedactEnvironment(OrderedJson{{"Env", list}});
  return redacted["Env"].get<std::vector<std::string>>();
}

Result<ContainerConfig> MakeConfig(const HostConfig& host, const DockerRunOptions& options,
                                   const Prepared& prepared) {
  ContainerConfig config;
  config.name = options.name;
  config.image_name = options.image;
  config.image_digest = prepared.image.config_digest;
  config.entrypoint = EntryPoint(options, prepared.image);
  config.arguments = options.arguments;
  if (config.arguments.empty() && !options.entrypoint) config.arguments = prepared.image.config.cmd;
  config.environment = RedactedEnvironment(prepared.request);
  config.labels = ContainerLabels(prepared.image, options.labels);
  config.user = options.user;
  config.working_directory = prepared.request.working_directory;
  config.memory_bytes = prepared.request.limits.memory_bytes;
  config.cpu_milli = prepared.request.limits.cpu_milli;
  config.cap_drop = options.cap_drop;
  config.security_options = options.security_options;
  config.mounts = options.mounts;
  config.network = options.network;
  config.auto_remove = options.remove;
  CARREL_ASSIGN(config.audit_id,
                FreeAuditId(host.state, options.name.empty() ? "docker" : options.name));
  return config;
}

// A container with a database has the environment of a job; the agent's own access to it stays
// outside.
std::map<std::string, std::string> Environment(const DockerRunOptions& options,
                                               const Prepared& prepared) {
  if (prepared.decision.database)
    return ActionEnvironment(prepared.image, prepared.decision, prepared.database);
  std::map<std::string, std::string> environment = {{"PATH", kDefaultPath}, {"HOME", "/tmp"}};
  for (const auto& [name, value] : prepared.image.config.env) environment[name] = value;
  for (const auto& [name, value] : options.environment) environment[name] = value;
  return environment;
}

// Before there is a container: the agent takes one that is there for a job that ran, and asks again
// only where there is none.
Result<void> TakePlace(Prepared& prepared) {
  const auto& grant = prepared.decision.database;
  const int64_t max_jobs = grant ? prepared.host.databases.at(grant->name).max_jobs : 0;
  if (max_jobs == 0) return {};
  CARREL_ASSIGN(prepared.place, TryDatabasePlace(prepared.host.state, grant->name, max_jobs));
  if (prepared.place) return {};
  Error taken = Refused("--network", "all places of the database " + grant->name + " are taken",
                        "Try again later");
  taken.code = EAGAIN;
  return taken;
}

// The policy's word on it. Only a container that asks for a database needs its permission.
Result<void> Decide(const HostConfig& host, const DockerRunOptions& options, Prepared& prepared) {
  auto decided = DecideContainer(host, options, prepared.image);
  Result<void> allowed = decided ? Result<void>() : Result<void>(decided.error());
  if (decided && options.network != "none") allowed = RequireAllowed(*decided);
  if (!allowed && allowed.error().kind == ErrorKind::kRefused && allowed.error().code != EAGAIN)
    CARREL_TRY(RecordRefusal(host, options, prepared.image, decided.value_or(Decision{}),
                             allowed.error()));
  CARREL_TRY(allowed);
  prepared.decision = std::move(*decided);
  CARREL_TRY(TakePlace(prepared));
  CARREL_ASSIGN(prepared.database, DescribeDatabase(prepared.decision, host));
  prepared.request.binds = prepared.database.binds;
  prepared.request.database_port = prepared.database.port;
  if (prepared.decision.allowed)
    prepared.request.seccomp_profile = prepared.decision.seccomp_profile;
  return {};
}

Result<Prepared> Prepare(const HostConfig& host, const DockerRunOptions& options) {
  Prepared prepared;
  prepared.host = host;
  prepared.detached = options.detach;
  prepared.interactive = options.interactive;
  CARREL_ASSIGN(const ImageStore images, ImageStore::Open(host.state));
  CARREL_ASSIGN(prepared.image, images.Resolve(options.image_digest));
  CARREL_ASSIGN(prepared.image_hold, images.Hold(prepared.image));
  CARREL_TRY(Decide(host, options, prepared));
  LaunchRequest& request = prepared.request;
  request.rootfs = prepared.image.rootfs;
  request.environment = Environment(options, prepared);
  request.working_directory = options.working_directory;
  if (request.working_directory.empty())
    request.working_directory = prepared.image.config.working_dir;
  if (request.working_directory.empty()) request.working_directory = "/";
  CARREL_ASSIGN(Limits limits, MakeLimits(host, options));
  if (prepared.decision.allowed) {
    limits = prepared.decision.limits;
    limits.log_bytes = std::min(limits.log_bytes, options.log_bytes.value_or(limits.log_bytes));
  }
  request.limits = ToLaunchLimits(limits);
  prepared.audit_bytes = limits.audit_bytes;
  for (const ContainerMount& mount : options.mounts) {
    CARREL_TRY(AddDockerMount(host, options.user, mount, request, prepared.bind_sources));
  }
  if (!options.user.empty()) CARREL_TRY(ParseDockerUser(options.user));
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  CARREL_ASSIGN(ContainerConfig config, MakeConfig(host, options, prepared));
  request.argv = config.entrypoint;
  request.argv.insert(request.argv.end(), config.arguments.begin(), config.arguments.end());
  if (request.argv.empty()) return BadInput("", "No command specified");
  CARREL_ASSIGN(prepared.container, store.Create(std::move(config)));
  request.id = "docker-" + prepared.container.config().id.substr(0, 12);
  return prepared;
}

// One stream of the action: to the log, and to ours when somebody waits for it there.
OutputStream MakeStream(int number, ContainerLog& log, bool attached) {
  OutputStream stream;
  stream.sink = [number, &log, attached](std::string_view data) -> Result<void> {
    CARREL_TRY(log.Write(number, data));
    return attached ? WriteAll(number, data) : Result<void>();
  };
  if (attached) stream.ready_fd = number;
  return stream;
}

// What a database needs before the action: the checks of the tool, the real credentials. In the
// supervisor itself: they don't survive a fork.
Result<void> OpenDatabaseOf(Prepared& prepared, AuditLog& audit) {
  if (!prepared.decision.database) return {};
  if (!prepared.decision.preflight.empty()) {
    if (prepared.bind_sources.empty())
      return BadInput("--mount", "the query must be in /workspace");
    // What is mounted, not what its path leads to by now.
    CARREL_TRY(CheckPreflight(prepared.decision, prepared.bind_sources[0].get(), audit));
  }
  CARREL_ASSIGN(prepared.database, OpenDatabase(prepared.decision, prepared.host));
  // The first binds are the database's: a copy's path is known only now.
  std::copy(prepared.database.binds.begin(), prepared.database.binds.end(),
            prepared.request.binds.begin());
  for (const auto& [name, value] : prepared.database.environment)
    prepared.request.environment[name] = value;
  return {};
}

Result<SandboxResult> RunInSandbox(Prepared& prepared, AuditLog& audit,
                                   const std::function<void(const Cgroup&)>& started) {
  LaunchRequest& request = prepared.request;
  const SandboxHost host{prepared.host.state, prepared.host.cgroup_parent, prepared.host.uid_start,
                         prepared.host.uid_count, prepared.host.allow_entry_only_audit};
  CARREL_TRY(OpenDatabaseOf(prepared, audit));
  CARREL_ASSIGN(SandboxRun run, BeginSandboxRun(host, request.id));
  request.host_uid = request.host_gid = run.slot.id();
  CARREL_TRY(AddMissingMountPoints(request, run.directory));
  CARREL_ASSIGN(const LaunchPlan plan, PlanSandbox(request, run.facts, host.state_dir));
  CARREL_ASSIGN(UniqueFd file, OpenBeneath(prepared.container.directory(), "log.jsonl",
                                           O_WRONLY | O_CREAT | O_APPEND, 0600));
  ContainerLog log(std::move(file), request.limits.log_bytes);
  if (prepared.database.gateway) log.Redact(prepared.database.gateway->redactor());
  SandboxStreams streams;
  for (int number : {STDOUT_FILENO, STDERR_FILENO})
    streams.outputs.push_back(MakeStream(number, log, !prepared.detached));
  if (prepared.interactive && !prepared.detached) streams.input_source = STDIN_FILENO;
  streams.signals_cancel = true;
  streams.started = started;
  streams.companion = ServeDatabase(prepared.database, audit);
  auto result = RunSandbox(run, plan, audit, std::move(streams));
  if (result && prepared.database.gateway)
    result->statements = prepared.database.gateway->statements();
  prepared.database = {};
  CARREL_TRY(log.Finish());
  return result;
}

ContainerState EndState(const Prepared& prepared, const Result<SandboxResult>& result,
                        int64_t started_ns) {
  ContainerState state;
  state.status = "exited";
  state.started_ns = started_ns;
  state.finished_ns = NowNs();
  if (!result) {
    state.error = result.error().ToString();
    state.exit_code = 128;
    return state;
  }
  const ActionEnd& end = result->end;
  state.exit_code = prepared.container.Killed() ? 128 + SIGKILL : end.exit_code;
  state.oom_killed = result->usage.oom_kills > 0;
  if (end.timed_out) state.error = "the time limit was reached";
  if (end.exec_error != 0)
    state.error = "exec: \"" + prepared.request.argv[0] + "\": " + ErrnoName(end.exec_error);
  if (result->counts.lost > 0) state.error = "audit events were lost";
  if (end.failure) state.error = end.failure->ToString();
  // An action whose record isn't whole has not succeeded, whatever it says.
  if ((end.failure || result->counts.lost > 0) && state.exit_code == 0) state.exit_code = 70;
  return state;
}

// The supervisor's whole life. An error says that nothing ran.
Result<ContainerState> Supervise(Prepared& prepared, const std::function<void()>& started) {
  const Container& container = prepared.container;
  CARREL_ASSIGN(const UniqueFd lock, container.Lock());
  CARREL_ASSIGN(auto audit, AuditLog::Create(prepared.host.state, container.config().audit_id));
  audit->SetLimit(prepared.audit_bytes);
  CARREL_TRY(audit->Append(
      "container", ContainerRecord(container.config(), prepared.request, prepared.decision)));
  int64_t started_ns = 0;
  const auto result = RunInSandbox(prepared, *audit, [&](const Cgroup& cgroup) {
    started_ns = NowNs();
    // Without this file `docker inspect` shows "created" until the end: no reason to end the
    // action.
    (void)container.WriteState(
        {.status = "running", .started_ns = started_ns, .counters = cgroup.counters()});
    started();
  });
  ContainerState state = EndState(prepared, result, started_ns);
  CARREL_TRY(audit->Append(
      "end",
      {{"error", state.error}, {"exit_code", state.exit_code}, {"oom_killed", state.oom_killed}}));
  CARREL_ASSIGN(const AuditSeal seal, audit->Finish(result ? result->counts : EventCounts{}));
  const PublicJob record =
      PublicJobOf(container, prepared.decision, prepared.image.digest, result, state, seal);
  if (auto published = AppendPublicRecord(prepared.host.state, record); !published) {
    state.error = "the public record: " + published.error().ToString();
    if (state.exit_code == 0) state.exit_code = 70;
  }
  // The log is what a researcher sees of it.
  if (!state.error.empty()) CARREL_TRY(SayInContainerLog(container.directory(), state.error));
  CARREL_TRY(container.WriteState(state));
  if (!result) return result.error();
  return state;
}

Result<void> RemoveIfAsked(const Prepared& prepared) {
  if (!prepared.container.config().auto_remove) return {};
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(prepared.host.state));
  return store.Remove(prepared.container, true);
}

// In the child: a session of its own, no terminal, nothing of the caller's but `ready`.
[[noreturn]] void SuperviseDetached(Prepared& prepared, int ready) {
  (void)::setsid();
  if (auto null = OpenPath("/dev/null", O_RDWR); null)
    for (int fd : {0, 1, 2}) (void)::dup2(null->get(), fd);
  bool told = false;
  const auto tell = [&](const std::string& text) {
    if (told) return;
    told = true;
    (void)WriteAll(ready, text);
    (void)::close(ready);
  };
  const auto state = Supervise(prepared, [&] { tell("started"); });
  if (!state)
    tell("error " + std::to_string(static_cast<int>(state.error().kind)) + " " +
         std::to_string(state.error().code) + " " + state.error().ToString());
  (void)RemoveIfAsked(prepared);
  ::_exit(0);
}

Error DecodeFailure(const std::string& text) {
  int kind = 70, code = 0, used = 0;
  if (sscanf(text.c_str(), "error %d %d %n", &kind, &code, &used) < 2)
    return Fault("docker run", "the supervisor ended before the action began");
  Error error{static_cast<ErrorKind>(kind), text.substr(static_cast<size_t>(used))};
  error.code = code;
  return error;
}

Result<DockerRunOutcome> RunDetached(Prepared& prepared) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SysFault("docker run", "pipe2");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return SysFault("docker run", "fork");
  if (child == 0) SuperviseDetached(prepared, writer.release());
  writer.reset();
  CARREL_ASSIGN(const std::string answer, ReadFd(reader.get(), 65536));
  if (answer != "started") return DecodeFailure(answer);
  return DockerRunOutcome{prepared.container.config().id};
}

}  // namespace

Result<DockerRunOutcome> DockerRun(const HostConfig& host, const DockerRunOptions& options) {
  if (::geteuid() != 0) return BadInput("docker run", "carrel must be run as root");
  CARREL_ASSIGN(Prepared prepared, Prepare(host, options));
  if (prepared.detached) return RunDetached(prepared);
  auto state = Supervise(prepared, [] {});
  CARREL_TRY(RemoveIfAsked(prepared));
  if (!state) return std::move(state).error();
  return DockerRunOutcome{prepared.container.config().id, state->exit_code, state->error};
}

}  // namespace carrel
