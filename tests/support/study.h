// A host of its own for tests of `carrel run`: state directory, configuration, policies, a git
// repository with a study, and a tiny image, all below one temporary directory.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "support/carrel.h"

namespace carrel::testing_support {

/// What one `carrel run` gave back.
struct JobRun {
  int exit_code = -1;
  std::string output;  ///< stdout
  std::string errors;  ///< stderr
  Json json;           ///< stdout, which must be one JSON document
  Json results() const { return Member(json, "results", Json::object()); }
  std::string status() const { return Member(results(), "status_message", "").get<std::string>(); }
  std::string error() const { return Member(json, "error", "").get<std::string>(); }

  static Json Member(const Json& object, const char* name, Json other) {
    return object.is_object() ? object.value(name, other) : other;
  }
};

/// A carrel that runs in the background.
class RunningJob {
 public:
  RunningJob(pid_t pid, std::string output, std::string errors)
      : pid_(pid), output_(std::move(output)), errors_(std::move(errors)) {}
  RunningJob(RunningJob&& other) noexcept { *this = std::move(other); }
  RunningJob& operator=(RunningJob&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(output_, other.output_);
    std::swap(errors_, other.errors_);
    return *this;
  }
  ~RunningJob() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }
  std::string Errors() const { return ReadFile(errors_).value_or(""); }

  JobRun Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    JobRun run{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
               ReadFile(output_).value_or(""), ReadFile(errors_).value_or(""), Json()};
    run.json = Json::parse(run.output, nullptr, false);
    return run;
  }

 private:
  pid_t pid_ = -1;
  std::string output_, errors_;
};

/// Waits until `done`, at most `seconds`; says whether it came to be.
inline bool WaitFor(const std::function<bool()>& done, int seconds = 20) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

/// An OCI layout directory with one image of one layer: the contents of `rootfs`. `settings` is
/// the configuration's `config`.
inline void WriteOciLayout(const std::string& layout, const std::string& rootfs,
                           Json settings = {{"Env", {"PATH=/bin", "FROM_IMAGE=yes"}}}) {
  std::filesystem::create_directories(layout + "/blobs/sha256");
  auto put = [&](const std::string& text) {
    const std::string hex = Sha256Hex(text);
    WriteFile(layout + "/blobs/sha256/" + hex, text);
    return Json{{"digest", "sha256:" + hex}, {"size", text.size()}};
  };
  auto tar = RunChecked({"tar", "-C", rootfs, "--owner=0", "--group=0", "--sort=name", "-c", "."},
                        {.max_output = 256u << 20});
  ASSERT_TRUE(tar.has_value()) << tar.error().ToString();
  Json layer = put(*tar);
  layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar";
  Json config = put(Json{{"architecture", "amd64"},
                         {"os", "linux"},
                         {"config", std::move(settings)},
                         {"rootfs", {{"type", "layers"}, {"diff_ids", {layer["digest"]}}}}}
                        .dump());
  config["mediaType"] = "application/vnd.oci.image.config.v1+json";
  Json manifest = put(Json{
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
      {"config", config},
      {"layers", {layer}}}.dump());
  manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json";
  WriteFile(layout + "/index.json", Json{{"schemaVersion", 2}, {"manifests", {manifest}}}.dump());
  WriteFile(layout + "/oci-layout", R"({"imageLayoutVersion": "1.0.0"})");
}

/// A tmpfs of which the test decides how much is free.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    EXPECT_EQ(::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=1g"), 0);
    Places().insert(path_);
  }
  ~SmallDisk() {
    EXPECT_EQ(::umount2(path_.c_str(), MNT_DETACH), 0);
    Places().erase(path_);
  }
  /// Where such disks are mounted now.
  static std::set<std::string>& Places() {
    static std::set<std::string> places;
    return places;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  uint64_t Used() const {
    struct statvfs info {};
    EXPECT_EQ(::statvfs(path_.c_str(), &info), 0);
    return (info.f_blocks - info.f_bfree) * info.f_frsize;
  }
  void SetFree(uint64_t bytes) { Resize(Used() + bytes); }
  void Resize(uint64_t bytes) {
    const std::string options = "size=" + std::to_string(bytes / 1024 + 4) + "k";
    EXPECT_EQ(::mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT, options.c_str()), 0);
  }

 private:
  std::string path_;
};

class Study {
 public:
  enum class StateOn { kDisk, kSmallDisk };

