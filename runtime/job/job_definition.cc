#include "job/job_definition.h"

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/fs.h"
#include "job/utf8.h"
#include "policy/limits.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr int64_t kMaxSeconds = 253402300799;  // the end of year 9999
constexpr size_t kMaxArgs = 4096;
constexpr size_t kMaxEntries = 10000;
constexpr uint64_t kMinMilliCpus = 10;
constexpr uint64_t kMaxMilliCpus = 4'096'000;

const std::vector<std::string>& DefaultFileTypes() {
  static const std::vector<std::string> kTypes = {
      ".csv", ".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html", ".txt", ".log", ".json", ".md"};
  return kTypes;
}

// The agent's language writes a value it does not have as null.
Json WithoutNullOptionals(const Json& value) {
  static const std::set<std::string> kOptional = {"rap_id",
                                                  "task_id",
                                                  "study",
                                                  "project",
                                                  "created_at",
                                                  "image_sha",
                                                  "env",
                                                  "inputs",
                                                  "input_job_ids",
                                                  "allow_database_access",
                                                  "level4_max_csv_rows",
                                                  "level4_max_filesize",
                                                  "level4_file_types",
                                                  "user",
                                                  "database_name",
                                                  "cpu_count",
                                                  "memory_limit"};
  if (!value.is_object()) return value;
  Json copy = Json::object();
  for (const auto& [key, member] : value.items())
    if (!member.is_null() || !kOptional.contains(key)) copy[key] = member;
  return copy;
}

void ElementProblem(JsonObject& in, const std::string& key, size_t index, const std::string& what) {
  in.Merge(BadInput(in.PointerTo(key) + "/" + std::to_string(index), what));
}

std::string Name(JsonObject& in, const std::string& key, bool required) {
  if (!required && !in.Has(key)) return "";
  std::string text = in.RequiredString(key);
  if (in.Has(key) && !text.empty() && !IsName(text))
    in.Problem(key,
               "must begin with a letter or digit and hold only A-Z a-z 0-9 _ . - (no \"..\", no "
               "\"/\", 128 characters at most)");
  else if (in.Has(key) && text.empty())
    in.Problem(key, "must be a name of at least one character");
  return text;
}

void CheckCommit(JsonObject& in, const std::string& key, const std::string& commit) {
  if (commit.empty() || IsCommitHash(commit)) {
    if (commit.empty() && in.Has(key)) in.Problem(key, "must be a full commit hash");
    return;
  }
  const bool hex = std::all_of(commit.begin(), commit.end(), [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
  });
  in.Problem(key, hex ? "must be the full commit hash: 40 (or 64) lower-case hexadecimal digits"
                      : "\"" + commit.substr(0, 80) +
                            "\" is a branch or tag name; a job needs the full commit hash (40 or "
                            "64 hexadecimal digits), as `git rev-parse` prints it");
}

std::optional<Study> DecodeStudy(JsonObject& in) {
  const Json* value = in.Any("study");
  if (value == nullptr) return std::nullopt;
  Json without_nulls = *value;
  if (without_nulls.is_object())
    for (const char* key : {"commit", "branch"})
      if (auto found = without_nulls.find(key); found != without_nulls.end() && found->is_null())
        without_nulls.erase(found);
  JsonObject members(without_nulls, in.PointerTo("study"));
  Study study;
  study.git_repo_url = members.RequiredString("git_repo_url", 2048);
  study.commit = members.String("commit").value_or("");
  CheckCommit(members, "commit", study.commit);
  study.branch = members.String("branch").value_or("");
  in.Merge(members.Finish());
  return study;
}

