// Bad input to `carrel run`: each a clear error that names the place, its exit status, and nothing
// left behind.
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kBad = 2;
constexpr int kRefusal = 3;
constexpr int kHost = 70;

void ExpectError(Study& study, const JobRun& run, int status, const std::string& place) {
  EXPECT_EQ(run.exit_code, status) << run.errors;
  EXPECT_TRUE(run.json.is_object()) << run.output;
  EXPECT_THAT(run.error(), HasSubstr(place));
  EXPECT_THAT(run.errors, HasSubstr("carrel: "));
  for (char c : run.errors) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c != 0x7f)) << int(c);
  EXPECT_FALSE(std::filesystem::exists(study.high()));
  EXPECT_FALSE(std::filesystem::exists(study.medium()));
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

struct Case {
  std::string name;
  std::string place;
  std::function<void(Json&)> edit;
};

void Check(Study& study, int status, const std::vector<Case>& cases) {
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.name);
    Json job = study.Job("mkdir -p output; echo a > output/x.csv");
    bad.edit(job);
    ExpectError(study, study.Run(job), status, bad.place);
  }
}

Case Set(const std::string& member, Json value, const std::string& place = "") {
  return {member + " = " + value.dump().substr(0, 60), place.empty() ? "/" + member : place,
          [member, value](Json& job) { job[member] = value; }};
}

TEST(RunInput, MembersOfTheDefinition) {
  Study study;
  std::vector<Case> cases;
  for (const char* required :
       {"id", "workspace", "action", "repo_url", "commit", "image", "args", "output_spec"})
    cases.push_back({std::string("without ") + required, std::string("/") + required,
                     [required](Json& job) { job.erase(required); }});
  cases.push_back(Set("colour", "blue"));
  cases.push_back(Set("colour\x1b[31m", "blue", "colour"));
  cases.push_back(Set("args", "python x.py"));
  cases.push_back(Set("args", {1, 2}));
  cases.push_back(Set("allow_database_access", "yes"));
  cases.push_back(Set("created_at", "yesterday"));
  cases.push_back(Set("created_at", 1e300));
  cases.push_back(Set("level4_max_csv_rows", -1));
  cases.push_back(Set("level4_max_filesize", 18446744073709551615ull));
  cases.push_back(Set("level4_file_types", {"csv\n"}));
  cases.push_back(Set("memory_limit", "99999999999999999999999G"));
  cases.push_back(Set("memory_limit", "-4G"));
  cases.push_back(Set("memory_limit", "lots"));
  cases.push_back(Set("cpu_count", "1e9"));
  cases.push_back(Set("cpu_count", "0x2"));
  cases.push_back(Set("args", {std::string("a\0b", 3)}));
  cases.push_back(Set("env", {{"A", std::string("a\0b", 3)}}));
  cases.push_back(Set("env", {{"A=B", "c"}}));
  cases.push_back(Set("input_job_ids", "job1"));
  cases.push_back(Set("input_job_ids", {"../job1"}));
  cases.push_back(Set("inputs", {"../secret.csv"}));
  cases.push_back(Set("image", "python"));
  cases.push_back(Set("image", "../python:v2"));
  cases.push_back(Set("image_sha", "sha256:123"));
  for (const char* name : {"id", "workspace", "action"})
    for (const char* value : {"../x", "a/b", "..", ".", "", "a\nb", "a\x1b[2J", "-x", ".hidden"})
      cases.push_back(Set(name, value));
  Check(study, kBad, cases);
}

TEST(RunInput, OutputSpecAndCommit) {
  Study study;
  std::vector<Case> cases;
  for (const char* pattern : {"../x.csv", "/etc/x.csv", "output/../../x.csv", "output//x.csv",
                              "./x.csv", "", "metadata/x.csv", "a\\b.csv", "output/x\n.csv"})
    cases.push_back(Set("output_spec", {{pattern, "highly_sensitive"}}));
  cases.push_back(Set("output_spec", {{"output/x.csv", "public"}}));
  cases.push_back(Set("output_spec", {{"output/x.csv", 4}}));
  cases.push_back(Set("output_spec", {"output/*.csv"}));
  cases.push_back(Set("commit", "main"));
  cases.push_back(Set("commit", study.commit().substr(0, 12)));
  cases.push_back(Set("commit", "HEAD"));
  cases.push_back(Set("commit", "--upload-pack=touch /tmp/x"));
  cases.push_back(Set("commit", std::string(40, 'f')));
  cases.push_back(Set("repo_url", study.path() + "/repos/none"));
  cases.push_back(Set("input_job_ids", {"no-such-job"}, "no-such-job"));
  cases.push_back(Set("inputs", {"output/missing.csv"}, "/inputs/0"));
  cases.push_back(Set("image", "python:v1", "python:v1"));
  cases.push_back(Set("image_sha", "sha256:" + std::string(64, '0')));
  Check(study, kBad, cases);
  std::filesystem::create_directories(study.path() + "/elsewhere");
  Check(study, kRefusal,
        {Set("repo_url", study.path() + "/elsewhere", "elsewhere"),
         Set("repo_url", study.path() + "/repos/../elsewhere", "/repo_url"),
         Set("repo_url", "https://example.org/study", "example.org")});
}

