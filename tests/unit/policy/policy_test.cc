#include "policy/policy.h"

#include <gtest/gtest.h>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::kNow;
using testing_support::ShippedFiles;

// The shipped files with one JSON file changed.
template <typename Change>
PolicyFiles With(const std::string& file, Change change) {
  PolicyFiles files = ShippedFiles();
  Json document = Json::parse(files.at(file));
  change(document);
  files[file] = document.dump();
  return files;
}

std::string Problems(const PolicyFiles& files) {
  auto policy = DecodePolicy(files);
  return policy ? "" : policy.error().ToString();
}

void ExpectProblem(const PolicyFiles& files, const std::string& expected) {
  const std::string problems = Problems(files);
  EXPECT_NE(problems.find(expected), std::string::npos) << expected << " in: " << problems;
}

TEST(Policy, TheShippedOneIsWhole) {
  auto policy = LoadPolicy(std::string(CARREL_SOURCE_DIR) + "/policies");
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  EXPECT_EQ(policy->digest.size(), 64u);
  EXPECT_EQ(policy->FindProject("1")->id, "internal");
  EXPECT_EQ(policy->workspace_projects.at("demo"), "internal");
  EXPECT_NE(policy->FindGrant("sql-runner", "internal", kNow), nullptr);
  EXPECT_EQ(policy->FindGrant("sql-runner", "POS-2025-9001", kNow), nullptr);
  EXPECT_EQ(policy->FindGrant("databases", "internal", kNow, "other"), nullptr);
}

TEST(Policy, TheDigestIsOverNamesAndContents) {
  PolicyFiles files = ShippedFiles();
  const std::string digest = DecodePolicy(files)->digest;
  EXPECT_EQ(DecodePolicy(files)->digest, digest);
  files["README.md"] += " ";
  EXPECT_NE(DecodePolicy(files)->digest, digest);
  files = ShippedFiles();
  files["NOTES.md"] = "";
  EXPECT_NE(DecodePolicy(files)->digest, digest);
}

TEST(Policy, EveryFileIsNeededAndNoOther) {
  for (const char* file :
       {"tools.json", "projects.json", "roles.json", "levels.json", "limits.json",
        "permissions/sql-runner.json", "permissions/databases.json"}) {
    PolicyFiles files = ShippedFiles();
    files.erase(file);
    ExpectProblem(files, std::string(file) + ": is missing");
  }
  PolicyFiles files = ShippedFiles();
  files["permissions/ndoo.JSON"] = "{}";
  ExpectProblem(files, "permissions/ndoo.JSON: is not a file that a policy has");
  files["permissions/sqlrunner.json"] = "{}";
  ExpectProblem(files, "permissions/sqlrunner.json: is not a file that a policy has");
  files = ShippedFiles();
  files["tools.json"] = "{";
  ExpectProblem(files, "tools.json: not valid JSON");
  files["tools.json"] = R"({"tools": {}, "tools": {}})";
  ExpectProblem(files, "appears twice");
}

// One line for each, with its file, its place, and what to do.
TEST(Policy, EveryProblemSaysWhereAndWhatToDo) {
  PolicyFiles files = ShippedFiles();
  auto change = [&](const std::string& file, const char* patch) {
    files[file] = Json::parse(files.at(file)).patch(Json::parse(patch)).dump();
  };
  change("tools.json", R"([{"op":"add","path":"/tools/r/x","value":1},
      {"op":"remove","path":"/tools/r/images"},
      {"op":"replace","path":"/tools/python/versions","value":["a b"]},
      {"op":"add","path":"/tools/python/environment","value":{"A-B":"x"}},
      {"op":"remove","path":"/tools/ehrql/opt_outs"}])");
  change("projects.json", R"([{"op":"replace","path":"/projects/1/kind","value":"other"},
      {"op":"replace","path":"/projects/2/number","value":9001},
      {"op":"add","path":"/projects/3/workspaces/-","value":"demo"}])");
  change("roles.json", R"([{"op":"add","path":"/users/x","value":["king"]},
      {"op":"add","path":"/roles/researcher/reads/-","value":"level5"},
      {"op":"replace","path":"/unlisted_users_are","value":"queen"}])");
  change("permissions/ndoo.json", R"([{"op":"add","path":"/grants/-","value":{"project":"X",
      "date":"2027-01-01","expires":"2026-01-01","link":"mail","reason":"r"}}])");
  change("limits.json", R"([{"op":"replace","path":"/maxima/memory","value":"lots"}])");
  files.erase("levels.json");
  files["permissions/other.json"] = "{}";
  files["permissions/sql-runner.json"] = "{";
  const std::string problems = Problems(files);
  size_t lines = 0;
  for (size_t start = 0; start < problems.size(); ++lines) {
    const size_t end = std::min(problems.find('\n', start), problems.size());
    const std::string line = problems.substr(start, end - start);
    EXPECT_NE(line.find(".json"), std::string::npos) << line;
    EXPECT_TRUE(line.find(": /") != std::string::npos || line.find("file") != std::string::npos ||
                line.find("JSON") != std::string::npos)
        << line;
    bool remedy = false;
    for (const char* word : {"must ", "Add ", "Remove ", "Correct ", "Change ", "Use "})
      remedy = remedy || line.find(word) != std::string::npos;
    EXPECT_TRUE(remedy) << line;
    start = end + 1;
  }
  EXPECT_GE(lines, 20u) << problems;
}

