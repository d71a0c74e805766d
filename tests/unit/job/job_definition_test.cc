#include "job/job_definition.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

Json MinimalJob() {
  return Json{{"id", "job1"},
              {"workspace", "demo"},
              {"action", "extract"},
              {"repo_url", "https://github.com/opensafely/demo"},
              {"commit", std::string(40, 'a')},
              {"image", "python:v2"},
              {"args", {"python", "analysis/x.py"}},
              {"output_spec", {{"output/*.csv", "moderately_sensitive"}}}};
}

// The error text of a job with one member changed; "" when it decodes.
std::string ErrorWith(const std::string& key, const Json& value) {
  Json job = MinimalJob();
  job[key] = value;
  auto decoded = DecodeJobDefinition(job);
  if (decoded) return "";
  EXPECT_EQ(decoded.error().kind, ErrorKind::kBadInput);
  return decoded.error().ToString();
}

TEST(JobDefinition, MinimalGetsTheDefaultsOfTheContract) {
  auto job = DecodeJobDefinition(MinimalJob());
  ASSERT_TRUE(job.has_value()) << job.error().ToString();
  EXPECT_EQ(job->cpu_milli, 2000u);
  EXPECT_EQ(job->memory_bytes, 4ull << 30);
  EXPECT_EQ(job->level4_max_csv_rows, 5000);
  EXPECT_EQ(job->level4_max_filesize, 16 << 20);
  EXPECT_EQ(job->level4_file_types.size(), 11u);
  EXPECT_EQ(job->database_name, "default");
  EXPECT_FALSE(job->allow_database_access);
  EXPECT_FALSE(job->study.has_value());
  EXPECT_EQ(job->output_spec.at("output/*.csv"), Level::kModeratelySensitive);
}

TEST(JobDefinition, FullDefinitionAsTheAgentSendsIt) {
  auto parsed = ParseJson(R"({
    "id": "abc123", "rap_id": "r1", "task_id": "t1",
    "repo_url": "https://github.com/opensafely/study",
    "commit": "0123456789012345678901234567890123456789",
    "study": {"git_repo_url": "https://github.com/opensafely/study",
              "commit": "0123456789012345678901234567890123456789", "branch": "feature/x"},
    "workspace": "ws-1", "action": "generate_dataset", "created_at": 1785000000,
    "image": "registry.example/opensafely-core/ehrql:v1",
    "image_sha": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "args": ["generate-dataset", "analysis/d.py", "--output", "output/d.csv.gz"],
    "env": {"OPENSAFELY_BACKEND": "tpp", "EHRQL_PERMISSIONS": "[]", "TOKEN": "s3cret"},
    "inputs": [], "input_job_ids": ["abc122"],
    "output_spec": {"output/d.csv.gz": "highly_sensitive"},
    "allow_database_access": true, "level4_max_csv_rows": 5000, "level4_max_filesize": 16777216,
    "level4_file_types": [".csv", ".txt"], "user": "a-user", "database_name": "default",
    "cpu_count": "0.5", "memory_limit": "512M", "project": 7})",
                          "job.json");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  auto job = DecodeJobDefinition(*parsed);
  ASSERT_TRUE(job.has_value()) << job.error().ToString();
  EXPECT_EQ(job->cpu_milli, 500u);
  EXPECT_EQ(job->memory_bytes, 512ull << 20);
  EXPECT_EQ(job->project, "7");
  EXPECT_EQ(job->study->branch, "feature/x");
  const JobRequest request = RequestOf(*job);
  EXPECT_EQ(request.study_repo_url, "https://github.com/opensafely/study");
  EXPECT_EQ(request.levels, std::set<Level>{Level::kHighlySensitive});
  EXPECT_EQ(request.memory_bytes, 512ull << 20);
  EXPECT_TRUE(request.allow_database_access);
  const std::string record = ToJson(*job).dump();
  EXPECT_EQ(record.find("s3cret"), std::string::npos);
  EXPECT_NE(record.find("\"OPENSAFELY_BACKEND\":\"tpp\""), std::string::npos);
}

