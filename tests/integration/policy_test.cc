// `carrel policy` as a governance officer uses it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "support/carrel.h"

namespace carrel {
namespace {

using testing_support::RunCarrel;
using testing_support::TempDir;
using testing_support::WriteFile;

const std::string kShipped = std::string(CARREL_SOURCE_DIR) + "/policies";

class PolicyCommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(RunChecked({"cp", "-r", kShipped, dir_ / "policies"}).has_value());
    WriteFile(dir_ / "carrel.json",
              Json{{"policies", dir_ / "policies"},
                   {"state", dir_ / "state"},
                   {"allowed_repositories", {"https://github.com/opensafely"}},
                   {"databases", {{"default", {{"kind", "sqlite"}, {"path", "/srv/db"}}}}}}
                  .dump());
  }
  // Changes one file of the copied policy with an RFC 6902 patch.
  void Patch(const std::string& file, const char* patch) {
    auto document = ReadJsonFile(dir_ / ("policies/" + file));
    ASSERT_TRUE(document.has_value());
    WriteFile(dir_ / ("policies/" + file), document->patch(Json::parse(patch)).dump());
  }
  void Job(const Json& changes) {
    Json job = {{"id", "job1"},
                {"workspace", "demo"},
                {"action", "extract"},
                {"user", "demo"},
                {"repo_url", "https://github.com/opensafely/demo"},
                {"commit", std::string(40, 'a')},
                {"image", "sqlrunner:v1"},
                {"args", {"analysis/q.sql", "--output", "output/q.csv"}},
                {"allow_database_access", true},
                {"output_spec", {{"output/q.csv", "highly_sensitive"}}}};
    job.update(changes);
    WriteFile(dir_ / "job.json", job.dump());
  }
  SubprocessResult Explain(std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"policy", "explain", dir_ / "job.json", "--config",
                                     dir_ / "carrel.json"};
    args.insert(args.end(), more.begin(), more.end());
    return RunCarrel(args);
  }
  std::string Git(std::vector<std::string> args) {
    args.insert(args.begin(), {"git", "-c", "user.name=t", "-c", "user.email=t@example.org"});
    SubprocessOptions options;
    options.directory = dir_.path();
    auto output = RunChecked(args, options);
    EXPECT_TRUE(output.has_value()) << (output ? "" : output.error().ToString());
    return output.value_or("");
  }

  TempDir dir_;
};

TEST_F(PolicyCommandTest, CheckSaysEveryProblemWithItsPlace) {
  EXPECT_EQ(RunCarrel({"policy", "check", kShipped}).exit_code, 0);
  Patch("projects.json", R"([{"op":"replace","path":"/projects/1/kind","value":"other"}])");
  Patch("permissions/sql-runner.json",
        R"([{"op":"replace","path":"/grants/0/project","value":"nobody"}])");
  auto result = RunCarrel({"policy", "check", dir_ / "policies"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.errors.find("projects.json: /projects/1/kind: must be"), std::string::npos)
      << result.errors;
  EXPECT_NE(result.errors.find("permissions/sql-runner.json: /grants/0/project: \"nobody\""),
            std::string::npos)
      << result.errors;
  EXPECT_EQ(RunCarrel({"policy", "check", dir_ / "none"}).exit_code, 2);
  // A link could lead out of what was reviewed.
  ASSERT_EQ(::symlink("/etc/passwd", (dir_ / "policies/x.md").c_str()), 0);
  EXPECT_NE(RunCarrel({"policy", "check", dir_ / "policies"}).errors.find("x.md"),
            std::string::npos);
}

TEST_F(PolicyCommandTest, ExplainSaysWhyAJobMayOrMayNot) {
  Job(Json::object());
  auto allowed = Explain();
  EXPECT_EQ(allowed.exit_code, 0) << allowed.output << allowed.errors;
  EXPECT_NE(allowed.output.find("sqlrunner may reach the database default"), std::string::npos);
  EXPECT_NE(allowed.output.find("permissions/sql-runner.json#/grants/0"), std::string::npos);
  Job({{"image", "python:v2"}});
  auto refused = Explain();
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.output.find("python does not reach one"), std::string::npos) << refused.output;
  auto json = Json::parse(Explain({"--json"}).output);
  EXPECT_EQ(json["allowed"], false);
  EXPECT_EQ(json["tool"], "python");
  Job({{"commit", "main"}});
  auto bad = Explain();
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.errors.find("/commit: \"main\" is a branch or tag name"), std::string::npos);
}

