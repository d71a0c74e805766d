// Steps 1 to 5: what the job is, what it may, and what it works on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/bpf_objects.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "job/fault_point.h"
#include "job/job_context.h"
#include "policy/host_policy.h"
#include "policy/level_rules.h"
#include "policy/sql_declaration.h"

namespace carrel {

void JobContext::Step(int number, const std::string& what) {
  progress(number, what);
  FaultPoint(("step-" + std::to_string(number)).c_str());
}

Error InFile(Error error, const std::string& definition_path) {
  if (error.kind != ErrorKind::kFault)
    error.where = definition_path + (error.where.empty() ? "" : ": " + error.where);
  return error;
}

Result<void> DecodeJob(JobContext& job, const std::string& definition_path) {
  job.Step(1, "decode the job");
  CARREL_ASSIGN(job.definition, ReadJsonFile(definition_path, 4u << 20));
  auto decoded = DecodeJobDefinition(job.definition);
  if (!decoded) return InFile(std::move(decoded).error(), definition_path);
  job.records.job = std::move(*decoded);
  return {};
}

Result<void> DecideJob(JobContext& job) {
  job.Step(2, "decide");
  CARREL_ASSIGN(const Policy policy, LoadHostPolicy(job.host(), NowNs()));
  CARREL_TRY(ApplyLevelRules(policy, job.records.host));
  job.records.decision = Decide(RequestOf(job.job()), policy, job.host(), NowNs());
  job.records.decision_json = ToJson(job.decision());
  return {};
}

Result<void> BeginRun(JobContext& job) {
  CARREL_TRY(RequireRoot());
  CARREL_TRY(
      RememberPolicy(job.host(), job.decision().policy_serial, job.decision().policy_digest));
  // From here on there is something to clean up: a signal cancels, and does not end carrel.
  CARREL_ASSIGN(job.signals, BlockSignals());
  // The first job of a host may be the first to need its directory.
  CARREL_ASSIGN(const UniqueFd state, MakeDirs(job.host().state, 0700));
  // Programs are pinned in the host's mount namespace, before this process has its own.
  if (job.decision().allowed)
    if (auto bpf = OpenBpfObjects(job.host().state); !bpf && !job.host().allow_entry_only_audit)
      return std::move(bpf).error();
  CARREL_TRY(EnterPrivateMounts());
  CARREL_TRY(SweepStaging(job.host()));
  CARREL_ASSIGN(SandboxRun run,
                BeginSandboxRun({job.host().state, job.host().cgroup_parent, job.host().uid_start,
                                 job.host().uid_count, job.host().allow_entry_only_audit},
                                job.job().id));
  job.run.emplace(std::move(run));
  return {};
}

Result<void> BeginRunInItsDirectory(JobContext& job) {
  CARREL_TRY(BeginRun(job));
  job.place = job.run->directory.path();
  CARREL_ASSIGN(job.place_dir, OpenBeneath(job.run->directory.fd(), ".", O_RDONLY | O_DIRECTORY));
  return {};
}

// A refusal is a result too: the log exists before the decision is looked at.
Result<void> OpenJobLog(JobContext& job) {
  job.Step(3, "open the audit log");
  if (job.records.audit_id.empty()) {
    CARREL_ASSIGN(job.records.audit_id, FreeAuditId(job.host().state, job.job().id));
  }
  CARREL_ASSIGN(job.log, AuditLog::Create(job.host().state, job.records.audit_id));
  job.log->SetLimit(job.decision().limits.audit_bytes);
  CARREL_TRY(
      job.log->Append("decision", DecisionRecord(job.job(), job.decision(), job.definition)));
  return job.log->Flush();  // whoever kills carrel from here on leaves a log that says whose it is
}

Result<void> ResolveImage(JobContext& job) {
  const std::string& name = job.job().image;
  job.Step(4, "resolve the image " + name);
  // Opening a store makes it, and a dry run makes nothing.
  if (job.log == nullptr && ::access((job.host().state + "/images").c_str(), F_OK) != 0)
    return BadInput("/image", "there is no image " + name + " under " + job.host().state,
                    "Import or build it with `carrel image`");
  CARREL_ASSIGN(const ImageStore store, ImageStore::Open(job.host().state));
  // The image that was prepared, whatever its name stands for by now.
  const std::string& prepared = job.records.image.digest;
  CARREL_ASSIGN(Image image, store.Resolve(prepared.empty() ? name : prepared));
  for (const std::string& wanted : {job.job().image_sha, job.decision().image_digest})
    if (!wanted.empty() && wanted != image.digest && wanted != image.config_digest)
      return BadInput("/image_sha",
                      "the image " + name + " here is " + image.digest + ", not " + wanted,
                      "Import the image that the job names; a tag is never trusted alone");
  job.records.image = std::move(image);
  if (job.log == nullptr) return {};
  CARREL_ASSIGN(job.image_hold, store.Hold(job.records.image));
  return job.log->Append("image", {{"name", name},
                                   {"digest", job.records.image.digest},
                                   {"config_digest", job.records.image.config_digest}});
}

Result<void> CheckOut(JobContext& job) {
  job.Step(5, "check out the code at " + job.job().commit.substr(0, 12));
  CARREL_ASSIGN(job.tree, MakeDirsBeneath(job.place_dir.get(), "workspace", 0755));
  CARREL_ASSIGN(const Checkout code,
                CheckoutCode({.repo_url = job.job().repo_url,
                              .commit = job.job().commit,
                              .allowed_repositories = job.host().allowed_repositories,
                              .state_dir = job.host().state,
                              .destination = job.tree.get()}));
  CARREL_ASSIGN(const auto inputs, GatherInputs({.workspace = job.job().workspace,
                                                 .job_ids = job.job().input_job_ids,
                                                 .paths = job.job().inputs,
                                                 .high_privacy = job.host().high_privacy,
                                                 .medium_privacy = job.host().medium_privacy,
                                                 .destination = job.tree.get()}));
  job.records.tree_id = code.tree_id;
  CARREL_TRY(job.log->Append("code", CodeRecord(job.job(), code)));
  return job.log->Append("inputs", InputsRecord(inputs));
}

Result<void> CheckPreflight(const Decision& decision, int tree, AuditLog& log) {
  for (const Preflight& check : decision.preflight) {
    if (check.check != "sql-declaration")
      return Fault("/preflight", "unknown check " + check.check);
    auto file = OpenBeneath(tree, check.file, O_RDONLY);
    if (!file) return BadInput("/args", "the query " + check.file + " is not in the code");
    CARREL_ASSIGN(const std::string sql, ReadFd(file->get(), 16u << 20));
    const auto& database = decision.database;
    CARREL_ASSIGN(const Declaration declaration,
                  RequireDeclarationTo(database ? database->kind : "", sql, check.file));
    CARREL_TRY(log.Append("sql-declaration", {{"file", check.file},
                                              {"sha256", Sha256Hex(sql)},
                                              {"declaration", DeclarationName(declaration)}}));
  }
  return {};
}

Result<void> CheckBeforeStart(JobContext& job) {
  return CheckPreflight(job.decision(), job.tree.get(), *job.log);
}

}  // namespace carrel
