// carrel gc, carrel metrics, the journal's fields, and what `cmake --install` puts on a host.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <regex>

#include "support/agent.h"
#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

void MakeOld(const std::string& path) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

class Service : public ::testing::Test {
 protected:
  SubprocessResult Gc(std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"gc", "--config", study_.config_path()};
    args.insert(args.end(), more.begin(), more.end());
    return RunCarrel(args);
  }
  std::string Log(const std::string& id) { return study_.state() + "/audit/" + id + ".carrel-log"; }
  static bool Exists(const std::string& path) { return std::filesystem::exists(path); }

  Study study_;
};

TEST_F(Service, GcKeepsToTheRetentionAndToUnsealedLogs) {
  for (int i = 0; i < 3; ++i) ASSERT_EQ(study_.Run(study_.Job("echo > output/a.csv")).exit_code, 0);
  const std::string sealed = Log("job1"), unsealed = Log("job2"), young = Log("job3");
  const std::string altered = Log("altered");
  // One whose last block is missing, and one that is another job's.
  std::filesystem::copy_file(sealed, altered);
  std::filesystem::resize_file(unsealed, std::filesystem::file_size(unsealed) - 10);
  for (const std::string& log : {sealed, unsealed, altered}) MakeOld(log);
  const std::string old_logs = study_.LogDirectory("job1"), new_logs = study_.LogDirectory("job3");
  MakeOld(old_logs + "/metadata.json");
  const std::string dead = study_.state() + "/run/dead";
  std::filesystem::create_directories(dead + "/scratch");
  WriteFile(dead + ".lock", "");

  // Nothing is old where the configuration keeps for ever; what is dead always goes.
  auto dry = Gc({"--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.errors;
  EXPECT_THAT(dry.output, AllOf(HasSubstr("would go  scratch"), Not(HasSubstr("audit log"))));
  study_.config()["retention"] = {{"audit_days", 30}, {"log_days", 30}, {"image_days", 30}};
  study_.WriteConfig();
  dry = Gc({"--dry-run"});
  EXPECT_THAT(dry.output,
              AllOf(HasSubstr("would go  audit log      job1"), HasSubstr("would go  job log")));
  EXPECT_TRUE(Exists(sealed) && Exists(old_logs) && Exists(dead));

  auto done = Gc();
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_FALSE(Exists(sealed));
  EXPECT_TRUE(Exists(unsealed) && Exists(young) && Exists(altered));
  EXPECT_THAT(done.output, AllOf(HasSubstr("kept      audit log      job2 (it is not sealed)"),
                                 HasSubstr("kept      audit log      altered (it is altered)")));
  EXPECT_FALSE(Exists(old_logs));
  EXPECT_TRUE(Exists(new_logs));
  EXPECT_THAT(Leftovers(study_), IsEmpty());
  EXPECT_TRUE(Exists(study_.level3("output/a.csv")));
}

// The agent leaves a job that ended in an error where it is.
TEST_F(Service, GcCleansUpJobsThatAreLongOver) {
  Agent agent(study_);
  const Json failed = study_.Job("true"), waits = study_.Job("true"), young = study_.Job("true");
  for (const Json& job : {failed, waits, young}) {
    agent.Call("prepare", job);
    agent.Settle(job);
  }
  for (const Json& job : {failed, young}) agent.Call("finalize", job, {"--error", "the agent's"});
  const auto directory = [&](const Json& job) {
    return study_.state() + "/jobs/" + job["id"].get<std::string>();
  };
  for (const Json& job : {failed, waits}) {
    agent.Settle(job);
    Json step = Json::parse(ReadFile(directory(job) + "/step.json").value_or(""));
    step["timestamp_ns"] = 1'000'000'000'000'000'000;
    WriteFile(directory(job) + "/step.json", step.dump());
  }
  EXPECT_THAT(Gc({"--dry-run"}).output, HasSubstr("would go  job"));
  EXPECT_TRUE(Exists(directory(failed)));
  const auto done = Gc();
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_THAT(done.output, HasSubstr("it is prepared"));
  EXPECT_FALSE(Exists(directory(failed)));
  EXPECT_TRUE(Exists(directory(waits)) && Exists(directory(young)));
  EXPECT_EQ(agent.Call("status", failed).state(), "finalized");
}

TEST_F(Service, GcRemovesOldImagesThatNoToolNames) {
  ASSERT_EQ(
      study_.Carrel({"image", "import", study_.path() + "/layout", "--name", "odd:v1"}).exit_code,
      0);
  study_.config()["retention"] = {{"image_days", 30}};
  study_.WriteConfig();
  // It is the same image as python:v2, which a tool names.
  EXPECT_EQ(Gc().exit_code, 0);
  EXPECT_EQ(study_.Carrel({"image", "inspect", "odd:v1"}).exit_code, 0);
  for (const char* name : {"python:v2", "dbprobe:v1", "stata-mp:v1"})
    ASSERT_EQ(study_.Carrel({"image", "remove", name}).exit_code, 0);
  EXPECT_EQ(Gc().exit_code, 0);  // not old yet
  EXPECT_EQ(study_.Carrel({"image", "inspect", "odd:v1"}).exit_code, 0);
  auto aged =
      RunChecked({"sh", "-c",
                  "grep -rlE '\"imported\":\"20' '" + study_.state() +
                      "/images' | xargs sed -i 's/\"imported\":\"20../\"imported\":\"2001/'"});
  ASSERT_TRUE(aged.has_value()) << aged.error().ToString();
  auto done = Gc();
  EXPECT_THAT(done.output, HasSubstr("removed   image          odd:v1"));
  EXPECT_NE(study_.Carrel({"image", "inspect", "odd:v1"}).exit_code, 0);
}

TEST_F(Service, GcLeavesAPipelineThatRunsForDaysItsFiles) {
  const std::string files = study_.state() + "/pipelines/run/abc";
  std::filesystem::create_directories(files);
  MakeOld(files);
  {
    const UniqueFd held(::open(files.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::flock(held.get(), LOCK_SH), 0);
    EXPECT_THAT(Gc().output, HasSubstr("kept      pipeline files abc (it is in use)"));
    EXPECT_TRUE(Exists(files));
  }
  EXPECT_EQ(Gc().exit_code, 0);
  EXPECT_FALSE(Exists(files));
}

TEST_F(Service, MetricsAreThoseOfTheHost) {
  ASSERT_EQ(study_.Run(study_.Job("echo > output/a.csv")).exit_code, 0);
  ASSERT_EQ(study_.Run(study_.Job("exit 3")).exit_code, 1);
  WriteFile(Log("broken"), "BLK1");
  auto text = RunCarrel({"metrics", "--config", study_.config_path()});
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output,
              AllOf(HasSubstr("carrel_jobs_finished_day{outcome=\"succeeded\"} 1\n"),
                    HasSubstr("carrel_jobs_finished_day{outcome=\"failed\"} 1\n"),
                    HasSubstr("carrel_audit_logs{state=\"sealed\"} 2\n"),
                    HasSubstr("carrel_audit_logs{state=\"unsealed\"} 1\n"),
                    HasSubstr("carrel_jobs_running 0\n"), HasSubstr("carrel_policy_good 1\n"),
                    HasSubstr("carrel_images 1\n"), HasSubstr("carrel_disk_free_bytes{place=")));
  // The format: comments, or name{label="value"} number; each metric has help and type.
  const std::regex line(
      R"re(# (HELP|TYPE) [a-z0-9_]+ .+|[a-z0-9_]+(\{[a-z]+="[^"\\]*"\})? [0-9.e+-]+)re");
  std::istringstream lines(text.output);
  for (std::string one; std::getline(lines, one);) EXPECT_TRUE(std::regex_match(one, line)) << one;

  const std::string file = study_.path() + "/textfile/carrel.prom";
  std::filesystem::create_directories(study_.path() + "/textfile");
  ASSERT_EQ(RunCarrel({"metrics", "--config", study_.config_path(), "-o", file}).exit_code, 0);
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
  EXPECT_EQ(Listing(study_.path() + "/textfile").size(), 2u);
  const std::string nowhere = study_.path() + "/none/carrel.prom";
  EXPECT_EQ(RunCarrel({"metrics", "--config", study_.config_path(), "-o", nowhere}).exit_code, 2);
}

TEST_F(Service, TheConfigurationSaysWhereTheStateIs) {
  ASSERT_EQ(study_.Run(study_.Job("echo > output/a.csv")).exit_code, 0);
  const SubprocessOptions configured = {.environment = {{"CARREL_CONFIG", study_.config_path()}}};
  EXPECT_THAT(RunCarrel({"audit", "list"}, configured).output, HasSubstr("job1"));
  EXPECT_THAT(RunCarrel({"image", "list"}, configured).output, HasSubstr("python:v2"));
}

// A journal of the test's own, where a carrel in its own mount namespace finds the host's.
class Journal {
 public:
  explicit Journal(const std::string& directory) : directory_(directory) {
    std::filesystem::create_directories(directory);
    fd_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (directory + "/socket").copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void EnterInChild() const {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0 || ::mkdir("/run/systemd", 0755) != 0 ||
        ::mkdir("/run/systemd/journal", 0755) != 0 ||
        ::mount(directory_.c_str(), "/run/systemd/journal", nullptr, MS_BIND, nullptr) != 0)
      ::_exit(99);
  }
  std::string Next() const {
    char entry[65536];
    const ssize_t size = ::recv(fd_.get(), entry, sizeof entry, 0);
    return size > 0 ? std::string(entry, static_cast<size_t>(size)) : "";
  }

 private:
  std::string directory_;
  UniqueFd fd_;
};

TEST_F(Service, MessagesInTheJournalHaveFields) {
  const Journal journal(study_.path() + "/journal");
  study_.before_exec = [&] { journal.EnterInChild(); };
  struct stat info {};
  // The stream is named by device and inode: the file exists before it is opened again.
  WriteFile(study_.path() + "/run1.err", "");
  ASSERT_EQ(::stat((study_.path() + "/run1.err").c_str(), &info), 0);
  study_.SetEnvironment(
      {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
       "JOURNAL_STREAM=" + std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino)});
  Json job = study_.Job("true");
  job["image"] = "nosuchtool:v1\nPRIORITY=0";
  job["id"] = "refused1";
  const JobRun run = study_.Run(job);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, Not(HasSubstr("nosuchtool")));
  const std::string entry = journal.Next();
  EXPECT_THAT(entry, AllOf(HasSubstr("PRIORITY=3\n"), HasSubstr("SYSLOG_IDENTIFIER=carrel\n"),
                           HasSubstr("CARREL_JOB=refused1\n"), HasSubstr("CARREL_ACTION=act\n"),
                           HasSubstr("CARREL_ERROR=bad input\n"), HasSubstr("MESSAGE")));
  // No value makes a field of its own.
  EXPECT_THAT(entry, Not(HasSubstr("\nPRIORITY=0")));

  // Another stream is no journal: plain text.
  study_.SetEnvironment({"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "JOURNAL_STREAM=1:1"});
  EXPECT_THAT(study_.Run(job).errors, HasSubstr("carrel: "));
  EXPECT_EQ(journal.Next(), "");
}

class Installed : public ::testing::Test {
 protected:
  void SetUp() override {
    SubprocessOptions options;
    options.environment["DESTDIR"] = dir_.path();
    auto installed =
        RunChecked({"cmake", "--install", CARREL_BUILD_DIR, "--prefix", "/usr"}, options);
    ASSERT_TRUE(installed.has_value()) << installed.error().ToString();
  }
  std::string Place(const std::string& path) { return dir_.path() + path; }

  TempDir dir_;
};

TEST_F(Installed, RunsFromThere) {
  const std::string carrel = Place("/usr/bin/carrel"), share = Place("/usr/share/carrel");
  auto list = RunChecked({carrel, "selftest", "--list"});
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  EXPECT_THAT(*list, AllOf(HasSubstr("opt-outs"), HasSubstr("limits")));
  auto policy = RunChecked({carrel, "policy", "check", share + "/policies"});
  EXPECT_TRUE(policy.has_value()) << policy.error().ToString();
  auto check = RunChecked({carrel, "pipeline", "check", share + "/studies/names"});
  EXPECT_TRUE(check.has_value()) << check.error().ToString();
  // Programs for images are found beside carrel.
  EXPECT_TRUE(std::filesystem::exists(Place("/usr/bin/sqlrunner")));
  EXPECT_TRUE(std::filesystem::exists(share + "/images/sqlrunner/recipe.json"));
  EXPECT_TRUE(std::filesystem::exists(share + "/schemas/carrel-config.schema.json"));
  EXPECT_TRUE(std::filesystem::exists(Place("/etc/logrotate.d/carrel")));
  auto executor = RunChecked(
      {"python3", "-c", "import carrel_executor; carrel_executor.CarrelExecutor"},
      {.environment = {{"PYTHONPATH", share + "/agent"}, {"PYTHONDONTWRITEBYTECODE", "1"}}});
  EXPECT_TRUE(executor.has_value()) << executor.error().ToString();
  EXPECT_FALSE(std::filesystem::exists(share + "/studies/demo"));
  // The example configuration is one; its groups are those that sysusers makes.
  auto config = ReadJsonFile(share + "/carrel.json");
  ASSERT_TRUE(config.has_value());
  for (const char* level : {"highly_sensitive", "moderately_sensitive"}) {
    const std::string group = (*config)["levels"][level]["group"];
    EXPECT_THAT(ReadFile(Place("/usr/lib/sysusers.d/carrel.conf")).value_or(""),
                HasSubstr("g " + group + " "));
    (*config)["levels"][level]["group"] = "root";
  }
  (*config)["policies"] = share + "/policies";
  WriteFile(dir_ / "carrel.json", config->dump());
  auto metrics = RunSubprocess(
      {carrel, "metrics", "--config", dir_ / "carrel.json", "--state", dir_ / "state"});
  ASSERT_TRUE(metrics.has_value());
  EXPECT_EQ(metrics->exit_code, 0) << metrics->errors;
}

TEST_F(Installed, UnitsAreGood) {
  // The units, with this build's program: the installed one is not at its place here.
  const std::string units = dir_ / "units";
  std::filesystem::create_directories(units);
  std::vector<std::string> verify = {"systemd-analyze", "verify", "--man=no",
                                     "--recursive-errors=no"};
  size_t named = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Place("/usr/lib/systemd/system"))) {
    std::string text = ReadFile(entry.path()).value_or("");
    EXPECT_THAT(text, Not(HasSubstr("@CARREL")));
    for (size_t at = 0; (at = text.find("/usr/bin/carrel", at)) != std::string::npos; ++named)
      text.replace(at, 15, CARREL_BINARY);
    const std::string unit = units + "/" + entry.path().filename().string();
    WriteFile(unit, text);
    verify.push_back(unit);
  }
  EXPECT_EQ(named, 3u);
  EXPECT_EQ(verify.size(), 4u + 7u);
  SubprocessOptions options;
  options.environment["SYSTEMD_UNIT_PATH"] = units + ":";
  auto done = RunSubprocess(verify, options);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->exit_code, 0) << done->errors;
  EXPECT_THAT(done->errors, Not(HasSubstr("carrel")));
  // A mistake is found: the test would not pass whatever the units say.
  WriteFile(units + "/carrel-gc.timer", "[Timer]\nOnCalendar=never\n");
  done =
      RunSubprocess({"systemd-analyze", "verify", "--man=no", units + "/carrel-gc.timer"}, options);
  EXPECT_THAT(done->errors, HasSubstr("carrel-gc.timer"));
}

TEST_F(Installed, DirectoriesAndGroupsAreMade) {
  const std::string root = dir_ / "root";
  std::filesystem::create_directories(root + "/etc");
  WriteFile(root + "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  WriteFile(root + "/etc/group", "root:x:0:\n");
  auto users = RunSubprocess(
      {"systemd-sysusers", "--root=" + root, Place("/usr/lib/sysusers.d/carrel.conf")});
  ASSERT_TRUE(users.has_value() && users->exit_code == 0) << users->errors;
  EXPECT_THAT(ReadFile(root + "/etc/group").value_or(""), HasSubstr("carrel-level3:"));
  auto made = RunSubprocess(
      {"systemd-tmpfiles", "--create", "--root=" + root, Place("/usr/lib/tmpfiles.d/carrel.conf")});
  ASSERT_TRUE(made.has_value() && made->exit_code == 0) << made->errors;
  struct stat info {};
  ASSERT_EQ(::stat((root + "/srv/carrel/high_privacy").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
  EXPECT_NE(info.st_gid, 0u);
}

}  // namespace
}  // namespace carrel::testing_support
