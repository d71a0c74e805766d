// carrel exec: one command in the sandbox, for testers, debugging, attack tests and benchmarks.
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "image/image_store.h"
#include "job/sandbox.h"
#include "launch/host_facts.h"
#include "policy/limits.h"
#include "policy/names.h"

namespace carrel {
namespace {

struct ExecOptions {
  std::string config;
  std::string state;
  std::string id;
  std::string rootfs;
  std::string image;
  std::vector<std::string> writable;
  std::vector<std::string> environment;
  std::string working_directory = "/";
  std::string memory = "1G";
  double cpus = 2;
  uint32_t time = 3600;
  uint32_t processes = 1024;
  std::string audit_bytes = "16G";
  bool loopback = false;
  bool allow_entry_only_audit = false;
  bool dry_run = false;
  std::vector<std::string> command;
};

std::string NewId() {
  unsigned char bytes[4] = {};
  (void)!::getrandom(bytes, sizeof bytes, 0);
  char text[64];
  snprintf(text, sizeof text, "exec-%llx-%02x%02x%02x%02x",
           static_cast<unsigned long long>(NowNs() / 1'000'000), bytes[0], bytes[1], bytes[2],
           bytes[3]);
  return text;
}

void AddOptions(CLI::App& app, ExecOptions& options) {
  AddHostOptions(app, options.config, options.state);
  app.add_option(
      "--id", options.id,
      "name of this run in the audit log: letters, digits, '.', '_' and '-' (default: made "
      "up)");
  auto* rootfs = app.add_option("--rootfs", options.rootfs, "directory that becomes / (read-only)");
  app.add_option("--image", options.image, "image of the store that becomes /")->excludes(rootfs);
  app.add_option("--writable", options.writable, "an empty scratch directory at PATH inside")
      ->allow_extra_args(false);
  app.add_option("--env", options.environment, "NAME=VALUE for the command")
      ->allow_extra_args(false);
  app.add_option("--workdir", options.working_directory, "working directory inside");
  app.add_option("--memory", options.memory,
                 "memory limit, 16M or more: bytes, or with K, M, G, T");
  app.add_option("--cpus", options.cpus, "processors")->check(CLI::Range(0.01, 1024.0));
  app.add_option("--time", options.time, "seconds until the command is ended")
      ->check(CLI::Range(1u, 31'536'000u));
  app.add_option("--pids", options.processes,
                 "most processes and threads, 2 or more: carrel's init is one of them")
      ->check(CLI::Range(2u, 4'194'304u));
  app.add_option("--audit-bytes", options.audit_bytes, "most bytes of the audit log");
  app.add_flag("--allow-entry-only-audit", options.allow_entry_only_audit,
               "where BPF is refused, run with a log of calls as they begin, without results");
  app.add_flag("--allow-loopback-sockets", options.loopback,
               "INET sockets on the command's own loopback");
  app.add_flag("--dry-run", options.dry_run, "print the plan as JSON and touch nothing");
  app.add_option("command", options.command, "the command and its arguments, after --")->required();
}

// The image cannot be removed while `hold` is open.
Result<void> FillFromImage(const ExecOptions& options, LaunchRequest& request, UniqueFd& hold) {
  CARREL_ASSIGN(const ImageStore store, ImageStore::OpenExisting(options.state));
  CARREL_ASSIGN(const Image image, store.Resolve(options.image));
  CARREL_ASSIGN(hold, store.Hold(image));
  request.rootfs = image.rootfs;
  for (const auto& [name, value] : image.config.env) request.environment[name] = value;
  return {};
}

// "/work/", as a shell completes it, is "/work".
std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// Errors of the parts that a job shares name the place in a job definition: here it is an option.
template <typename T>
Result<T> AsOption(Result<T> result) {
  static const std::map<std::string, std::string> kOptions = {
      {"/id", "--id"}, {"/args", "command"}, {"/env", "--env"}};
  if (!result)
    if (auto option = kOptions.find(result.error().where); option != kOptions.end())
      result.error().where = option->second;
  return result;
}

Result<LaunchRequest> MakeRequest(const ExecOptions& options, UniqueFd& image_hold) {
  LaunchRequest request;
  request.id = options.id.empty() ? NewId() : options.id;
  // The same form as a job's id: it becomes the name of a file and of a cgroup.
  if (!IsName(request.id) || request.id.ends_with(".lock"))
    return BadInput("--id", "\"" + request.id + "\" is not a name that a run can have",
                    "At most 128 letters, digits, '.', '_' and '-', a letter or digit first; no "
                    "\"..\", no \".lock\" at the end");
  request.argv = options.command;
  request.working_directory = WithoutSlash(options.working_directory);
  request.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
                         {"HOME", "/tmp"}};
  request.rootfs = options.rootfs;
  if (!options.image.empty()) CARREL_TRY(FillFromImage(options, request, image_hold));
  if (request.rootfs.empty()) return BadInput("--rootfs", "name a --rootfs DIR or an --image NAME");
  for (const std::string& entry : options.environment) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos)
      return BadInput("--env", "must be NAME=VALUE: " + entry);
    request.environment[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  for (const std::string& path : options.writable)
    request.writable_tmpfs.push_back(WithoutSlash(path));
  request.seccomp_profile = options.loopback ? "loopback" : "base";
  const auto memory = ParseByteSize(options.memory);
  if (!memory || *memory < kLeastMemory || *memory > kMostMemory)
    return BadInput("--memory", kMemoryForm + (", not \"" + options.memory + "\""));
  // Not every parser's range catches "nan".
  if (!(options.cpus >= 0.01)) return BadInput("--cpus", "must be a number from 0.01 to 1024");
  request.limits.memory_bytes = *memory;
  request.limits.cpu_milli = static_cast<uint32_t>(options.cpus * 1000);
  request.limits.time_seconds = options.time;
  request.limits.processes = options.processes;
  return request;
}

SandboxStreams StandardStreams() {
  SandboxStreams streams;
  for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    OutputStream output;
    output.sink = [fd](std::string_view data) { return WriteAll(fd, data); };
    output.ready_fd = fd;
    streams.outputs.push_back(std::move(output));
  }
  streams.input_source = STDIN_FILENO;
  return streams;
}