TEST(Policy, GrantsAreWholeAndReferToProjects) {
  const std::string file = "permissions/type-one-opt-outs.json";
  for (const char* key : {"project", "reason", "approver", "date", "link"})
    ExpectProblem(With(file, [&](Json& j) { j["grants"][0].erase(key); }),
                  file + ": /grants/0/" + key + ": is required");
  ExpectProblem(With(file, [](Json& j) { j["grants"][0]["project"] = "POS-9999"; }),
                "/grants/0/project: \"POS-9999\" is not a project");
  ExpectProblem(With(file, [](Json& j) { j["grants"][0]["date"] = "2026-02-30"; }),
                "/grants/0/date: must be a date");
  ExpectProblem(With(file, [](Json& j) { j["grants"][0]["expires"] = "2020-01-01"; }),
                "/grants/0/expires: is before date");
  ExpectProblem(With(file, [](Json& j) { j["grants"][0]["expire"] = "2027-01-01"; }),
                "/grants/0/expire: unknown key");
  ExpectProblem(With(file, [](Json& j) { j["grants"][0]["link"] = "see mail"; }),
                "/grants/0/link: must be an https:// address");
  ExpectProblem(
      With(file, [](Json& j) { j["grants"][0]["link"] = "https://github.c\xd0\xbem/ig/1"; }),
      "/grants/0/link: must be an https:// address");
  // Text that stands the other way round, or is not there for a reader.
  for (const char* hidden :
       {"\u202e", "\u200b", "\u2066", "\ufeff", "\u009b31m", "\u00ad", "\u061c"})
    for (const char* key : {"reason", "approver"})
      ExpectProblem(
          With(file,
               [&](Json& j) { j["grants"][0][key] = std::string("no objection ") + hidden + "x"; }),
          std::string("/grants/0/") + key + ": has characters that nobody sees");
  EXPECT_EQ(Problems(With(file,
                          [](Json& j) {
                            j["grants"][0]["reason"] =
                                "\u201cr\u00e9sum\u00e9\u201d \u2013 \U0001f41f";
                          })),
            "");
  ExpectProblem(
      With("permissions/databases.json", [](Json& j) { j["grants"][0].erase("databases"); }),
      "/grants/0/databases: must list at least one name");
  EXPECT_EQ(Problems(With(file, [](Json& j) { j["grants"][0]["project"] = 9004; })), "");
}

TEST(Policy, ProjectsAreToldApart) {
  auto second = [](const char* key, const Json& value) {
    return With("projects.json", [&](Json& j) { j["projects"][2][key] = value; });
  };
  ExpectProblem(second("id", "pos-2025-9001"), "is the id or number of another project too");
  // What a reviewer takes for a project that has been approved.
  for (const char* id : {"P0S-2025-9001", "POS_2025.9001", "pos-2O25-9OOl", "internaI", "1nternal"})
    ExpectProblem(second("id", id), std::string("\"") + id + "\" looks like \"");
  ExpectProblem(second("id", "9OO1"), "\"9OO1\" looks like \"9001\"");
  ExpectProblem(second("number", 9001), "is the id or number of another project too");
  ExpectProblem(second("id", "9001"), "must be a name that is no number");
  ExpectProblem(second("id", "P\xd0\x9eS"), "must be a name");
  ExpectProblem(second("workspaces", {"demo"}), "\"demo\" belongs to another project too");
  ExpectProblem(second("kind", "reserch"), "/projects/2/kind: must be");
  ExpectProblem(second("accepts_unlisted_workspaces", true),
                "/projects/2/unlisted_workspaces_reason: is required");
}

TEST(Policy, ToolsAreWhole) {
  auto tool = [](const char* name, const char* key, const Json& value) {
    return With("tools.json", [&](Json& j) { j["tools"][name][key] = value; });
  };
  ExpectProblem(tool("python", "images", {"ehrql"}), "the image \"ehrql\" belongs to two tools");
  ExpectProblem(tool("python", "images", {"EHRQL"}), "is not the name of an image");
  ExpectProblem(tool("stata-mp", "allow_loopback_sockets", true),
                "/tools/stata-mp/loopback_reason: is required");
  ExpectProblem(tool("python", "any_command", {{"database", true}, {"levels", Json::array()}}),
                "/tools/python/opt_outs: is required for a tool that reaches a database");
  ExpectProblem(tool("sqlrunner", "preflight", Json::array()),
                "/tools/sqlrunner/preflight: is required");
  ExpectProblem(tool("python", "databse", true), "/tools/python/databse: unknown key");
  ExpectProblem(tool("r", "limits", {{"memory", "lots"}}), "/tools/r/limits/memory");
}

