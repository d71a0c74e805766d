#include "oci/docker_decide.h"

#include <algorithm>

#include "audit/audit_log.h"
#include "audit/public_log.h"
#include "base/clock.h"
#include "job/job_records.h"
#include "oci/container_log.h"
#include "oci/docker_image.h"
#include "policy/host_policy.h"
#include "policy/names.h"

namespace carrel {
namespace {

// The names under which the policy may know the image: what the caller said, or where that was a
// digest the names that the image has here.
std::vector<std::string> NamesFor(const std::string& reference, const Image& image) {
  if (ParseImageReference(reference)) return {reference};
  if (ParseImageReference(reference + ":latest")) return {reference + ":latest"};
  return image.names;
}

JobRequest RequestOf(const HostConfig& host, const DockerRunOptions& options) {
  JobRequest request;
  const auto workspace = options.labels.find("workspace");
  request.workspace =
      workspace != options.labels.end() ? workspace->second : host.docker.task_workspace;
  request.user = host.docker.user;
  request.unknown_code_put_in_place_by_the_agent = true;
  request.args = options.arguments;
  for (const auto& [name, value] : options.environment)
    if (!IsReplacedVariable(name)) request.env[name] = value;
  request.memory_bytes = options.memory_bytes.value_or(0);
  request.cpu_milli = options.cpu_milli.value_or(0);
  if (options.network == "none") return request;
  request.allow_database_access = true;
  request.database_name = host.docker.networks.at(options.network);
  return request;
}

// "scheme://user:password@host:port/NAME?options"
std::string DatabaseOfUrl(const std::string& url) {
  size_t at = url.find("://");
  at = at == std::string::npos ? 0 : at + 3;
  at = url.find('/', at);
  if (at == std::string::npos) return "";
  return url.substr(at + 1, url.find_first_of("?#", at) - at - 1);
}

// The agent's own URL is dropped; where it names another database than the network stands for, the
// container would work on the wrong one without a word.
Result<void> RequireSameDatabase(const HostConfig& host, const DockerRunOptions& options) {
  const auto url = options.environment.find("DATABASE_URL");
  const std::string& name = host.docker.networks.at(options.network);
  const DatabaseConfig& database = host.databases.at(name);
  if (url == options.environment.end() || database.database.empty()) return {};
  const std::string asked = DatabaseOfUrl(url->second);
  if (asked.empty() || asked == database.database) return {};
  return Refused("--network",
                 "DATABASE_URL names another database than the network " + options.network +
                     ", which stands for \"" + name + "\"",
                 "Give each database a network of its own in /docker/networks");
}

// What would let the caller run something else than the tool that the policy knows.
Result<void> RequirePlain(const DockerRunOptions& options) {
  if (options.entrypoint)
    return Refused("--entrypoint", "a container with a database runs its image's own entry point");
  for (const ContainerMount& mount : options.mounts)
    if (mount.target != "/workspace")
      return Refused("--mount",
                     "a container with a database has one mount, at /workspace: " + mount.target);
  return {};
}

Result<void> KeepRefused(const HostConfig& host, const DockerRunOptions& options,
                         const Image& image, const std::string& audit_id, const Error& error) {
  ContainerConfig config;
  config.name = options.name;
  config.audit_id = audit_id;
  config.image_name = options.image;
  config.image_digest = image.config_digest;
  config.arguments = options.arguments;
  config.labels = ContainerLabels(image, options.labels);
  config.user = options.user;
  config.mounts = options.mounts;
  config.network = options.network;
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  CARREL_ASSIGN(const Container container, store.Create(std::move(config)));
  CARREL_TRY(SayInContainerLog(container.directory(), "this did not run: " + error.ToString()));
  const int64_t now = NowNs();
  return container.WriteState({.status = "exited",
                               .started_ns = now,
                               .finished_ns = now,
                               .exit_code = kNeverRan,
                               .error = error.ToString()});
}

}  // namespace

bool IsReplacedVariable(const std::string& name) {
  static const std::set<std::string> kReplaced = {
      "DATABASE_URL", "TEMP_DATABASE_NAME",    "PRESTO_TLS_CERT", "PRESTO_TLS_KEY",
      "HOME",         "EMIS_ORGANISATION_HASH"};
  return kReplaced.contains(name);
}

Result<Decision> DecideContainer(const HostConfig& host, const DockerRunOptions& options,
                                 const Image& image) {
  const bool database = options.network != "none";
  if (database && !host.docker.networks.contains(options.network))
    return Refused("--network", "network " + options.network + " not found",
                   "Say --network none, or name a database's network in /docker/networks");
  CARREL_ASSIGN(const Policy policy, LoadHostPolicy(host, NowNs()));
  JobRequest request = RequestOf(host, options);
  Decision decision;
  for (const std::string& name : NamesFor(options.image, image)) {
    request.image = name;
    decision = Decide(request, policy, host, NowNs());
    if (!decision.tool.empty()) break;
  }
  CARREL_TRY(RememberPolicy(host, decision.policy_serial, decision.policy_digest));
  if (!database || !decision.allowed) return decision;
  CARREL_TRY(RequirePlain(options));
  CARREL_TRY(RequireSameDatabase(host, options));
  const std::string& wanted = decision.image_digest;
  if (!wanted.empty() && wanted != image.digest && wanted != image.config_digest)
    return Refused("", "the policy pins " + options.image + " as " + wanted);
  // Whoever calls docker does not wait for a start.
  if (!decision.database->wait) return decision;
  Error later =
      Refused("--network", "the database " + decision.database->name + " is in maintenance");
  later.code = EAGAIN;
  return later;
}

Result<void> RecordRefusal(const HostConfig& host, const DockerRunOptions& options,
                           const Image& image, const Decision& decision, const Error& error) {
  PublicJob job;
  CARREL_ASSIGN(job.job, FreeAuditId(host.state, options.name.empty() ? "docker" : options.name));
  CARREL_ASSIGN(auto audit, AuditLog::Create(host.state, job.job));
  CARREL_TRY(audit->Append("decision", {{"image", options.image},
                                        {"labels", options.labels},
                                        {"network", options.network},
                                        {"argv", options.arguments},
                                        {"decision", ToJson(decision)}}));
  CARREL_TRY(audit->Append("end", {{"error", error.ToString()}, {"refused", true}}));
  CARREL_ASSIGN(const AuditSeal seal, audit->Finish({}));
  job.tool = decision.tool;
  job.project = decision.project;
  job.policy_digest = decision.policy_digest;
  job.policy_commit = decision.policy_commit;
  job.started_ns = job.ended_ns = NowNs();
  job.outcome = PublicOutcome::kRefused;
  job.head = seal.head;
  CARREL_TRY(AppendPublicRecord(host.state, job));
  if (!options.detach || options.remove) return {};
  return KeepRefused(host, options, image, job.job, error);
}

}  // namespace carrel
