#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/policy_commands.h"
#include "job/job_definition.h"
#include "policy/decide.h"
#include "policy/host_policy.h"
#include "policy/names.h"
#include "policy/policy_facts.h"

namespace carrel {
namespace {

struct PolicyOptions {
  std::string config;
  std::string policies;
  std::string first;
  std::string second;
  std::vector<std::string> question;
  bool json = false;
};

// What --policies names, or the configuration.
Result<Policy> PolicyInForce(const PolicyOptions& options, const HostConfig& host) {
  return options.policies.empty() ? LoadHostPolicy(host, NowNs()) : LoadPolicy(options.policies);
}

// A directory, a bundle, or a revision of the git repository here. Whoever changes a policy in a
// repository can add a directory "main" to it, too: that it would be compared with instead of the
// branch is not for the changed files to say.
Result<Policy> PolicyOf(const std::string& name) {
  struct stat info {};
  const bool there = ::stat(name.c_str(), &info) == 0;
  const bool path = name.starts_with('/') || name.starts_with("./") || name.starts_with("../");
  std::error_code error;
  auto files = path ? Result<PolicyFiles>(BadInput(name, "there is no such file or directory"))
                    : ReadPolicyRevision(name, std::filesystem::current_path(error).string());
  if (there && files)
    return BadInput(name, "is a git revision, and a file or directory here, too",
                    "Write ./" + name + " for what is here, or remove that");
  if (there && S_ISREG(info.st_mode)) return PolicyOfBundle(name);
  if (there) return LoadPolicy(name);
  if (!files) return std::move(files).error();
  auto policy = DecodePolicy(*files);
  if (!policy) policy.error().where = name;
  return policy;
}

Result<int> Check(const PolicyOptions& options) {
  struct stat info {};
  const bool bundle = ::stat(options.first.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  CARREL_ASSIGN(Policy policy, bundle ? PolicyOfBundle(options.first) : LoadPolicy(options.first));
  size_t grants = 0;
  for (const auto& [file, list] : policy.permissions) grants += list.size();
  printf("%s: %zu tools, %zu projects, %zu grants, %zu roles; sha256:%s\n", options.first.c_str(),
         policy.tools.size(), policy.projects.size(), grants, policy.roles.size(),
         policy.digest.c_str());
  return 0;
}

void PrintDecision(const JobDefinition& job, const Decision& decision) {
  printf("The job %s (%s of %s) %s.\n", job.id.c_str(), job.action.c_str(), job.workspace.c_str(),
         decision.allowed ? "may run" : "is refused");
  for (const std::string& reason : decision.reasons) printf("  - %s\n", reason.c_str());
  if (decision.allowed) {
    if (!decision.database) printf("  - it reaches no database\n");
    for (const Preflight& preflight : decision.preflight)
      printf("  - before it starts, %s passes the check %s\n", preflight.file.c_str(),
             preflight.check.c_str());
    const auto limits = ToJson(decision.limits);
    printf("  - it gets at most:\n");
    for (const auto& [name, value] : limits.items()) {
      const bool bytes = name == "memory" || name.ends_with("_bytes");
      printf("      %-16s %s\n", name.c_str(),
             bytes ? HumanBytes(value.get<uint64_t>()).c_str() : value.dump().c_str());
    }
  }
  printf("Decided by:\n");
  for (const auto& [part, entry] : decision.decided_by)
    printf("  %-24s %s\n", part.c_str(), entry.c_str());
  printf("  %-24s sha256:%s\n", "(the policy)", decision.policy_digest.c_str());
}

Result<int> Explain(const PolicyOptions& options) {
  CARREL_ASSIGN(HostConfig host, LoadHostConfig(options.config));
  CARREL_ASSIGN(Policy policy, PolicyInForce(options, host));
  CARREL_ASSIGN(Json document, ReadJsonFile(options.first));
  auto job = DecodeJobDefinition(document);
  if (!job) {
    Error error = std::move(job).error();
    error.where = options.first;
    return error;
  }
  const Decision decision = Decide(RequestOf(*job), policy, host, NowNs());
  if (options.json)
    printf("%s\n", ToJson(decision).dump(2).c_str());
  else
    PrintDecision(*job, decision);
  return decision.allowed ? 0 : static_cast<int>(ErrorKind::kRefused);
}

Result<int> Diff(const PolicyOptions& options) {
  CARREL_ASSIGN(Policy before, PolicyOf(options.first));
  CARREL_ASSIGN(Policy after, PolicyOf(options.second));
  const auto changes = DiffPolicies(before, after, NowNs());
  for (const PolicyChange& change : changes)
    printf("%s %s\n", change.widens ? "gains:" : "loses:", change.sentence.c_str());
  if (changes.empty()) printf("Nobody gains or loses anything.\n");
  return !changes.empty() && changes.front().widens ? 1 : 0;
}

Result<int> Ask(const PolicyOptions& options) {
  HostConfig host;
  if (options.policies.empty()) {
    CARREL_ASSIGN(host, LoadHostConfig(options.config));
  }
  CARREL_ASSIGN(Policy policy, PolicyInForce(options, host));
  std::string question;
  for (const std::string& word : options.question) question += (question.empty() ? "" : " ") + word;
  CARREL_ASSIGN(auto lines, WhoCan(policy, question, NowNs()));
  for (const std::string& line : lines) printf("%s\n", line.c_str());
  if (lines.empty()) printf("Nobody.\n");
  return 0;
}

}  // namespace

int PolicyCommand(int argc, char** argv) {
  CLI::App app("Read, explain and compare the policy", "carrel policy");
  PolicyOptions options;
  app.require_subcommand(1);
  auto* check = app.add_subcommand("check", "validate a policy directory: every problem at once");
  check->add_option("DIR", options.first, "policy directory, or bundle")->required();
  auto* explain = app.add_subcommand("explain", "say why a job may run, or may not (status 3)");
  explain->add_option("JOB.json", options.first, "job definition")->required();
  explain->add_flag("--json", options.json, "the decision as JSON");
  auto* diff = app.add_subcommand("diff", "who gains or loses what; status 1 when anybody gains");
  diff->add_option("OLD", options.first, "directory, bundle, or git revision REV[:DIR]")
      ->required();
  diff->add_option("NEW", options.second, "directory, bundle, or git revision REV[:DIR]")
      ->required();
  auto* who = app.add_subcommand("who-can", "reach database, read level 3, use TOOL, ...");
  who->add_option("QUESTION", options.question, "in words")->required();
  for (CLI::App* command : {explain, who}) {
    command->add_option("--config", options.config, "host configuration");
    command->add_option("--policies", options.policies,
                        "policy directory (default: the configuration's)");
  }
  std::function<Result<int>()> chosen;
  AddBundleCommands(app, chosen);
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  Result<int> result = chosen              ? chosen()
                       : check->parsed()   ? Check(options)
                       : explain->parsed() ? Explain(options)
                       : diff->parsed()    ? Diff(options)
                                           : Ask(options);
  if (result) return *result;
  // All files here are such as the caller has named.
  for (int code : {ENOENT, ENOTDIR, EISDIR, EEXIST, EFBIG})
    if (result.error().code == code) result.error().kind = ErrorKind::kBadInput;
  return PrintError(result.error());
}

}  // namespace carrel
