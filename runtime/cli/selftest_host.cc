#include "cli/selftest_host.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "base/clock.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "policy/bundle.h"
#include "policy/database_url.h"
#include "policy/names.h"
#include "policy/policy.h"

namespace carrel {
namespace {

constexpr const char* kQueryImage = "selftest-query:v1";
constexpr const char* kDatabase = "selftest";

Result<void> EditJson(const std::string& directory, const std::string& name,
                      const std::function<void(Json&)>& edit) try {
  CARREL_ASSIGN(Json value, ReadJsonFile(directory + "/" + name));
  edit(value);
  const std::filesystem::path path = directory + "/" + name;
  CARREL_ASSIGN(const UniqueFd parent,
                OpenPath(path.parent_path().string(), O_RDONLY | O_DIRECTORY));
  return WriteFileAtomic(parent.get(), path.filename().string(), value.dump(2) + "\n", 0644);
} catch (const Json::exception& error) {
  return BadInput(name, std::string("not of the expected form: ") + error.what());
}

Json GrantFor(const std::string& project) {
  return {{"project", project},
          {"reason", "The test studies of carrel selftest, in a copy of the policy"},
          {"approver", "carrel selftest"},
          {"date", "2020-01-01"},
          {"link", "https://example.org/selftest"}};
}

// Copies regular files; what else a study's directory may hold is not a study's.
Result<void> CopyTree(const std::string& from, const std::string& to) {
  std::error_code error;
  std::filesystem::create_directories(to, error);
  std::filesystem::copy(
      from, to,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::skip_symlinks,
      error);
  if (error) return Fault(from, "could not be copied: " + error.message());
  return {};
}

// The host's policy as files, wherever it has it.
Result<void> CopyPolicy(const HostConfig& host, const std::string& to) {
  PolicyFiles files;
  if (host.policy_bundle) {
    CARREL_ASSIGN(const std::string text, ReadFile(host.policy_bundle->file, 64u << 20));
    CARREL_ASSIGN(PolicyBundle bundle, VerifyBundle(text, *host.policy_bundle, NowNs()));
    files = std::move(bundle.files);
  } else {
    CARREL_ASSIGN(files, ReadPolicyFiles(host.policies));
  }
  CARREL_ASSIGN(const UniqueFd root, MakeDirs(to, 0755));
  for (const auto& [name, content] : files) {
    const size_t slash = name.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : name.substr(0, slash);
    CARREL_ASSIGN(const UniqueFd directory,
                  parent == "." ? OpenBeneath(root.get(), ".", O_RDONLY | O_DIRECTORY)
                                : MakeDirsBeneath(root.get(), parent, 0755));
    CARREL_TRY(WriteFileAtomic(directory.get(), name.substr(slash + 1), content, 0644));
  }
  return {};
}

std::string TimeName() {
  const time_t now = ::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  ::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return text;
}

}  // namespace

Result<std::unique_ptr<SelftestHost>> SelftestHost::Make(const SelftestHostRequest& request) {
  std::unique_ptr<SelftestHost> host(new SelftestHost);
  SelftestHost& made = *host;
  CARREL_ASSIGN(made.host_, LoadHostConfig(request.config, request.state));
  CARREL_ASSIGN(const UniqueFd parent, MakeDirs(made.host_.state + "/selftest", 0700));
  const std::string name = TimeName();
  made.name_ = name;
  for (int second = 2; ::mkdirat(parent.get(), made.name_.c_str(), 0700) != 0; ++second) {
    if (errno != EEXIST) return SysFault("selftest", "mkdir");
    made.name_ = name + "-" + std::to_string(second);
  }
  made.directory_ = made.host_.state + "/selftest/" + made.name_;
  CARREL_TRY(made.MakePolicies());
  CARREL_TRY(made.TagQueryTool());
  CARREL_TRY(made.ChooseDatabase(request.database));
  return host;
}

SelftestHost::~SelftestHost() {
  if (tagged_)
    if (auto store = ImageStore::Open(host_.state)) (void)store->Remove(kQueryImage);
  if (!password_file_.empty()) ::unlink(password_file_.c_str());
}

Result<void> SelftestHost::MakePolicies() {
  CARREL_TRY(CopyPolicy(host_, policies()));
  std::set<std::string> starters;
  CARREL_TRY(EditJson(policies(), "roles.json", [&](Json& roles) {
    for (const auto& [name, role] : roles["roles"].items())
      if (!role["starts"].empty()) starters.insert(name);
    roles["users"]["selftest"] = starters;
  }));
  CARREL_TRY(EditJson(policies(), "projects.json", [](Json& projects) {
    for (const char* name : {"selftest-internal", "selftest-listed", "selftest-unlisted"})
      projects["projects"].push_back(
          {{"id", name},
           {"name", "A fictitious project of carrel selftest"},
           {"kind", name == std::string("selftest-internal") ? "internal" : "research"},
           {"workspaces", {name}}});
  }));
  CARREL_TRY(EditJson(policies(), "permissions/databases.json", [](Json& file) {
    for (const char* name : {"selftest-internal", "selftest-listed", "selftest-unlisted"}) {
      Json grant = GrantFor(name);
      grant["databases"] = {kDatabase};
      file["grants"].push_back(grant);
    }
  }));
  CARREL_TRY(EditJson(policies(), "permissions/type-one-opt-outs.json",
                      [](Json& file) { file["grants"].push_back(GrantFor("selftest-listed")); }));
  CARREL_TRY(EditJson(policies(), "permissions/sql-runner.json",
                      [](Json& file) { file["grants"].push_back(GrantFor("selftest-internal")); }));
  return EditJson(policies(), "tools.json", [](Json& tools) {
    tools["tools"]["selftest-query"] = {
        {"description", "Stands for ehrQL in the test studies: told whom to include"},
        {"images", {"selftest-query"}},
        {"versions", {"v1"}},
        {"any_command", {{"database", true}, {"levels", {"highly_sensitive"}}}},
        {"opt_outs", "told"}};
  });
}

Result<void> SelftestHost::TagQueryTool() {
  CARREL_ASSIGN(ImageStore store, ImageStore::Open(host_.state));
  if (!store.Resolve("python:v2")) return {};
  CARREL_TRY(store.Tag("python:v2", kQueryImage));
  tagged_ = true;
  return {};
}

Result<void> SelftestHost::ChooseDatabase(const std::string& database) {
  if (database.empty()) return {};
  if (auto named = host_.databases.find(database); named != host_.databases.end()) {
    database_ = ToJson(named->second);
    return {};
  }
  constexpr std::string_view kSqlite = "sqlite://";
  if (database.starts_with(kSqlite)) {
    std::string path = database.substr(kSqlite.size());
    while (path.starts_with("//")) path.erase(0, 1);  // some write an absolute path with four
    if (::access(path.c_str(), F_OK) != 0)
      return BadInput("--database", "there is no file " + path, "sqlite:///PATH, from the root on");
    database_ = {{"kind", "sqlite"}, {"path", path}};
    return {};
  }
  return DatabaseFromUrl(database);
}

Result<void> SelftestHost::DatabaseFromUrl(const std::string& text) {
  auto url = ParseDatabaseUrl(text);
  if (!url) {
    url.error().where = "--database";
    url.error().hint += "; or sqlite:///PATH, or a name of the configuration";
    return std::move(url).error();
  }
  password_file_ = directory_ + "/credentials";
  CARREL_ASSIGN(const UniqueFd directory, OpenPath(directory_, O_RDONLY | O_DIRECTORY));
  CARREL_TRY(WriteFileAtomic(directory.get(), "credentials", url->password + "\n", 0600));
  database_ = {{"kind", "postgresql"},
               {"host", url->host},
               {"port", url->port},
               {"database", url->database},
               {"tls", {{"mode", url->tls_mode}}},
               {"credentials", {{"file", password_file_}, {"user", url->user}}}};
  return {};
}

bool SelftestHost::HasImage(const std::string& name) const {
  auto store = ImageStore::Open(host_.state);
  return store && store->Resolve(name).has_value();
}

Result<void> SelftestHost::TakeDatabase(const std::string& file) {
  if (has_database()) return {};
  const std::string path = directory_ + "/database";
  CARREL_ASSIGN(const UniqueFd directory, MakeDirs(path, 0700));
  CARREL_ASSIGN(const std::string content, ReadFile(file, 64u << 20));
  CARREL_TRY(WriteFileAtomic(directory.get(), "patients.sqlite", content, 0644));
  database_ = {{"kind", "sqlite"}, {"path", path + "/patients.sqlite"}};
  return {};
}

Result<std::string> SelftestHost::MakeRepository(const TestStudy& study) const {
  const std::string place = directory_ + "/studies/" + study.name;
  if (::access((place + "/.git").c_str(), F_OK) == 0) return place;
  CARREL_TRY(CopyTree(study.directory, place));
  SubprocessOptions options;
  options.directory = place;
  options.environment = {
      {"HOME", "/nonexistent"}, {"GIT_CONFIG_NOSYSTEM", "1"}, {"GIT_CONFIG_GLOBAL", "/dev/null"}};
  // The same names and times: the same files are the same commit on every host.
  for (const std::string who : {"AUTHOR", "COMMITTER"}) {
    options.environment["GIT_" + who + "_NAME"] = "carrel selftest";
    options.environment["GIT_" + who + "_EMAIL"] = "selftest@example.org";
    options.environment["GIT_" + who + "_DATE"] = "1767225600 +0000";
  }
  const std::vector<std::vector<std::string>> commands = {
      {"init", "--quiet", "--initial-branch=main", "--template=", "."},
      {"add", "--all"},
      {"commit", "--quiet", "--message=A test study"}};
  for (std::vector<std::string> command : commands) {
    command.insert(command.begin(), "git");
    CARREL_TRY(RunChecked(command, options));
  }
  return place;
}

Result<std::string> SelftestHost::WriteConfig(const TestStudy& study, const TestRun& run) const {
  Json config = ToJson(host_);
  const std::string place = study.name + "-" + run.project;
  config["policies"] = policies();
  config["high_privacy"] = directory_ + "/results/" + place + "/high_privacy";
  config["medium_privacy"] = directory_ + "/results/" + place + "/medium_privacy";
  config["allowed_repositories"] = {directory_ + "/studies"};
  config["databases"] = Json::object();
  if (has_database()) config["databases"][kDatabase] = database_;
  for (const auto& [name, value] : run.limits.items()) config["limits"]["maxima"][name] = value;
  // carrel's own defaults: the maxima above may be below the host's.
  config["limits"].erase("defaults");
  config.erase("docker");  // it names databases of the host
  config.erase("policy_bundle");
  CARREL_ASSIGN(const UniqueFd directory, MakeDirs(directory_ + "/configurations", 0700));
  CARREL_TRY(WriteFileAtomic(directory.get(), place + ".json", config.dump(2) + "\n", 0600));
  return directory_ + "/configurations/" + place + ".json";
}

Result<PipelineResult> SelftestHost::Run(const TestStudy& study, const TestRun& run,
                                         HostConfig& host, std::string& commit) const {
  CARREL_ASSIGN(const std::string repository, MakeRepository(study));
  PipelineRequest request;
  CARREL_ASSIGN(request.config, WriteConfig(study, run));
  CARREL_ASSIGN(request.host, LoadHostConfig(request.config));
  host = request.host;
  CARREL_ASSIGN(const WorkTree tree,
                OpenWorkTree({.directory = repository,
                              .state_dir = host.state,
                              .allowed_repositories = host.allowed_repositories}));
  commit = tree.commit;
  CARREL_ASSIGN(const ProjectFile project, ParseProject(tree.project, study.name));
  request.tree = &tree;
  request.project = &project;
  request.workspace = "selftest-" + run.project;
  request.user = "selftest";
  request.database = kDatabase;
  request.force = true;
  request.jobs = 2;
  request.memory_bytes =
      ParseByteSize(run.memory.empty() ? "512M" : run.memory).value_or(512u << 20);
  if (!run.cancel.empty())
    request.cancel = [&](const std::vector<ActionRun>& actions) {
      for (const ActionRun& action : actions)
        if (action.name == run.cancel && action.state == ActionState::kRunning)
          return action.step == 10 && action.duration_ms > 1000;
      return false;
    };
  return RunPipeline(request);
}

}  // namespace carrel
