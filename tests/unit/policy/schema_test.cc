// The policy's JSON Schemas, held against the shipped files and against the decoder.
#include "support/schema.h"

#include <gtest/gtest.h>

#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::JsonSchema;
using testing_support::ShippedFiles;

std::string SchemaOf(const std::string& file) {
  if (file == "permissions/databases.json" || file == "permissions/plain-relay.json")
    return "permissions-databases.schema.json";
  if (file == "permissions/datasets.json") return "permissions-datasets.schema.json";
  if (file.starts_with("permissions/")) return "permissions.schema.json";
  return file.substr(0, file.size() - 5) + ".schema.json";
}

TEST(PolicySchemas, EveryShippedFileIsValid) {
  size_t checked = 0;
  for (const auto& [path, text] : ShippedFiles()) {
    if (!path.ends_with(".json") || path.starts_with("schemas/")) continue;
    EXPECT_EQ(JsonSchema(SchemaOf(path)).Problems(Json::parse(text)), "") << path;
    ++checked;
  }
  EXPECT_EQ(checked, 5 + PermissionFiles().size());
}

struct Edit {
  const char* file;
  const char* patch;  // RFC 6902
  bool good;
};

class PolicySchemaEdit : public ::testing::TestWithParam<Edit> {};

TEST_P(PolicySchemaEdit, AgreesWithTheDecoder) {
  const Edit& edit = GetParam();
  PolicyFiles files = ShippedFiles();
  const Json document = Json::parse(files.at(edit.file)).patch(Json::parse(edit.patch));
  files[edit.file] = document.dump();
  auto policy = DecodePolicy(files);
  EXPECT_EQ(policy.has_value(), edit.good)
      << edit.patch << (policy ? "" : policy.error().ToString());
  const std::string problems = JsonSchema(SchemaOf(edit.file)).Problems(document);
  EXPECT_EQ(problems.empty(), edit.good) << edit.patch << "\n" << problems;
}

INSTANTIATE_TEST_SUITE_P(
    Edits, PolicySchemaEdit,
    ::testing::Values(
        Edit{"tools.json", R"([{"op":"remove","path":"/tools/r"}])", true},
        Edit{"tools.json", R"([{"op":"add","path":"/tools/r/x","value":1}])", false},
        Edit{"tools.json", R"([{"op":"remove","path":"/tools/r/images"}])", false},
        Edit{"tools.json", R"([{"op":"replace","path":"/tools/r/images","value":["R"]}])", false},
        Edit{"tools.json", R"([{"op":"remove","path":"/tools/r/any_command"}])", false},
        Edit{"tools.json", R"([{"op":"remove","path":"/tools/r/loopback_reason"}])", false},
        Edit{"tools.json", R"([{"op":"remove","path":"/tools/r/allow_loopback_sockets"}])", true},
        Edit{"tools.json", R"([{"op":"replace","path":"/tools/r/versions","value":[]}])", false},
        Edit{"tools.json", R"([{"op":"add","path":"/tools/r/digests","value":{"v1":"sha256:0"}}])",
             false},
        Edit{"tools.json", R"([{"op":"add","path":"/tools/r/limits","value":{"memory":"8G"}}])",
             true},
        Edit{"tools.json", R"([{"op":"add","path":"/tools/r/limits","value":{"disk":"8G"}}])",
             false},
        Edit{"tools.json", R"([{"op":"add","path":"/tools/r/any_command/levels/-",
             "value":"level5"}])",
             false},
        Edit{"tools.json", R"([{"op":"replace","path":"/tools/sqlrunner/preflight/0/check",
             "value":"none"}])",
             false},
        Edit{"projects.json", R"([{"op":"add","path":"/projects/0/x","value":1}])", false},
        Edit{"projects.json", R"([{"op":"replace","path":"/projects/1/kind","value":"other"}])",
             false},
        Edit{"projects.json", R"([{"op":"replace","path":"/projects/4/id","value":"17"}])", false},
        Edit{"projects.json", R"([{"op":"replace","path":"/projects/4/number","value":0}])", false},
        Edit{"projects.json", R"([{"op":"add","path":"/projects/5/accepts_unlisted_workspaces",
             "value":true}])",
             false},
        Edit{"projects.json", R"([{"op":"add","path":"/projects/5/workspaces/-","value":"a/b"}])",
             false},
        Edit{"roles.json", R"([{"op":"add","path":"/roles/researcher/starts/-","value":"x"}])",
             false},
        Edit{"roles.json", R"([{"op":"remove","path":"/roles/researcher/description"}])", false},
        Edit{"roles.json", R"([{"op":"remove","path":"/unlisted_users_are"}])", true},
        Edit{"levels.json", R"([{"op":"remove","path":"/moderately_sensitive/max_csv_rows"}])",
             false},
        Edit{"levels.json", R"([{"op":"remove","path":"/highly_sensitive"}])", false},
        Edit{"levels.json", R"([{"op":"replace","path":"/highly_sensitive/directory",
             "value":"medium_privacy"}])",
             false},
        Edit{"levels.json", R"([{"op":"replace","path":"/highly_sensitive/file_mode",
             "value":"0644"}])",
             false},
        Edit{"levels.json", R"([{"op":"replace","path":"/highly_sensitive/file_mode",
             "value":"0400"}])",
             true},
        Edit{"levels.json", R"([{"op":"remove","path":"/moderately_sensitive/checks/0"}])", false},
        Edit{"levels.json", R"([{"op":"remove","path":"/moderately_sensitive/group"}])", false},
        Edit{"roles.json", R"([{"op":"add","path":"/roles/researcher/groups","value":["r"]}])",
             true},
        Edit{"limits.json", R"([{"op":"replace","path":"/maxima","value":{}}])", true},
        Edit{"limits.json", R"([{"op":"remove","path":"/maxima"}])", false},
        Edit{"limits.json", R"([{"op":"add","path":"/maxima/pids","value":"many"}])", false},
        Edit{"permissions/ndoo.json", R"([{"op":"add","path":"/grants/-","value":{}}])", false},
        Edit{"permissions/ndoo.json", R"([{"op":"add","path":"/grants/-","value":{"project":1,
             "reason":"why","approver":"lead","date":"2026-01-01","link":"https://x"}}])",
             true},
        Edit{"permissions/ndoo.json", R"([{"op":"add","path":"/grants/-","value":{"project":1,
             "reason":"why","approver":"lead","date":"01/02/2026","link":"https://x"}}])",
             false},
        Edit{"permissions/ndoo.json", R"([{"op":"remove","path":"/description"}])", false},
        Edit{"permissions/databases.json", R"([{"op":"remove","path":"/grants/0/databases"}])",
             false},
        Edit{"permissions/databases.json", R"([{"op":"add","path":"/grants/0/datasets",
             "value":["x"]}])",
             false},
        Edit{"permissions/datasets.json", R"([{"op":"replace","path":"/grants/0/datasets",
             "value":[]}])",
             false}));

}  // namespace
}  // namespace carrel