std::string DecodeProject(JsonObject& in) {
  const Json* value = in.Any("project");
  if (value == nullptr) return "";
  if (value->is_number()) {
    auto number = in.Int("project", 1, 1'000'000'000);
    return number ? std::to_string(*number) : "";
  }
  return Name(in, "project", false);
}

void DecodeImage(JsonObject& in, JobDefinition& job) {
  job.image = in.RequiredString("image", 512);
  if (!job.image.empty() && !ParseImageReference(job.image))
    in.Problem("image", "must be name:tag, such as \"python:v2\" (lower-case name)");
  job.image_sha = in.String("image_sha").value_or("");
  if (!job.image_sha.empty() && !IsSha256Digest(job.image_sha))
    in.Problem("image_sha", "must be \"sha256:\" and 64 lower-case hexadecimal digits");
}

void DecodeEnvironment(JsonObject& in, JobDefinition& job) {
  job.env = in.StringMap("env").value_or(job.env);
  for (const auto& [name, value] : job.env)
    if (!IsEnvironmentName(name))
      in.Problem("env", "\"" + name.substr(0, 64) + "\" is not a name of an environment variable");
}

void DecodeOutputSpec(JsonObject& in, JobDefinition& job) {
  if (!in.Has("output_spec")) in.Problem("output_spec", "is required");
  auto spec = in.StringMap("output_spec");
  if (!spec) return;
  if (spec->size() > kMaxEntries) in.Problem("output_spec", "has more than 10000 patterns");
  JsonObject members(*in.Any("output_spec"), in.PointerTo("output_spec"));
  for (const auto& [pattern, name] : *spec) {
    (void)members.Any(pattern);
    if (auto problem = OutputPatternProblem(pattern)) members.Problem(pattern, *problem);
    if (auto level = ParseLevel(name))
      job.output_spec[pattern] = *level;
    else
      members.Problem(pattern, "unknown level \"" + name.substr(0, 64) +
                                   "\"; use \"highly_sensitive\" or \"moderately_sensitive\"");
  }
  // What is not a string was reported by StringMap.
  for (const auto& [pattern, member] : in.Any("output_spec")->items()) (void)members.Any(pattern);
  in.Merge(members.Finish());
}

void DecodeInputs(JsonObject& in, JobDefinition& job) {
  job.inputs = in.Strings("inputs").value_or(job.inputs);
  for (size_t i = 0; i < job.inputs.size(); ++i)
    if (!IsNormalRelativePath(job.inputs[i]) || !IsValidUtf8(job.inputs[i]))
      ElementProblem(in, "inputs", i, "must be a path relative to the workspace");
  job.input_job_ids = in.Strings("input_job_ids").value_or(job.input_job_ids);
  for (size_t i = 0; i < job.input_job_ids.size(); ++i)
    if (!IsName(job.input_job_ids[i])) ElementProblem(in, "input_job_ids", i, "is not a job id");
  if (job.inputs.size() > kMaxEntries) in.Problem("inputs", "has more than 10000 entries");
  if (job.input_job_ids.size() > kMaxEntries)
    in.Problem("input_job_ids", "has more than 10000 entries");
}

void DecodeLevel4(JsonObject& in, JobDefinition& job) {
  job.level4_max_csv_rows =
      in.Int("level4_max_csv_rows", 0, 1'000'000'000).value_or(job.level4_max_csv_rows);
  job.level4_max_filesize =
      in.Int("level4_max_filesize", 0, int64_t{1} << 40).value_or(job.level4_max_filesize);
  job.level4_file_types = in.Strings("level4_file_types", 32).value_or(DefaultFileTypes());
  for (const char* key : {"level4_max_csv_rows", "level4_max_filesize", "level4_file_types"})
    if (!in.Has(key)) job.unsaid.insert(key);
  for (size_t i = 0; i < job.level4_file_types.size(); ++i) {
    if (!IsFileType(job.level4_file_types[i]))
      ElementProblem(in, "level4_file_types", i,
                     "must be an ending such as \".csv\", in lower case");
  }
}

// A number of processors or bytes, as text or as a number.
void DecodeResource(JsonObject& in, const std::string& key,
                    std::optional<uint64_t> (*parse)(std::string_view), uint64_t least,
                    uint64_t most, const std::string& problem, uint64_t& target) {
  const Json* value = in.Any(key);
  if (value == nullptr) return;
  std::optional<uint64_t> amount;
  if (value->is_string() && in.String(key, 32))
    amount = parse(value->get_ref<const std::string&>());
  else if (value->is_number_unsigned() || value->is_number_float())
    amount = parse(value->dump());
  if (amount && *amount >= least && *amount <= most)
    target = *amount;
  else
    in.Problem(key, problem);
}

OrderedJson RedactedEnvironment(const std::map<std::string, std::string>& env) {
  OrderedJson redacted = OrderedJson::object();
  for (const auto& [name, value] : env)
    redacted[name] =
        name == "OPENSAFELY_BACKEND" || name == "EHRQL_PERMISSIONS" ? value : "[redacted]";
  return redacted;
}

}  // namespace

std::optional<std::string> OutputPatternProblem(std::string_view pattern) {
  if (pattern.empty()) return "an output pattern cannot be empty";
  if (pattern.front() == '/') return "an output pattern must be relative to the workspace";
  if (pattern.find('\\') != std::string_view::npos)
    return "an output pattern must not hold a backslash";
  if (!IsValidUtf8(pattern)) return "an output pattern must be UTF-8";
  if (!IsNormalRelativePath(pattern))
    return "an output pattern must stay in the workspace: no \"..\", \".\", empty part, NUL or "
           "control character";
  const std::string_view first = pattern.substr(0, pattern.find('/'));
  std::string lower(first);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  if (lower == "metadata") return "metadata/ belongs to carrel; use another directory";
  return std::nullopt;
}

Result<JobDefinition> DecodeJobDefinition(const Json& value) {
  const Json document = WithoutNullOptionals(value);
  JsonObject in(document, "");
  JobDefinition job;
  job.id = Name(in, "id", true);
  job.rap_id = in.String("rap_id").value_or("");
  job.task_id = in.String("task_id").value_or("");
  job.repo_url = in.RequiredString("repo_url", 2048);
  job.commit = in.RequiredString("commit");
  CheckCommit(in, "commit", job.commit);
  job.study = DecodeStudy(in);
  job.workspace = Name(in, "workspace", true);
  job.project = DecodeProject(in);
  job.action = Name(in, "action", true);
  job.created_at = in.Int("created_at", 0, kMaxSeconds).value_or(0);
  DecodeImage(in, job);
  if (!in.Has("args")) in.Problem("args", "is required");
  job.args = in.Strings("args", 128 << 10).value_or(job.args);
  if (job.args.size() > kMaxArgs) in.Problem("args", "has more than 4096 arguments");
  DecodeEnvironment(in, job);
  DecodeInputs(in, job);
  DecodeOutputSpec(in, job);
  job.allow_database_access = in.Bool("allow_database_access").value_or(false);
  DecodeLevel4(in, job);
  job.user = in.String("user", 256).value_or("");
  if (in.Has("database_name")) job.database_name = Name(in, "database_name", false);
  DecodeResource(in, "cpu_count", &ParseMilliCpus, kMinMilliCpus, kMaxMilliCpus,
                 "must be a number of processors from 0.01 to 4096, such as \"2\" or \"0.5\"",
                 job.cpu_milli);
  DecodeResource(in, "memory_limit", &ParseByteSize, kLeastMemory, kMostMemory, kMemoryForm,
                 job.memory_bytes);
  CARREL_TRY(in.Finish());
  return job;
}

JobRequest RequestOf(const JobDefinition& job) {
  JobRequest request;
  request.workspace = job.workspace;
  request.project = job.project;
  request.user = job.user;
  request.repo_url = job.repo_url;
  request.commit = job.commit;
  if (job.study) {
    request.study_repo_url = job.study->git_repo_url;
    request.study_commit = job.study->commit;
  }
  request.image = job.image;
  request.image_sha = job.image_sha;
  request.args = job.args;
  request.env = job.env;
  for (const auto& [pattern, level] : job.output_spec) request.levels.insert(level);
  request.allow_database_access = job.allow_database_access;
  request.database_name = job.database_name;
  request.memory_bytes = job.memory_bytes;
  request.cpu_milli = job.cpu_milli;
  request.level4_max_csv_rows = job.level4_max_csv_rows;
  request.level4_max_filesize = job.level4_max_filesize;
  request.level4_file_types = job.level4_file_types;
  request.level4_unsaid = job.unsaid;
  return request;
}

OrderedJson ToJson(const JobDefinition& job) {
  OrderedJson json;
  json["id"] = job.id;
  json["rap_id"] = job.rap_id;
  json["task_id"] = job.task_id;
  json["repo_url"] = job.repo_url;
  json["commit"] = job.commit;
  if (job.study)
    json["study"] = {{"git_repo_url", job.study->git_repo_url},
                     {"commit", job.study->commit},
                     {"branch", job.study->branch}};
  json["workspace"] = job.workspace;
  json["project"] = job.project;
  json["action"] = job.action;
  json["created_at"] = job.created_at;
  json["image"] = job.image;
  json["image_sha"] = job.image_sha;
  json["args"] = job.args;
  json["env"] = RedactedEnvironment(job.env);
  json["inputs"] = job.inputs;
  json["input_job_ids"] = job.input_job_ids;
  json["output_spec"] = OrderedJson::object();
  for (const auto& [pattern, level] : job.output_spec)
    json["output_spec"][pattern] = LevelName(level);
  json["allow_database_access"] = job.allow_database_access;
  json["level4_max_csv_rows"] = job.level4_max_csv_rows;
  json["level4_max_filesize"] = job.level4_max_filesize;
  json["level4_file_types"] = job.level4_file_types;
  json["user"] = job.user;
  json["database_name"] = job.database_name;
  json["cpu_count"] = static_cast<double>(job.cpu_milli) / 1000;
  json["memory_limit"] = job.memory_bytes;
  return json;
}

}  // namespace carrel
