// A policy's file of any content: problems, or a policy by which every decision is total. The first
// byte chooses the file; the others are the shipped ones.
#include <cstdlib>

#include "base/clock.h"
#include "policy/bundle.h"
#include "policy/decide.h"
#include "policy/policy_facts.h"

namespace {

const carrel::PolicyFiles& Shipped() {
  static const carrel::PolicyFiles files = [] {
    auto read = carrel::ReadPolicyFiles(std::string(CARREL_SOURCE_DIR) + "/policies");
    if (!read) abort();
    return *read;
  }();
  return files;
}

carrel::JobRequest Request() {
  carrel::JobRequest request;
  request.workspace = "demo";
  request.user = "demo";
  request.repo_url = "/srv/study";
  request.commit = std::string(40, 'a');
  request.image = "sqlrunner:v1";
  request.args = {"q.sql"};
  request.allow_database_access = true;
  return request;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  static std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, content] : Shipped())
      if (name.ends_with(".json") && !name.starts_with("schemas/")) all.push_back(name);
    return all;
  }();
  if (data[0] == 0xff) {
    (void)carrel::ReadBundle(text, {std::string(64, 'a')});
    return 0;
  }
  static const carrel::Policy shipped = *carrel::DecodePolicy(Shipped());
  static const carrel::HostConfig host;
  carrel::PolicyFiles files = Shipped();
  files[names[data[0] % names.size()]] = text;
  auto policy = carrel::DecodePolicy(files);
  if (!policy) {
    if (policy.error().ToString().empty()) abort();
    return 0;
  }
  constexpr int64_t kNow = 1'790'000'000ll * 1'000'000'000;
  const carrel::Decision decision = carrel::Decide(Request(), *policy, host, kNow);
  // This host has no database: none is granted, whatever the policy says.
  if (decision.database || decision.reasons.empty()) abort();
  (void)carrel::DiffPolicies(shipped, *policy, kNow);
  return 0;
}
