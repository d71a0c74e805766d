// A policy's file of any content: problems, or a policy by which every decision is total. The first
// byte chooses the file, the bundle, the host's configuration or the small texts. The other files
// are short ones; in a few of the runs the shipped ones, which take a hundred times as long.
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/clock.h"
#include "policy/arguments.h"
#include "policy/bundle.h"
#include "policy/database_url.h"
#include "policy/decide.h"
#include "policy/names.h"
#include "policy/policy_facts.h"
#include "policy/repository.h"

namespace {

using namespace carrel;

constexpr int64_t kNow = 1'790'000'000ll * 1'000'000'000;

PolicyFiles Shipped() {
  auto read = ReadPolicyFiles(std::string(CARREL_SOURCE_DIR) + "/policies");
  if (!read) abort();
  std::erase_if(*read, [](const auto& file) {
    return !file.first.ends_with(".json") || file.first.starts_with("schemas/");
  });
  return *read;
}

// As many files as the shipped policy has, and its projects, so that a file of the one fits the
// other.
PolicyFiles Short() {
  PolicyFiles files;
  for (const PermissionFile& file : PermissionFiles())
    files[std::string("permissions/") + file.file + ".json"] =
        R"({"description":"why","grants":[]})";
  files["permissions/sql-runner.json"] =
      R"({"description":"why","grants":[{"project":"internal","reason":"why","approver":"nobody",)"
      R"("date":"2026-01-12","link":"https://example.org/8"}]})";
  files["projects.json"] =
      R"({"projects":[{"id":"internal","number":1,"name":"why","kind":"internal",)"
      R"("workspaces":["demo"]},{"id":"POS-2025-9001","name":"why","kind":"research"},)"
      R"({"id":"POS-2025-9002","name":"why","kind":"audit"},)"
      R"({"id":"POS-2025-9003","name":"why","kind":"audit"},)"
      R"({"id":"POS-2020-9004","name":"why","kind":"audit"}]})";
  files["tools.json"] =
      R"({"tools":{"sqlrunner":{"description":"why","images":["sqlrunner"],"versions":["v1"],)"
      R"("any_command":{"database":true,"levels":["highly_sensitive"]},)"
      R"("requires_listing":"sql-runner","opt_outs":"declared","preflight":[)"
      R"({"check":"sql-declaration","options_with_value":["--output"]}]}}})";
  files["roles.json"] =
      R"({"roles":{"t":{"description":"why","starts":["internal"],)"
      R"("reads":["moderately_sensitive"],"reads_logs":["action"]}},"users":{"demo":["t"]}})";
  files["levels.json"] =
      R"({"highly_sensitive":{"description":"why","directory":"high_privacy","owner":"root",)"
      R"("group":"root","directory_mode":"2750","file_mode":"0640"},)"
      R"("moderately_sensitive":{"description":"why","directory":"medium_privacy","owner":"root",)"
      R"("group":"root","directory_mode":"2770","file_mode":"0660",)"
      R"("checks":["type","size","rows","patient_identifiers"],"max_csv_rows":5,)"
      R"("max_file_bytes":1024,"file_types":[".csv"]}})";
  files["limits.json"] = R"({"defaults":{"cpus":2},"maxima":{"memory":"128G"}})";
  return files;
}

struct Base {
  PolicyFiles files;
  Policy policy;
  std::vector<std::string> names;

  explicit Base(PolicyFiles all) : files(std::move(all)) {
    auto decoded = DecodePolicy(files);
    if (!decoded) {
      std::fprintf(stderr, "%s\n", decoded.error().ToString().c_str());
      abort();
    }
    policy = std::move(*decoded);
    for (const auto& [name, content] : files) names.push_back(name);
  }
};

JobRequest Request() {
  JobRequest request;
  request.workspace = "demo";
  request.user = "demo";
  request.repo_url = "/srv/study";
  request.commit = std::string(40, 'a');
  request.image = "sqlrunner:v1";
  request.args = {"q.sql"};
  request.allow_database_access = true;
  return request;
}

void TryPolicy(const Base& base, size_t which, const std::string& text) {
  static const JobRequest request = Request();
  static const HostConfig host;
  PolicyFiles files = base.files;
  files[base.names[which % base.names.size()]] = text;
  auto policy = DecodePolicy(files);
  if (!policy) {
    if (policy.error().ToString().empty()) abort();
    return;
  }
  const Decision decision = Decide(request, *policy, host, kNow);
  // This host has no database: none is granted, whatever the policy says.
  if (decision.database || decision.reasons.empty()) abort();
  (void)DiffPolicies(base.policy, *policy, kNow);
}

void TryHostConfig(const std::string& text) {
  auto document = ParseJson(text, "config");
  if (!document) return;
  auto host = DecodeHostConfig(*document);
  if (!host) {
    if (host.error().ToString().empty()) abort();
    return;
  }
  // As LoadHostConfig does; then what it prints is read as the same.
  if (host->high_privacy.empty()) host->high_privacy = "/high";
  if (host->medium_privacy.empty()) host->medium_privacy = "/medium";
  const std::string printed = ToJson(*host).dump();
  auto again = DecodeHostConfig(*ParseJson(printed, "config"));
  if (!again || ToJson(*again).dump() != printed) abort();
}

void TryTexts(const std::string& text) {
  (void)ParseDatabaseUrl(text).has_value();
  auto repository = NormalRepository(text);
  if (repository && *NormalRepository(*repository) != *repository) abort();
  (void)ParsePermissionList(text).has_value();
  (void)FindRefusedArgument({text}, {"--dsn", "@"});
  (void)FindOnlyPositional({text, "a"}, {"--output"}).has_value();
  (void)ParseImageReference(text);
  (void)ParseByteSize(text);
  (void)ParseMilliCpus(text);
  (void)ParseDate(text);
  (void)LookAlike(text);
  (void)IsFileType(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  static const Base base(Short());
  static const Base shipped(Shipped());
  if (shipped.names != base.names) abort();
  if (data[0] == 0xff)
    (void)ReadBundle(text, {std::string(64, 'a')}).has_value();
  else if (data[0] == 0xfe)
    TryHostConfig(text);
  else if (data[0] == 0xfd)
    TryTexts(text);
  else
    TryPolicy(std::hash<std::string>{}(text) % 1024 == 0 ? shipped : base, data[0], text);
  return 0;
}
