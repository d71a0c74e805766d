#include "policy/host_config.h"

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>

#include "support/schema.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

// A supervisor of the agent's verbs has another working directory than who called.
TEST(HostConfig, AStateThatIsNamedIsMadeAbsolute) {
  testing_support::TempDir directory;
  std::ofstream(directory.path() + "/carrel.json") << "{}";
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  const auto config = LoadHostConfig("carrel.json", "./x/../state");
  std::filesystem::current_path(before);
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  EXPECT_EQ(config->state, directory.path() + "/state");
  EXPECT_EQ(config->high_privacy, config->state + "/high_privacy");
}

TEST(HostConfig, AnEmptyDocumentIsTheDefaults) {
  auto config = DecodeHostConfig(Json::object());
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  EXPECT_EQ(config->state, "/var/lib/carrel");
  EXPECT_EQ(config->uid_start, 0x70000000u);
  EXPECT_EQ(config->uid_count, 4096u);
  EXPECT_EQ(config->cgroup_parent, "carrel");
  EXPECT_EQ(config->default_limits.at("memory"), 4ull << 30);
  EXPECT_EQ(config->default_limits.size(), LimitMembers().size());
  EXPECT_EQ(config->maximum_limits.size(), LimitMembers().size());
  for (const auto& [name, number] : config->default_limits)
    EXPECT_LE(number, config->maximum_limits.at(name)) << name;
  ASSERT_EQ(config->levels.size(), 2u);
  EXPECT_EQ(config->levels.at(Level::kHighlySensitive).file_mode, 0640u);
  EXPECT_TRUE(config->allowed_repositories.empty());
  EXPECT_TRUE(config->databases.empty());
}

TEST(HostConfig, NamesOfOwnersAreResolved) {
  auto config = DecodeHostConfig(Json::parse(R"({"levels": {"moderately_sensitive":
      {"owner": "daemon", "group": "adm", "directory_mode": "2750", "file_mode": "0440"}}})"));
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  const LevelOwnership& level4 = config->levels.at(Level::kModeratelySensitive);
  EXPECT_EQ(level4.owner, 1u);
  EXPECT_EQ(level4.group, 4u);
  EXPECT_EQ(level4.directory_mode, 02750u);
  EXPECT_EQ(level4.file_mode, 0440u);
  auto missing = DecodeHostConfig(
      Json::parse(R"({"levels": {"highly_sensitive": {"group": "nobody-here"}}})"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().ToString().find(
                "/levels/highly_sensitive/group: there is no \"nobody-here\" on this host"),
            std::string::npos);
}

TEST(HostConfig, AllProblemsAtOnce) {
  auto config = DecodeHostConfig(Json::parse(R"({"state": "relative", "backend": 3, "x": 1,
      "limits": {"defaults": {"memory": "lots"}}})"));
  ASSERT_FALSE(config.has_value());
  for (const char* expected : {"/state: must be an absolute", "/backend: must be a string",
                               "/x: unknown key", "/limits/defaults/memory: must be bytes"})
    EXPECT_NE(config.error().ToString().find(expected), std::string::npos)
        << expected << " in " << config.error().ToString();
}

TEST(HostConfig, WhatItPrintsDecodesToTheSame) {
  auto config = DecodeHostConfig(Json::parse(R"({"high_privacy": "/srv/high",
      "medium_privacy": "/srv/medium", "backend": "test",
      "allowed_repositories": ["https://github.com/opensafely/", "file:///srv/repos"],
      "databases": {"default": {"kind": "sqlite", "path": "/srv/db.sqlite"},
                    "full": {"kind": "mssql", "host": "db.example", "max_jobs": 4,
                             "tls": {"mode": "verify-ca", "ca_file": "/etc/ca.pem"},
                             "credentials": {"systemd_credential": "full-db"},
                             "limits": {"connections": 8, "idle_seconds": 60},
                             "temporary_database": "temp", "maintenance": "wait",
                             "environment": {"EMIS_ORGANISATION_HASH": "x"}},
                    "lake": {"kind": "relay", "host": "10.1.2.3", "port": 8080,
                             "scheme": "trino", "database": "catalog"}},
      "pipeline": {"workspace": "demo", "user": "tester", "jobs": 2}})"));
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  EXPECT_EQ(config->allowed_repositories,
            (std::vector<std::string>{"https://github.com/opensafely", "/srv/repos"}));
  const DatabaseConfig& full = config->databases.at("full");
  EXPECT_EQ(full.port, 1433);
  EXPECT_EQ(full.tls.mode, DatabaseTls::Mode::kVerifyCa);
  EXPECT_EQ(full.tls.ca_file, "/etc/ca.pem");
  EXPECT_EQ(full.credentials.systemd_credential, "full-db");
  EXPECT_EQ(full.max_connections, 8);
  EXPECT_EQ(full.idle_seconds, 60);
  EXPECT_EQ(full.login_seconds, 60);
  EXPECT_EQ(full.max_jobs, 4);
  EXPECT_EQ(full.maintenance, Maintenance::kWait);
  EXPECT_EQ(config->databases.at("lake").scheme, "trino");
  EXPECT_TRUE(config->databases.at("lake").credentials.empty());
  const OrderedJson printed = ToJson(*config);
  auto again = DecodeHostConfig(Json::parse(printed.dump()));
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_EQ(ToJson(*again), printed);
  EXPECT_EQ(again->pipeline.workspace, "demo");
  EXPECT_EQ(again->pipeline.user, "tester");
  EXPECT_EQ(again->pipeline.jobs, 2u);
}