TEST(RunInput, TextThatIsNoDefinition) {
  Study study;
  const std::string good = study.Job("true").dump();
  const std::map<std::string, std::string> texts = {
      {"empty", ""},
      {"no JSON", "id: job1"},
      {"a list", "[]"},
      {"cut off", good.substr(0, good.size() / 2)},
      {"two values", good + good},
      {"twice the same key", "{\"id\": \"job0\", " + good.substr(1)},
      {"deep", std::string(5000, '[') + std::string(5000, ']')},
      {"not UTF-8", "{\"id\": \"\xff\"}"},
      {"NaN", "{\"created_at\": NaN}"},
      {"huge", "{\"id\": \"" + std::string(5u << 20, 'x') + "\"}"}};
  for (const auto& [name, text] : texts) {
    SCOPED_TRACE(name);
    ExpectError(study, study.RunText(text), kBad, name == "a list" ? "object" : ".json");
  }
  auto missing = study.Carrel({"run", study.path() + "/absent.json"});
  EXPECT_EQ(missing.exit_code, kBad) << missing.errors;
  EXPECT_THAT(missing.errors, HasSubstr("absent.json"));
  EXPECT_EQ(study.Carrel({"run"}).exit_code, kBad);
  EXPECT_EQ(study.Carrel({"run", "--no-such-option", "x"}).exit_code, kBad);
}

TEST(RunInput, AStateDirectoryThatIsNotThereYet) {
  Study study;
  const std::string state = study.path() + "/a/new/state";
  study.WriteConfig();
  WriteFile(study.path() + "/first.json", study.Job("true").dump());
  const auto first = RunCarrel(
      {"run", study.path() + "/first.json", "--state", state, "--config", study.config_path()});
  EXPECT_EQ(first.exit_code, 2) << first.errors;
  EXPECT_THAT(first.errors, HasSubstr("no such image"));
  RunCarrel({"audit", "unload", "--state", state});
  ::umount2((state + "/bpf").c_str(), MNT_DETACH);
}

TEST(RunInput, ConfigurationAndPolicy) {
  Study study;
  const Json good = study.config();
  study.config()["colour"] = "blue";
  study.WriteConfig();
  ExpectError(study, study.Run(study.Job("true")), kBad, "/colour");
  study.config() = good;
  study.config()["uid_range"] = {{"start", 0}, {"count", 10}};
  study.WriteConfig();
  ExpectError(study, study.Run(study.Job("true")), kBad, "/uid_range/start");
  WriteFile(study.config_path(), "{");
  ExpectError(study, study.Run(study.Job("true")), kBad, "carrel.json");
  std::filesystem::remove(study.config_path());
  ExpectError(study, study.Run(study.Job("true")), kBad, "carrel.json");
  study.config() = good;
  study.WriteConfig();

  const std::string tools = study.path() + "/policies/tools.json";
  const std::string text = ReadFile(tools).value_or("");
  WriteFile(tools, text.substr(0, 100));
  JobRun broken = study.Run(study.Job("true"));
  ExpectError(study, broken, kBad, "tools.json");
  std::filesystem::remove(tools);
  ExpectError(study, study.Run(study.Job("true")), kBad, "tools.json");
  WriteFile(tools, text);
  std::filesystem::rename(study.path() + "/policies", study.path() + "/away");
  ExpectError(study, study.Run(study.Job("true")), kBad, "policies");
  std::filesystem::rename(study.path() + "/away", study.path() + "/policies");
  EXPECT_EQ(study.Run(study.Job("mkdir -p output; echo a > output/x.csv")).exit_code, 0);
}

TEST(RunInput, DamagedImages) {
  Study study;
  auto inspected = study.Carrel({"image", "inspect", "python:v2", "--json"});
  const Json image = Json::parse(inspected.output, nullptr, false);
  ASSERT_TRUE(image.is_object()) << inspected.errors;
  std::filesystem::rename(image["rootfs"].get<std::string>(), study.path() + "/taken");
  JobRun run = study.Run(study.Job("mkdir -p output; echo a > output/x.csv"));
  EXPECT_NE(run.exit_code, 0);
  EXPECT_NE(run.exit_code, 1);  // not the action's fault
  EXPECT_NE(run.error(), "");
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

// A seccomp filter that gives EPERM for one call, as on a host that does not permit it.
void Forbid(uint32_t number) {
  sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog filter = {4, program};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(99);
}

TEST(RunInput, HostsThatCannotRunJobs) {
  Study study;
  const Json job = study.Job("mkdir -p output; echo a > output/x.csv");
  study.before_exec = [] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(99);
  };
  JobRun run = study.Run(job);
  ExpectError(study, run, kBad, "root");

  study.before_exec = [] { Forbid(SYS_bpf); };
  ExpectError(study, study.Run(job), kHost, "BPF");

  study.before_exec = [] { Forbid(SYS_pivot_root); };
  ExpectError(study, study.Run(job), kHost, "pivot_root");

  study.before_exec = [] { Forbid(SYS_landlock_restrict_self); };
  ExpectError(study, study.Run(job), kHost, "landlock");

  study.before_exec = [] { Forbid(SYS_mount); };
  ExpectError(study, study.Run(job), kHost, "mount");

  study.before_exec = [] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      ::_exit(99);
    if (::umount2("/sys/fs/cgroup", MNT_DETACH) != 0) ::_exit(99);
  };
  ExpectError(study, study.Run(job), kHost, "cgroup");

  study.before_exec = nullptr;
  EXPECT_EQ(study.Run(job).exit_code, 0);
}

// Found by an earlier version of these tests: names that are the kernel's own in a cgroup.
TEST(RunInput, JobsMayBeCalledWhatTheKernelCallsItsFiles) {
  Study study;
  Json job = study.Job("mkdir -p output; echo a > output/x.csv");
  job["id"] = "cgroup.procs";
  EXPECT_EQ(study.Run(job).exit_code, 0);
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
  EXPECT_EQ(study.Run(study.Job("mkdir -p output; echo a > output/x.csv")).exit_code, 0);
}

}  // namespace
}  // namespace carrel::testing_support