TEST(JobDefinition, NullIsAbsentWhereAMemberIsOptionalOnly) {
  EXPECT_EQ(ErrorWith("image_sha", nullptr), "");
  EXPECT_EQ(ErrorWith("user", nullptr), "");
  EXPECT_EQ(ErrorWith("study", nullptr), "");
  EXPECT_NE(ErrorWith("id", nullptr).find("/id: must be a string"), std::string::npos);
}

TEST(JobDefinition, AllProblemsAtOnceWithPointers) {
  Json job = MinimalJob();
  job.erase("image");
  job["workspace"] = "../other";
  job["extra"] = 1;
  job["created_at"] = 1e40;
  job["output_spec"] = {{"/etc/passwd", "highly_sensitive"}, {"output/a.csv", "level3"}};
  auto decoded = DecodeJobDefinition(job);
  ASSERT_FALSE(decoded.has_value());
  const std::string text = decoded.error().ToString();
  for (const char* expected : {"/image: is required", "/workspace: must begin",
                               "/extra: unknown key", "/created_at: must be a whole number",
                               "/output_spec/~1etc~1passwd: an output pattern must be relative",
                               "/output_spec/output~1a.csv: unknown level \"level3\""})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << " in " << text;
}

TEST(JobDefinition, EachRequiredMemberIsRequired) {
  for (const char* key :
       {"id", "workspace", "action", "repo_url", "commit", "image", "args", "output_spec"}) {
    Json job = MinimalJob();
    job.erase(key);
    auto decoded = DecodeJobDefinition(job);
    ASSERT_FALSE(decoded.has_value()) << key;
    EXPECT_NE(decoded.error().ToString().find(std::string(key) + ": is required"),
              std::string::npos);
  }
}

struct BadMember {
  const char* key;
  const char* json;
  const char* expected;
};

class JobDefinitionBadMember : public ::testing::TestWithParam<BadMember> {};

TEST_P(JobDefinitionBadMember, IsRefusedWithItsPlace) {
  const BadMember& bad = GetParam();
  const std::string text = ErrorWith(bad.key, Json::parse(bad.json));
  EXPECT_NE(text.find(bad.expected), std::string::npos) << text;
}