TEST_F(PolicyCommandTest, DiffOfDirectoriesAndRevisions) {
  EXPECT_EQ(RunCarrel({"policy", "diff", kShipped, dir_ / "policies"}).exit_code, 0);
  Git({"init", "--quiet", "--initial-branch=main", "."});
  Git({"add", "policies"});
  Git({"commit", "--quiet", "-m", "before"});
  Patch("permissions/sql-runner.json",
        R"([{"op":"replace","path":"/grants/0/project","value":"POS-2025-9001"}])");
  SubprocessOptions here;
  here.directory = dir_.path();
  auto widened = RunCarrel({"policy", "diff", "main", "policies"}, here);
  EXPECT_EQ(widened.exit_code, 1) << widened.errors;
  EXPECT_EQ(widened.output,
            "gains: POS-2025-9001 is listed for sql-runner\n"
            "loses: no longer: internal is listed for sql-runner\n");
  Patch("permissions/sql-runner.json", R"([{"op":"remove","path":"/grants/0"}])");
  Git({"commit", "--quiet", "-a", "-m", "after"});
  auto narrowed = RunCarrel({"policy", "diff", "HEAD~1:policies", "HEAD"}, here);
  EXPECT_EQ(narrowed.exit_code, 0) << narrowed.errors;
  EXPECT_EQ(narrowed.output, "loses: no longer: internal is listed for sql-runner\n");
  EXPECT_EQ(RunCarrel({"policy", "diff", "nothing", "policies"}, here).exit_code, 2);
  EXPECT_EQ(RunCarrel({"policy", "diff", "--output=x", "policies"}, here).exit_code, 2);
  // What is added to the repository under a branch's name is not compared with instead of it.
  std::filesystem::create_directory(dir_ / "main");
  auto both = RunCarrel({"policy", "diff", "main", "policies"}, here);
  EXPECT_EQ(both.exit_code, 2) << both.output;
  EXPECT_NE(both.errors.find("Write ./main"), std::string::npos) << both.errors;
  EXPECT_EQ(RunCarrel({"policy", "diff", "main:policies", "./policies"}, here).exit_code, 0);
  // From below the top.
  here.directory = dir_ / "policies/permissions";
  auto below = RunCarrel({"policy", "diff", "HEAD~1", ".."}, here);
  EXPECT_EQ(below.exit_code, 0) << below.errors;
  EXPECT_EQ(below.output, "loses: no longer: internal is listed for sql-runner\n");
  // A repository that holds nothing else.
  Git({"-C", "policies", "init", "--quiet", "--initial-branch=main", "."});
  Git({"-C", "policies", "add", "."});
  Git({"-C", "policies", "commit", "--quiet", "-m", "all"});
  here.directory = dir_ / "policies";
  auto top = RunCarrel({"policy", "diff", "HEAD:", "main:."}, here);
  EXPECT_EQ(top.exit_code, 0) << top.errors;
}

TEST_F(PolicyCommandTest, TheCommitIsRecordedAndWhetherTheDirectoryDiffers) {
  Git({"init", "--quiet", "--initial-branch=main", "."});
  Git({"add", "policies"});
  Git({"commit", "--quiet", "-m", "c"});
  std::string commit = Git({"rev-parse", "HEAD"});
  commit.pop_back();
  Job(Json::object());
  EXPECT_EQ(Json::parse(Explain({"--json"}).output)["policy_commit"], commit);
  WriteFile(dir_ / "policies/NOTES.md", "x");
  EXPECT_EQ(Json::parse(Explain({"--json"}).output)["policy_commit"], commit + "+changes");
}

TEST_F(PolicyCommandTest, ASignedBundleThatTheConfigurationDemands) {
  auto key = RunCarrel({"policy", "key", dir_ / "key"});
  ASSERT_EQ(key.exit_code, 0) << key.errors;
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_NE(RunCarrel({"policy", "key", dir_ / "key"}).exit_code, 0);  // never over a key
  Json config = *ReadJsonFile(dir_ / "carrel.json");
  config["policies"] = "/nonexistent";
  config["policy_bundle"] = {{"file", dir_ / "b"}, {"keys", {key.output.substr(0, 64)}}};
  WriteFile(dir_ / "carrel.json", config.dump());
  auto made = RunCarrel({"policy", "bundle", dir_ / "policies", "-o", dir_ / "b", "--serial", "3",
                         "--expires", "2199-12-31"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  Job(Json::object());
  auto refused = Explain();
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.errors.find("0 good signatures"), std::string::npos) << refused.errors;
  auto done = RunCarrel({"policy", "sign", dir_ / "b", "--key", dir_ / "key"});
  ASSERT_EQ(done.exit_code, 0) << done.errors;
  auto explained = Explain({"--json"});
  ASSERT_EQ(explained.exit_code, 0) << explained.errors;
  EXPECT_EQ(Json::parse(explained.output)["policy_serial"], 3);
  EXPECT_EQ(RunCarrel({"policy", "check", dir_ / "b"}).exit_code, 0);
  EXPECT_EQ(RunCarrel({"policy", "diff", dir_ / "b", dir_ / "policies"}).exit_code, 0);
  auto over = RunCarrel({"policy", "bundle", dir_ / "policies", "-o", dir_ / "old", "--serial", "4",
                         "--expires", "2020-12-31"});
  EXPECT_EQ(over.exit_code, 2);
  EXPECT_NE(over.errors.find("--expires: is over"), std::string::npos) << over.errors;
  ASSERT_EQ(::chmod((dir_ / "key").c_str(), 0644), 0);
  auto open = RunCarrel({"policy", "sign", dir_ / "b", "--key", dir_ / "key"});
  EXPECT_EQ(open.exit_code, 2);
  EXPECT_NE(open.errors.find("open to group or others"), std::string::npos) << open.errors;
  EXPECT_EQ(RunCarrel({"policy", "sign", dir_ / "b", "--key", dir_ / "b"}).exit_code, 2);
}

TEST_F(PolicyCommandTest, WhoCan) {
  auto answer = RunCarrel(
      {"policy", "who-can", "include", "type-one", "opt-outs", "--config", dir_ / "carrel.json"});
  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_EQ(answer.output.find("POS-2020-9004: "), 0u) << answer.output;
  EXPECT_EQ(RunCarrel({"policy", "who-can", "fly", "--policies", kShipped}).exit_code, 2);
}

}  // namespace
}  // namespace carrel