Result<int> Report(const SandboxResult& result, const LaunchRequest& request) {
  const ActionEnd& end = result.end;
  if (end.failure) return *end.failure;
  if (result.counts.lost > 0)
    return Fault("audit", std::to_string(result.counts.lost) + " events were lost",
                 "The log of this run is not complete");
  if (end.exec_error != 0)
    fprintf(stderr, "carrel exec: %s: %s (%s)\n", request.argv[0].c_str(),
            ErrnoName(end.exec_error).c_str(), strerror(end.exec_error));
  if (end.timed_out)
    fprintf(stderr, "carrel exec: ended after the time limit of %u s\n",
            request.limits.time_seconds);
  if (result.usage.oom_kills > 0)
    fprintf(stderr,
            "carrel exec: the memory limit of %llu MiB was reached and the kernel killed %llu "
            "process(es)\n",
            static_cast<unsigned long long>(request.limits.memory_bytes >> 20),
            static_cast<unsigned long long>(result.usage.oom_kills));
  return end.exit_code;
}

// The plan as it would be, with the first id of the range; nothing is made, root is not needed.
Result<int> DryRun(const SandboxHost& host, LaunchRequest request) {
  CARREL_ASSIGN(const HostFacts facts, GatherHostFacts());
  request.host_uid = request.host_gid = host.first_id;
  CARREL_ASSIGN(const LaunchPlan plan, AsOption(PlanSandbox(request, facts, host.state_dir)));
  printf("%s\n", plan.ToJson().dump(2).c_str());
  return 0;
}

Result<int> Exec(const ExecOptions& options, const HostConfig& config) {
  UniqueFd image_hold;
  CARREL_ASSIGN(LaunchRequest request, MakeRequest(options, image_hold));
  const SandboxHost host{options.state, config.cgroup_parent, config.uid_start, config.uid_count,
                         options.allow_entry_only_audit || config.allow_entry_only_audit};
  const auto audit_bytes = ParseByteSize(options.audit_bytes);
  if (!audit_bytes || *audit_bytes < (1u << 20))
    return BadInput("--audit-bytes", "must be at least 1M, as in 512M or 4G");
  if (options.dry_run) return DryRun(host, std::move(request));
  CARREL_ASSIGN(SandboxRun run, AsOption(BeginSandboxRun(host, request.id, /*directory=*/false)));
  request.host_uid = request.host_gid = run.slot.id();
  CARREL_TRY(AddMissingMountPoints(request, run.directory));
  CARREL_ASSIGN(const LaunchPlan plan, AsOption(PlanSandbox(request, run.facts, host.state_dir)));
  CARREL_ASSIGN(auto log, AuditLog::Create(host.state_dir, request.id));
  log->SetLimit(*audit_bytes);
  CARREL_TRY(log->Append("exec", {{"argv", request.argv},
                                  {"rootfs", request.rootfs},
                                  {"image", options.image},
                                  {"memory_bytes", request.limits.memory_bytes},
                                  {"time_seconds", request.limits.time_seconds}}));
  auto result = RunSandbox(run, plan, *log, StandardStreams());
  Json end = {{"error", result ? "" : result.error().ToString()}};
  if (result) {
    if (result->end.failure) end["error"] = result->end.failure->ToString();
    end["exit_code"] = result->end.exit_code;
    end["timed_out"] = result->end.timed_out;
    end["oom_kills"] = result->usage.oom_kills;
    end["memory_peak_bytes"] = result->usage.memory_peak_bytes;
  }
  CARREL_TRY(log->Append("end", end));
  CARREL_TRY(log->Finish(result ? result->counts : EventCounts{}));
  if (!result) return std::move(result).error();
  return Report(*result, request);
}

}  // namespace

int ExecCommand(int argc, char** argv) {
  CLI::App app("Runs one command in the same sandbox and with the same audit log as a job.",
               "carrel exec");
  ExecOptions options;
  AddOptions(app, options);
  int status = 0;
  const auto host = ParseWithState(app, argc, argv, options.config, options.state, &status);
  if (!host) return status;
  auto result = Exec(options, *host);
  return result ? *result : PrintError(result.error(), "carrel exec");
}

}  // namespace carrel