struct Document {
  const char* json;
  bool good;
};

class HostConfigSchema : public ::testing::TestWithParam<Document> {};

TEST_P(HostConfigSchema, AgreesWithTheDecoder) {
  testing_support::JsonSchema schema("carrel-config.schema.json");
  const Json document = Json::parse(GetParam().json);
  auto decoded = DecodeHostConfig(document);
  EXPECT_EQ(decoded.has_value(), GetParam().good)
      << GetParam().json << (decoded ? "" : decoded.error().ToString());
  const std::string problems = schema.Problems(document);
  EXPECT_EQ(problems.empty(), GetParam().good) << GetParam().json << "\n" << problems;
}

INSTANTIATE_TEST_SUITE_P(
    Documents, HostConfigSchema,
    ::testing::Values(
        Document{"{}", true}, Document{"[]", false}, Document{R"({"unknown": 1})", false},
        Document{R"({"state": "/srv/carrel"})", true}, Document{R"({"state": "srv"})", false},
        Document{R"({"state": "/srv/../etc"})", false}, Document{R"({"state": "/srv//x"})", false},
        Document{R"({"state": "/srv/"})", false}, Document{R"({"state": 3})", false},
        Document{R"({"policy_bundle": {"file": "/etc/p", "keys":
            ["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]}})",
                 true},
        Document{R"({"policy_bundle": {"file": "/etc/p", "keys": []}})", false},
        Document{R"({"policy_bundle": {"file": "/etc/p", "keys": ["0123"]}})", false},
        Document{R"({"policy_bundle": {"file": "/etc/p"}})", false},
        Document{R"({"backend": "tpp"})", true}, Document{R"({"backend": "a/b"})", false},
        Document{R"({"allowed_repositories": ["https://github.com/opensafely"]})", true},
        Document{R"({"allowed_repositories": ["/srv/repos", "file:///srv/x"]})", true},
        Document{R"({"allowed_repositories": ["http://github.com/x"]})", false},
        Document{R"({"allowed_repositories": ["ext::sh -c id"]})", false},
        Document{R"({"allowed_repositories": ["--upload-pack=x"]})", false},
        Document{R"({"allowed_repositories": ["https://user@host/x"]})", false},
        Document{R"({"allowed_repositories": "https://github.com/x"})", false},
        Document{R"({"databases": {"default": {"kind": "sqlite", "path": "/d.sqlite"}}})", true},
        Document{R"({"databases": {"default": {"kind": "sqlite"}}})", false},
        Document{R"({"databases": {"default": {"kind": "sqlite", "path": "d"}}})", false},
        Document{R"({"databases": {"a/b": {"kind": "sqlite", "path": "/d"}}})", false},
        Document{R"({"limits": {"defaults": {"memory": "4G", "cpus": "0.5"}}})", true},
        Document{R"({"limits": {"maxima": {"memory": 1073741824, "cpus": 8}}})", true},
        Document{R"({"limits": {"defaults": {"memory": "4X"}}})", false},
        Document{R"({"limits": {"defaults": {"cpus": "-1"}}})", false},
        Document{R"({"limits": {"defaults": {"pids": "12"}}})", false},
        Document{R"({"limits": {"defaults": {"swap": 1}}})", false},
        Document{R"({"limits": {"memory": "4G"}})", false},
        Document{R"({"levels": {"highly_sensitive": {"owner": 0, "group": "root",
                     "directory_mode": "0750", "file_mode": "640"}}})",
                 true},
        Document{R"({"levels": {"highly_sensitive": {"file_mode": "0644"}}})", false},
        Document{R"({"levels": {"highly_sensitive": {"file_mode": "4750"}}})", false},
        Document{R"({"levels": {"highly_sensitive": {"file_mode": 640}}})", false},
        Document{R"({"levels": {"highly_sensitive": {"owner": -1}}})", false},
        Document{R"({"levels": {"highly_sensitive": {"owner": 4294967295}}})", false},
        Document{R"({"levels": {"secret": {}}})", false},
        Document{R"({"uid_range": {"start": 1879048192, "count": 4096}})", true},
        Document{R"({"uid_range": {"start": 0, "count": 4096}})", false},
        Document{R"({"uid_range": {"start": 100000}})", false},
        Document{R"({"cgroup_parent": "carrel"})", true},
        Document{R"({"docker": {"bind_prefixes": ["/srv/volumes"]}})", true},
        Document{R"({"docker": {"bind_prefixes": ["srv"]}})", false},
        Document{R"({"docker": {"networks": {"db": 1}}})", false},
        Document{R"({"docker": {"user": "agent", "task_workspace": "demo"}})", true},
        Document{R"({"docker": {"task_workspace": "../x"}})", false},
        Document{R"({"pipeline": {"workspace": "demo", "user": "tester", "jobs": 2}})", true},
        Document{R"({"pipeline": {"workspace": "../x"}})", false},
        Document{R"({"pipeline": {"jobs": 0}})", false},
        Document{R"({"retention": {"audit_days": 0, "log_days": 3650}})", true},
        Document{R"({"retention": {"audit_days": -1}})", false},
        Document{R"({"retention": {"scratch_days": 1}})", false},
        Document{R"({"cgroup_parent": "carrel.slice/carrel-jobs.service"})", true},
        Document{R"({"cgroup_parent": "carrel/"})", false},
        Document{R"({"cgroup_parent": "/carrel"})", false},
        Document{R"({"cgroup_parent": "a/../b"})", false},
        Document{R"({"cgroup_parent": "../x"})", false}));

// Members of one database "d" of a kind, beyond what the kind needs.
Document Server(const char* kind, const std::string& more, bool good) {
  static std::deque<std::string> texts;  // Document keeps a pointer
  const std::string needs = std::string(kind) == "relay"
                                ? R"("host": "h", "port": 99, "scheme": "trino")"
                                : R"("host": "h", "credentials": {"file": "/etc/carrel/d.json"})";
  texts.push_back(R"({"databases": {"d": {"kind": ")" + std::string(kind) + "\", " + needs + more +
                  "}}}");
  return {texts.back().c_str(), good};
}

INSTANTIATE_TEST_SUITE_P(
    Databases, HostConfigSchema,
    ::testing::Values(
        Server("postgresql", "", true), Server("mssql", "", true), Server("relay", "", true),
        Server("oracle", "", false), Server("postgresql", R"(, "port": 5)", true),
        Server("postgresql", R"(, "port": 0)", false),
        Server("postgresql", R"(, "path": "/d")", false),
        Server("postgresql", R"(, "scheme": "x")", false),
        Server("postgresql", R"(, "tls": {"mode": "off"})", true),
        Server("postgresql", R"(, "tls": {"mode": "prefer"})", false),
        Server("postgresql", R"(, "tls": {"mode": "off", "ca_file": "/ca"})", false),
        Server("mssql", R"(, "tls": {"mode": "require"})", true),
        Server("mssql", R"(, "tls": {"mode": "require", "ca_file": "/ca"})", false),
        Server("mssql", R"(, "tls": {"ca_file": "/ca"})", true),
        Server("relay", R"(, "tls": {})", false),
        Server("relay", R"(, "credentials": {"user": "u", "systemd_credential": "lake"})", true),
        Server("relay", R"(, "credentials": {})", false),
        Server("relay", R"(, "credentials": {"file": "/a", "systemd_credential": "b"})", false),
        Server("relay", R"(, "credentials": {"file": "a"})", false),
        Server("relay", R"(, "credentials": {"password": "a"})", false),
        Server("postgresql", R"(, "limits": {"connections": 4, "login_seconds": 3})", true),
        Server("postgresql", R"(, "limits": {"connections": 0})", false),
        Server("postgresql", R"(, "limits": {"memory": 4})", false),
        Server("postgresql", R"(, "temporary_database": "temp", "max_jobs": 3)", true),
        Server("postgresql", R"(, "temporary_database": "a;b")", false),
        Server("postgresql", R"(, "max_jobs": 0)", false),
        Server("postgresql", R"(, "maintenance": "wait")", true),
        Server("postgresql", R"(, "maintenance": true)", false),
        Server("postgresql", R"(, "environment": {"EMIS_ORGANISATION_HASH": "x"})", true),
        Server("postgresql", R"(, "environment": {"LD_PRELOAD": "x"})", false),
        Server("postgresql", R"(, "environment": {"EHRQL_PERMISSIONS": "[]"})", false),
        Server("postgresql", R"(, "environment": {"A B": "x"})", false),
        Document{R"({"databases": {"d": {"kind": "mssql", "host": "h"}}})", false},
        Document{R"({"databases": {"d": {"kind": "mssql", "path": "/h"}}})", false},
        Document{R"({"databases": {"d": {"kind": "relay", "host": "h", "port": 9}}})", false},
        Document{R"({"databases": {"d": {"kind": "relay", "host": "h/x", "port": 9,
                     "scheme": "x"}}})",
                 false},
        Document{R"({"databases": {"d": {"kind": "sqlite", "path": "/d", "maintenance": "wait",
                     "temporary_database": "t", "max_jobs": 2, "environment": {"X": "y"}}}})",
                 true},
        Document{R"({"databases": {"d": {"kind": "sqlite", "path": "/d", "host": "h"}}})", false}));

}  // namespace
}  // namespace carrel