  explicit Study(StateOn place = StateOn::kDisk) {
    std::filesystem::create_directories(state());
    if (place == StateOn::kSmallDisk) state_disk_.emplace(state());
    cgroup_parent_ = "carrel-test-" + std::to_string(::getpid());
    first_id_ = 1'000'000'000 + static_cast<uint32_t>(::getpid() % 1'000'000) * 16;
    MakeImage();
    std::filesystem::copy(CARREL_SOURCE_DIR "/policies", dir_ / "policies",
                          std::filesystem::copy_options::recursive);
    EditJson("policies/tools.json", [](Json& tools) {
      tools["tools"]["dbprobe"] = {
          {"description", "Test tool that reaches the database"},
          {"images", {"dbprobe"}},
          {"versions", {"v1"}},
          {"any_command",
           {{"database", true}, {"levels", {"highly_sensitive", "moderately_sensitive"}}}},
          {"opt_outs", "told"}};
    });
    config_ = {{"state", state()},
               {"policies", dir_ / "policies"},
               {"allowed_repositories", {dir_ / "repos"}},
               {"cgroup_parent", cgroup_parent_},
               {"uid_range", {{"start", first_id_}, {"count", 16}}},
               {"limits", {{"maxima", {{"time_seconds", 120}, {"scratch_bytes", "64M"}}}}}};
    WriteConfig();
    Git({"init", "--quiet", "--initial-branch=main", repository()}, "/");
    Commit({{"code.txt", "code\n"}, {"src/lib.txt", "library\n"}});
  }

  ~Study() {
    ::umount2((state() + "/bpf").c_str(), MNT_DETACH);
    for (const std::string& directory : CgroupParents()) ::rmdir(directory.c_str());
  }

  SmallDisk& state_disk() { return *state_disk_; }
  const std::string& path() const { return dir_.path(); }
  std::string state() const { return dir_ / "state"; }
  std::string repository() const { return dir_ / "repos/study"; }
  std::string high() const { return config_.value("high_privacy", state() + "/high_privacy"); }
  std::string medium() const {
    return config_.value("medium_privacy", state() + "/medium_privacy");
  }
  std::string level3(const std::string& name) const { return high() + "/workspaces/demo/" + name; }
  std::string level4(const std::string& name) const {
    return medium() + "/workspaces/demo/" + name;
  }
  const std::string& commit() const { return commit_; }
  uint32_t first_id() const { return first_id_; }
  const std::string& cgroup_parent() const { return cgroup_parent_; }
  Json& config() { return config_; }  ///< call WriteConfig afterwards

  void WriteConfig() { WriteFile(config_path(), config_.dump(2)); }
  std::string config_path() const { return dir_ / "carrel.json"; }

  void EditJson(const std::string& name, const std::function<void(Json&)>& edit) {
    auto value = ReadJsonFile(dir_ / name);
    ASSERT_TRUE(value.has_value()) << value.error().ToString();
    edit(*value);
    WriteFile(dir_ / name, value->dump(2));
  }

  std::string Git(std::vector<std::string> args, const std::string& directory) {
    args.insert(args.begin(), "git");
    SubprocessOptions options;
    options.directory = directory;
    options.environment = {{"GIT_AUTHOR_NAME", "study"},
                           {"GIT_AUTHOR_EMAIL", "s@example.org"},
                           {"GIT_COMMITTER_NAME", "study"},
                           {"GIT_COMMITTER_EMAIL", "s@e.org"},
                           {"GIT_CONFIG_GLOBAL", "/dev/null"}};
    auto output = RunChecked(args, options);
    EXPECT_TRUE(output.has_value()) << output.error().ToString();
    return output.value_or("");
  }

  /// Writes the files over what is there, commits, and makes the commit that of later jobs. A value
  /// that begins with "-> " is the target of a symbolic link.
  std::string Commit(const std::map<std::string, std::string>& files) {
    for (const auto& [name, text] : files) {
      const std::filesystem::path file = repository() + "/" + name;
      std::filesystem::create_directories(file.parent_path());
      if (text.starts_with("-> "))
        std::filesystem::create_symlink(text.substr(3), file);
      else
        WriteFile(file, text);
    }
    Git({"add", "--all"}, repository());
    Git({"commit", "--quiet", "--allow-empty", "-m", "study"}, repository());
    commit_ = Git({"rev-parse", "HEAD"}, repository()).substr(0, 40);
    return commit_;
  }

