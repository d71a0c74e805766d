// A policy, a host and a request that tests change one thing of.
#pragma once

#include <gtest/gtest.h>

#include "policy/decide.h"

namespace carrel::testing_support {

inline constexpr int64_t kNow = 1'790'000'000ll * 1'000'000'000;  // 2026-09-21

/// The policy that the repository ships.
inline PolicyFiles ShippedFiles() {
  auto files = ReadPolicyFiles(std::string(CARREL_SOURCE_DIR) + "/policies");
  EXPECT_TRUE(files.has_value()) << files.error().ToString();
  return files.value_or(PolicyFiles{});
}

inline Policy ShippedPolicy() {
  auto policy = DecodePolicy(ShippedFiles());
  EXPECT_TRUE(policy.has_value()) << policy.error().ToString();
  return policy.value_or(Policy{});
}

inline HostConfig SampleHost() {
  auto host = DecodeHostConfig(Json::parse(R"({
      "allowed_repositories": ["https://github.com/opensafely"],
      "databases": {"default": {"kind": "sqlite", "path": "/srv/db.sqlite"},
                    "full": {"kind": "mssql", "host": "db.example",
                             "credentials": {"file": "/etc/carrel/full.json"}}}})"));
  EXPECT_TRUE(host.has_value()) << host.error().ToString();
  return *host;
}

/// ehrQL's generate-dataset for a research project, with the database.
inline JobRequest SampleRequest() {
  JobRequest request;
  request.workspace = "asthma-reviews";
  request.user = "somebody";
  request.repo_url = request.study_repo_url = "https://github.com/opensafely/asthma";
  request.commit = request.study_commit = std::string(40, 'a');
  request.image = "ehrql:v1";
  request.args = {"generate-dataset", "analysis/d.py", "--output", "output/d.csv.gz"};
  request.levels = {Level::kHighlySensitive};
  request.allow_database_access = true;
  return request;
}

inline std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace carrel::testing_support
