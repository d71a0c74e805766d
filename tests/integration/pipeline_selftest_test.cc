// carrel selftest: all of the test studies, on a host whose python:v2 and sqlrunner:v1 are made of
// this machine's programs.
#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>

#include "support/leftovers.h"
#include "support/postgres.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kStudies = CARREL_SOURCE_DIR "/tests/studies";

// A root directory in which programs of this machine run.
class Rootfs {
 public:
  explicit Rootfs(std::string path) : path_(std::move(path)) {
    for (const char* name : {"/bin", "/usr/bin", "/tmp", "/etc", "/workspace"})
      std::filesystem::create_directories(path_ + name);
    Put("/bin/busybox", "/bin/busybox");
    std::istringstream applets(RunChecked({"/bin/busybox", "--list"}).value_or(""));
    for (std::string name; std::getline(applets, name);)
      if (name != "busybox") std::filesystem::create_symlink("busybox", path_ + "/bin/" + name);
  }
  const std::string& path() const { return path_; }

  void Put(const std::string& file, const std::string& as) {
    std::filesystem::create_directories(std::filesystem::path(path_ + as).parent_path());
    std::filesystem::copy_file(file, path_ + as, std::filesystem::copy_options::overwrite_existing);
  }
  // With the libraries that it is linked with, where the loader looks for them.
  void PutWithLibraries(const std::string& file, const std::string& as) {
    Put(file, as);
    std::istringstream words(RunChecked({"ldd", file}).value_or(""));
    for (std::string word; words >> word;)
      if (word.starts_with("/")) Put(std::filesystem::canonical(word), word);
  }
  void PutPython() {
    PutWithLibraries("/usr/bin/python3", "/usr/bin/python3");
    const std::string library = "/usr/lib/python3.11";
    auto copied = RunChecked(
        {"sh", "-c",
         "cd / && tar -c --exclude=__pycache__ --exclude=test "
         "--exclude=idlelib --exclude=sitecustomize.py --exclude=ensurepip --exclude=lib2to3 "
         "--exclude=config-* ." +
             library + " | tar -x -C " + path_});
    ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
    for (const auto& entry : std::filesystem::directory_iterator(library + "/lib-dynload"))
      if (entry.path().string().find("_sqlite3") != std::string::npos)
        PutWithLibraries(entry.path(), entry.path());
  }

 private:
  std::string path_;
};

class Selftest : public ::testing::Test {
 protected:
  void MakeImage(const Rootfs& root, const std::string& name, Json settings) {
    const std::string layout = root.path() + ".layout";
    WriteOciLayout(layout, root.path(), std::move(settings));
    auto imported = study_.Carrel({"image", "import", layout, "--name", name});
    ASSERT_EQ(imported.exit_code, 0) << imported.errors;
  }
  void MakeImages() {
    Rootfs python(study_.path() + "/python");
    python.PutPython();
    MakeImage(python, "python:v2", {{"Env", {"PATH=/bin:/usr/bin", "PYTHONDONTWRITEBYTECODE=1"}}});
    Rootfs sql(study_.path() + "/sqlrunner");
    sql.PutWithLibraries(CARREL_BUILD_DIR "/images/sqlrunner", "/usr/bin/sqlrunner");
    MakeImage(sql, "sqlrunner:v1",
              {{"Env", {"PATH=/bin:/usr/bin"}}, {"Entrypoint", {"sqlrunner"}}});
  }
  SubprocessResult Run(std::vector<std::string> more) {
    std::vector<std::string> args = {"selftest", "--config", study_.config_path(), "--studies",
                                     kStudies};
    args.insert(args.end(), more.begin(), more.end());
    return RunCarrel(args);
  }
  std::string Directory(const Json& report) const {
    return study_.state() + "/selftest/" + report["name"].get<std::string>();
  }

  Study study_;
};

TEST_F(Selftest, AllStudiesPassOnAGoodHost) {
  MakeImages();
  const std::string junit = study_.path() + "/junit.xml";
  auto done = Run({"--json", "--junit", junit});
  const Json report = Json::parse(done.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << done.errors << done.output;
  for (const Json& check : report["checks"]) EXPECT_EQ(check["outcome"], "passed") << check.dump(2);
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_GT(report["passed"].get<int>(), 100);
  // The same report stays, and the audit logs that it names are there and whole.
  const Json kept = Json::parse(ReadFile(Directory(report) + "/report.json").value_or(""));
  EXPECT_EQ(kept, report);
  size_t logs = 0;
  for (const Json& run : report["runs"])
    for (const Json& action : run["actions"]) {
      if (action["audit_log"] == "") continue;
      ++logs;
      EXPECT_TRUE(std::filesystem::exists(action["audit_log"].get<std::string>()));
    }
  EXPECT_GE(logs, 20u);
  const std::string xml = ReadFile(junit).value_or("");
  EXPECT_THAT(xml, AllOf(HasSubstr("<testsuite name=\"opt-outs\""), HasSubstr("failures=\"0\"")));
  // What a deployment of the same program does is the same.
  auto same = study_.Carrel({"selftest", "compare", report["name"], report["name"]});
  EXPECT_EQ(same.exit_code, 0) << same.output << same.errors;
  EXPECT_THAT(SettledLeftovers(study_), IsEmpty());
  // The policy of the host is as it was, and the stand-in's image name is gone.
  EXPECT_EQ(ReadFile(study_.path() + "/policies/projects.json").value_or("").find("selftest"),
            std::string::npos);
  EXPECT_NE(study_.Carrel({"image", "inspect", "selftest-query:v1"}).exit_code, 0);
}

// The counts are those of the database that was named, and opted-out patients are in or out of it.
TEST_F(Selftest, OptOutsInAPostgresql) {
  MakeImages();
  Postgres postgres;
  const auto as_reader = [&](const std::string& sql) {
    postgres.Admin("set role reader; " + sql, "records");
  };
  as_reader("create table patients (patient_id int primary key, age int, region text)");
  as_reader("insert into patients select i, i % 90, 'East' from generate_series(1, 700) i");
  as_reader("create table PatientsWithTypeOneDissent (patient_id int primary key)");
  as_reader("insert into PatientsWithTypeOneDissent select i from generate_series(7, 77, 7) i");
  auto done = Run({"--json", "--database", postgres.DirectUrl() + "?sslmode=disable", "opt-outs"});
  const Json report = Json::parse(done.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << done.errors << done.output;
  size_t rows = 0;
  for (const Json& check : report["checks"]) {
    if (check["study"] != "opt-outs") continue;
    EXPECT_EQ(check["outcome"], "passed") << check.dump(2);
    if (check["what"].get<std::string>().starts_with("rows")) ++rows;
  }
  EXPECT_EQ(rows, 3u) << report["checks"].dump(1);
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  const std::string results = Directory(report) + "/results/opt-outs-";
  for (const auto& [project, lines] : {std::pair{"listed", 701}, {"unlisted", 690}}) {
    const std::string text = ReadFile(results + project + "/high_privacy/workspaces/selftest-" +
                                      project + "/output/dataset.csv")
                                 .value_or("");
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), lines) << project;
  }
}