TEST(Policy, RolesReferToEachOther) {
  ExpectProblem(With("roles.json", [](Json& j) { j["users"]["x"] = {"king"}; }),
                "/users/x: there is no role king");
  ExpectProblem(With("roles.json", [](Json& j) { j["unlisted_users_are"] = "king"; }),
                "/unlisted_users_are: there is no such role");
  ExpectProblem(With("roles.json", [](Json& j) { j["roles"]["researcher"]["starts"] = {"x"}; }),
                "/roles/researcher/starts: unknown kind");
}

TEST(Policy, ADatasetIsNoOtherPermission) {
  for (const char* name : {"include_t1oo", "Include_T1OO", "event_level_data", "include_other"})
    ExpectProblem(With("permissions/datasets.json",
                       [&](Json& j) { j["grants"][0]["datasets"].push_back(name); }),
                  "/grants/0/datasets: \"" + std::string(name) + "\" is not a dataset");
}

TEST(Policy, NamesThatPeopleCannotTellApart) {
  auto users = [](const char* name) {
    return With("roles.json", [&](Json& j) { j["users"][name] = {"platform_developer"}; });
  };
  ExpectProblem(users("t\xd0\xb5ster"), "must be a name of ASCII");
  ExpectProblem(users("tester "), "must be a name of ASCII");
  ExpectProblem(users("Tester"), "differs from another user by case alone");
  EXPECT_EQ(Problems(users("first.last@example.org")), "");
  ExpectProblem(With("projects.json", [](Json& j) { j["projects"][2]["workspaces"] = {"Demo"}; }),
                "/projects/2/workspaces: \"Demo\" belongs to another project too");
  EXPECT_EQ(Problems(With("projects.json",
                          [](Json& j) { j["projects"][0]["workspaces"].push_back("Demo"); })),
            "");
  ExpectProblem(With("tools.json",
                     [](Json& j) {
                       j["tools"]["EhrQL"] = j["tools"]["python"];
                       j["tools"]["EhrQL"]["images"] = {"other"};
                     }),
                "\"ehrql\" looks like \"EhrQL\"");
  ExpectProblem(With("tools.json",
                     [](Json& j) {
                       j["tools"]["ehrq1"] = j["tools"]["python"];
                       j["tools"]["ehrq1"]["images"] = {"other"};
                     }),
                "\"ehrql\" looks like \"ehrq1\"");
}

TEST(Policy, WhatToolsCannotHave) {
  auto variable = [](const char* name, const char* value) {
    return With("tools.json", [&](Json& j) { j["tools"]["ehrql"]["environment"][name] = value; });
  };
  for (auto [name, value] : {std::pair{"EHRQL_PERMISSIONS", "[\"include_t1oo\"]"},
                             {"DATABASE_URL", "sqlite:///x"},
                             {"LD_PRELOAD", "/x.so"},
                             {"EHRQL_ISOLATE_USER_CODE", "never"}})
    ExpectProblem(variable(name, value), "\"" + std::string(name) + "\" is carrel's own to set");
  ExpectProblem(With("tools.json",
                     [](Json& j) {
                       Json& checks = j["tools"]["sqlrunner"]["preflight"];
                       checks.push_back({{"check", "sql-declaration"}});
                     }),
                "/tools/sqlrunner/preflight/1/check: is there twice");
  ExpectProblem(With("tools.json",
                     [](Json& j) {
                       j["tools"]["r"]["digests"] = {{"v1", "sha256:" + std::string(64, 'Z')}};
                     }),
                "/tools/r/digests: \"v1\" must be one of versions");
  ExpectProblem(With("levels.json",
                     [](Json& j) { j["moderately_sensitive"]["file_types"].push_back("CSV"); }),
                "\"CSV\" must be an ending");
}

// What refers to projects that cannot be read is not a problem of its own.
TEST(Policy, OneBrokenFileIsOneProblem) {
  PolicyFiles files = ShippedFiles();
  files["projects.json"] = "{";
  const std::string problems = Problems(files);
  EXPECT_EQ(problems.find('\n'), std::string::npos) << problems;
  files = ShippedFiles();
  files["limits.json"] = R"({"defaults": {"cpus": 1, "cpus": 2}, "maxima": {}, "maxima": {}})";
  ExpectProblem(files, "limits.json: /defaults/cpus: the key");
  ExpectProblem(files, "limits.json: /maxima: the key");
}

}  // namespace
}  // namespace carrel