  /// A job whose action is a line of shell.
  Json Job(const std::string& script, Json output_spec = {{"output/*.csv", "highly_sensitive"}}) {
    return {{"id", "job" + std::to_string(++jobs_)},
            {"rap_id", "rap"},
            {"task_id", "task"},
            {"repo_url", repository()},
            {"commit", commit_},
            {"workspace", "demo"},
            {"action", "act"},
            {"created_at", 1'750'000'000},
            {"image", "python:v2"},
            {"args", {"sh", "-c", script}},
            {"output_spec", std::move(output_spec)},
            {"allow_database_access", false},
            {"memory_limit", "256M"},
            {"user", "developer"}};
  }

  /// Runs `carrel run` on a definition given as JSON, or as text.
  JobRun Run(const Json& job, std::vector<std::string> options = {}) {
    return RunText(job.dump(), std::move(options));
  }
  JobRun RunText(const std::string& text, std::vector<std::string> options = {}) {
    return StartText(text, std::move(options)).Wait();
  }
  RunningJob Start(const Json& job) { return StartText(job.dump(), {}); }

  RunningJob StartText(const std::string& text, std::vector<std::string> options) {
    const std::string name = dir_ / ("run" + std::to_string(++runs_));
    WriteFile(name + ".json", text);
    std::vector<std::string> args = {CARREL_BINARY, "run", name + ".json", "--config",
                                     config_path()};
    args.insert(args.end(), options.begin(), options.end());
    std::vector<char*> raw;
    for (std::string& arg : args) raw.push_back(arg.data());
    raw.push_back(nullptr);
    std::vector<char*> environment;
    for (std::string& entry : environment_) environment.push_back(entry.data());
    environment.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int flags = O_WRONLY | O_CREAT | O_TRUNC;
      ::dup2(::open((name + ".out").c_str(), flags, 0600), 1);
      ::dup2(::open((name + ".err").c_str(), flags, 0600), 2);
      const int program = ::open(raw[0], O_PATH | O_CLOEXEC);
      if (before_exec) before_exec();
      ::execve(raw[0], raw.data(), environment.data());
      // Another user now, whom a directory above (/root) lets not pass.
      ::syscall(SYS_execveat, program, "", raw.data(), environment.data(), AT_EMPTY_PATH);
      ::_exit(125);
    }
    return RunningJob(pid, name + ".out", name + ".err");
  }

  /// Called in the forked child before carrel is executed.
  std::function<void()> before_exec;
  /// carrel's own environment.
  void SetEnvironment(std::vector<std::string> entries) { environment_ = std::move(entries); }

  /// `carrel` with other arguments, and --state.
  SubprocessResult Carrel(std::vector<std::string> args) {
    args.push_back("--state");
    args.push_back(state());
    return RunCarrel(std::move(args));
  }

  /// Job logs' directory: high_privacy/logs/<month>/os-job-<id>; "" when there is none.
  std::string LogDirectory(const std::string& id) const {
    std::error_code ignored;
    for (const auto& month : std::filesystem::directory_iterator(high() + "/logs", ignored))
      if (std::filesystem::exists(month.path() / ("os-job-" + id)))
        return month.path() / ("os-job-" + id);
    return "";
  }
  Json Metadata(const std::string& id) const {
    return Json::parse(ReadFile(LogDirectory(id) + "/metadata.json").value_or(""), nullptr, false);
  }
  Json Manifest() const {
    return Json::parse(ReadFile(level4("metadata/manifest.json")).value_or(""), nullptr, false);
  }

  /// Directories of cgroup_parent in every hierarchy.
  std::vector<std::string> CgroupParents() const {
    std::vector<std::string> found;
    std::error_code ignored;
    const std::string root = "/sys/fs/cgroup/";
    if (std::filesystem::exists(root + cgroup_parent_)) found.push_back(root + cgroup_parent_);
    for (const auto& entry : std::filesystem::directory_iterator(root, ignored))
      if (std::filesystem::exists(entry.path() / cgroup_parent_))
        found.push_back(entry.path() / cgroup_parent_);
    return found;
  }

 private:
  void MakeImage() {
    const std::string root = dir_ / "rootfs";
    for (const char* name : {"bin", "tmp", "etc", "workspace"})
      std::filesystem::create_directories(root + "/" + name);
    std::filesystem::copy_file("/bin/busybox", root + "/bin/busybox");
    for (const char* applet :
         {"sh",   "cat",   "chmod", "cp",   "date", "dd",    "echo",   "env",  "find",
          "head", "id",    "kill",  "ln",   "ls",   "mkdir", "mkfifo", "mv",   "printf",
          "ps",   "rm",    "rmdir", "sed",  "seq",  "sleep", "stat",   "sync", "tail",
          "test", "touch", "tr",    "true", "wc",   "yes"})
      std::filesystem::create_symlink("busybox", root + "/bin/" + applet);
    WriteOciLayout(dir_ / "layout", root);
    auto imported = Carrel({"image", "import", dir_ / "layout", "--name", "python:v2"});
    ASSERT_EQ(imported.exit_code, 0) << imported.errors;
    for (const char* name : {"dbprobe:v1", "stata-mp:v1"}) {
      auto tagged = Carrel({"image", "tag", "python:v2", name});
      ASSERT_EQ(tagged.exit_code, 0) << tagged.errors;
    }
  }

  TempDir dir_;
  std::optional<SmallDisk> state_disk_;
  std::string cgroup_parent_;
  uint32_t first_id_ = 0;
  Json config_;
  std::string commit_;
  std::vector<std::string> environment_ = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  int jobs_ = 0;
  int runs_ = 0;
};

}  // namespace carrel::testing_support