TEST_F(Selftest, AWrongExpectationFailsAndIsCompared) {
  const std::string studies = study_.path() + "/studies";
  std::filesystem::create_directories(studies);
  std::filesystem::copy(std::string(kStudies) + "/messages", studies + "/messages",
                        std::filesystem::copy_options::recursive);
  auto run = [&] {
    auto done =
        RunCarrel({"selftest", "--config", study_.config_path(), "--studies", studies, "--json"});
    return std::pair(done.exit_code, Json::parse(done.output, nullptr, false));
  };
  const auto [good_status, good] = run();
  ASSERT_EQ(good_status, 0) << good.dump(2);

  // A host that behaves differently: here, a study whose action does.
  auto text = ReadFile(studies + "/messages/project.yaml").value_or("");
  text.replace(text.find("exit 3"), 6, "exit 4");
  WriteFile(studies + "/messages/project.yaml", text);
  const auto [bad_status, bad] = run();
  EXPECT_EQ(bad_status, 1);
  std::vector<std::string> failed;
  for (const Json& check : bad["checks"])
    if (check["outcome"] == "failed") failed.push_back(check["detail"]);
  EXPECT_THAT(failed, Contains("it is 4, not 3"));
  auto compared = study_.Carrel({"selftest", "compare", good["name"], bad["name"]});
  EXPECT_EQ(compared.exit_code, 1);
  EXPECT_THAT(compared.output, AllOf(HasSubstr("messages/internal/exits: exit_code"),
                                     HasSubstr("before  3"), HasSubstr("after   4")));
}

TEST_F(Selftest, AStudyThatOnlyOneReportHasIsOneDifference) {
  const auto check = [](const char* study, int number) {
    return Json{{"study", study},
                {"run", "r"},
                {"action", "a"},
                {"what", "check " + std::to_string(number)},
                {"outcome", "passed"}};
  };
  Json checks = Json::array({check("both", 0)});
  const std::string after = study_.path() + "/after.json", before = study_.path() + "/before.json";
  WriteFile(after, Json{{"checks", checks}, {"runs", Json::array()}}.dump());
  for (int i = 0; i < 9; ++i) checks.push_back(check("gone", i));
  WriteFile(before, Json{{"checks", checks}, {"runs", Json::array()}}.dump());
  auto compared = study_.Carrel({"selftest", "compare", before, after});
  EXPECT_EQ(compared.exit_code, 1);
  EXPECT_EQ(compared.output, "gone: study\n  before  run\n  after   not run\n1 difference\n");
  // By its directory.
  std::filesystem::create_directory(study_.path() + "/report");
  std::filesystem::rename(before, study_.path() + "/report/report.json");
  auto again = study_.Carrel({"selftest", "compare", study_.path() + "/report", after});
  EXPECT_EQ(again.output, compared.output) << again.errors;
}

TEST_F(Selftest, ExpectationsThatNobodyChecksAreAnError) {
  const std::string studies = study_.path() + "/studies";
  std::filesystem::create_directories(studies + "/odd");
  WriteFile(studies + "/odd/project.yaml", "version: 4\n");
  WriteFile(studies + "/odd/expected.json",
            R"({"description": "x", "images": [], "database": false, "runs": [{"name": "a",
                "project": "internal", "exit_status": 0, "actions": {"b": {"sate": "failed"}}}]})");
  auto done = RunCarrel({"selftest", "--list", "--studies", studies});
  EXPECT_EQ(done.exit_code, 2);
  EXPECT_THAT(done.errors, HasSubstr("b: no check is named sate"));
  auto list = RunCarrel({"selftest", "--list", "--studies", kStudies});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.output, HasSubstr("sql-declaration"));
}

TEST_F(Selftest, WhatTheHostLacksIsSkippedAndSaid) {
  auto done = Run({"truth", "--json"});
  const Json report = Json::parse(done.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << done.errors;
  std::vector<std::string> why;
  for (const Json& check : report["checks"])
    if (check["outcome"] == "skipped") why.push_back(check["detail"]);
  EXPECT_THAT(why, Contains("the image sqlrunner:v1 is not on this host"));
}

}  // namespace
}  // namespace carrel::testing_support