INSTANTIATE_TEST_SUITE_P(
    All, JobDefinitionBadMember,
    ::testing::Values(
        BadMember{"id", "\"a/b\"", "/id: must begin"},
        BadMember{"id", "\"\"", "/id: must be a name"},
        BadMember{"id", "\"a..b\"", "/id: must begin"},
        BadMember{"id", "\".a\"", "/id: must begin"},
        BadMember{"id", "\"a\\u0000b\"", "/id: holds a NUL"},
        BadMember{"id", "\"\\u0435hr\"", "/id: must begin"},
        BadMember{"id", "7", "/id: must be a string"},
        BadMember{"action", "\"../x\"", "/action: must begin"},
        BadMember{"action", "\"a\\nb\"", "/action: holds a NUL or control"},
        BadMember{"commit", "\"main\"", "/commit: \"main\" is a branch or tag name"},
        BadMember{"commit", "\"abc123\"", "/commit: must be the full commit hash"},
        BadMember{"commit", "\"\"", "/commit: must be a full commit hash"},
        BadMember{"commit", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
                  "/commit: must be the full"},
        BadMember{"image", "\"python\"", "/image: must be name:tag"},
        BadMember{"image", "\"Python:v2\"", "/image: must be name:tag"},
        BadMember{"image", "\"../python:v2\"", "/image: must be name:tag"},
        BadMember{"image", "\"python:v2@sha256:00\"", "/image: must be name:tag"},
        BadMember{"image_sha", "\"sha256:12\"", "/image_sha: must be"},
        BadMember{"args", "\"python x\"", "/args: must be a list"},
        BadMember{"args", "[\"a\", 3]", "/args/1: must be a string"},
        BadMember{"args", "[\"a\\u0000\"]", "/args/0: holds a NUL"},
        BadMember{"env", "{\"A=B\": \"x\"}", "is not a name of an environment variable"},
        BadMember{"env", "{\"A\": 1}", "/env/A: must be a string"},
        BadMember{"output_spec", "{\"../x.csv\": \"highly_sensitive\"}", "/output_spec/..~1x.csv"},
        BadMember{"output_spec", "{\"a/../x\": \"highly_sensitive\"}",
                  "must stay in the workspace"},
        BadMember{"output_spec", "{\"a\\\\b\": \"highly_sensitive\"}", "must not hold a backslash"},
        BadMember{"output_spec", "{\"a\\u0001\": \"highly_sensitive\"}", "control character"},
        BadMember{"output_spec", "{\"\": \"highly_sensitive\"}", "cannot be empty"},
        BadMember{"output_spec", "{\"metadata/x.log\": \"highly_sensitive\"}", "metadata/ belongs"},
        BadMember{"output_spec", "{\"Metadata\": \"highly_sensitive\"}", "metadata/ belongs"},
        BadMember{"output_spec", "{\"a\": 3}", "/output_spec/a: must be a string"},
        BadMember{"output_spec", "[]", "/output_spec: must be an object"},
        BadMember{"inputs", "[\"/etc/passwd\"]", "/inputs/0: must be a path"},
        BadMember{"input_job_ids", "[\"../x\"]", "/input_job_ids/0: is not a job id"},
        BadMember{"allow_database_access", "\"true\"",
                  "/allow_database_access: must be true or false"},
        BadMember{"cpu_count", "\"many\"", "/cpu_count: must be"},
        BadMember{"cpu_count", "0", "/cpu_count: must be"},
        BadMember{"cpu_count", "1e30", "/cpu_count: must be"},
        BadMember{"cpu_count", "-1", "/cpu_count: must be"},
        BadMember{"memory_limit", "\"4X\"", "/memory_limit: must be"},
        BadMember{"memory_limit", "\"99999999999G\"", "/memory_limit: must be"},
        BadMember{"memory_limit", "1024", "/memory_limit: must be"},
        BadMember{"memory_limit", "\"-4G\"", "/memory_limit: must be"},
        BadMember{"level4_file_types", "[\"csv\"]", "must be an ending"},
        BadMember{"level4_max_csv_rows", "-1", "/level4_max_csv_rows"},
        BadMember{"study", "{\"git_repo_url\": \"x\", \"branches\": 1}",
                  "/study/branches: unknown key"},
        BadMember{"study", "{}", "/study/git_repo_url: is required"},
        BadMember{"project", "0", "/project: must be a whole number"},
        BadMember{"project", "\"a/b\"", "/project: must begin"},
        BadMember{"user", "\"a\\u001b[31m\"", "/user: holds a NUL or control"}));

TEST(JobDefinition, MemoryAndProcessorsInEveryForm) {
  for (const auto& [value, bytes] : std::map<std::string, uint64_t>{{"\"4G\"", 4ull << 30},
                                                                    {"\"4gb\"", 4ull << 30},
                                                                    {"\"1.5G\"", 3ull << 29},
                                                                    {"\"20971520\"", 20971520},
                                                                    {"20971520", 20971520},
                                                                    {"\"65536K\"", 64ull << 20}}) {
    Json job = MinimalJob();
    job["memory_limit"] = Json::parse(value);
    auto decoded = DecodeJobDefinition(job);
    ASSERT_TRUE(decoded.has_value()) << value;
    EXPECT_EQ(decoded->memory_bytes, bytes) << value;
  }
  for (const auto& [value, milli] : std::map<std::string, uint64_t>{
           {"\"2\"", 2000}, {"\"0.5\"", 500}, {"2", 2000}, {"0.25", 250}}) {
    Json job = MinimalJob();
    job["cpu_count"] = Json::parse(value);
    auto decoded = DecodeJobDefinition(job);
    ASSERT_TRUE(decoded.has_value()) << value;
    EXPECT_EQ(decoded->cpu_milli, milli) << value;
  }
}

TEST(JobDefinition, PatternsMayBeGlobs) {
  for (const char* pattern : {"output/*.csv", "output/**/x?.png", "output/[ab].csv", "x.csv"})
    EXPECT_FALSE(OutputPatternProblem(pattern).has_value()) << pattern;
}

TEST(JobDefinition, ADocumentThatIsNoObjectIsAnError) {
  EXPECT_FALSE(DecodeJobDefinition(Json::array()).has_value());
  EXPECT_FALSE(DecodeJobDefinition(Json(3)).has_value());
}

}  // namespace
}  // namespace carrel
