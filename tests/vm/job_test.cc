// A whole job on a production host: definition, checkout, scratch file system, outputs by level,
// records and the audit log. Runs inside the virtual machine of tests/support/vm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/digest.h"
#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;

std::string Checked(const std::vector<std::string>& argv, const std::string& directory = "") {
  SubprocessOptions options;
  options.directory = directory;
  options.environment = {{"GIT_AUTHOR_NAME", "study"},
                         {"GIT_AUTHOR_EMAIL", "study@example.org"},
                         {"GIT_COMMITTER_NAME", "study"},
                         {"GIT_COMMITTER_EMAIL", "study@example.org"}};
  auto output = RunChecked(argv, options);
  EXPECT_TRUE(output.has_value()) << output.error().ToString();
  return output.value_or("");
}

class ProductionJob : public ::testing::Test {
 protected:
  void SetUp() override {
    MakeImage();
    MakeStudy();
    WriteFile(Path("carrel.json"), Json{{"state", Path("state")},
                                        {"policies", CARREL_SOURCE_DIR "/policies"},
                                        {"allowed_repositories", {dir_.path()}}}
                                       .dump());
  }
  void TearDown() override {
    RunCarrel({"audit", "unload", "--state", Path("state")});
    RunSubprocess({"umount", Path("state/bpf")}).has_value();
  }

  std::string Path(const std::string& name) const { return dir_ / name; }

  Json Blob(const std::string& text, const std::string& type) const {
    const std::string hex = Sha256Hex(text);
    WriteFile(Path("layout/blobs/sha256/") + hex, text);
    return {{"digest", "sha256:" + hex},
            {"size", text.size()},
            {"mediaType", "application/vnd.oci.image." + type}};
  }

  // An OCI layout with one layer: busybox.
  void MakeImage() {
    std::filesystem::create_directories(Path("layout/blobs/sha256"));
    std::filesystem::create_directories(Path("root/bin"));
    std::filesystem::copy_file("/bin/busybox", Path("root/bin/busybox"));
    for (const char* applet : {"sh", "cat", "echo", "id", "mkdir", "tail", "wc"})
      std::filesystem::create_symlink("busybox", Path("root/bin/") + applet);
    const Json layer = Blob(Checked({"tar", "-C", Path("root"), "-c", "."}), "layer.v1.tar");
    const Json config = Blob(Json{{"architecture", "amd64"},
                                  {"os", "linux"},
                                  {"config", {{"Env", {"PATH=/bin"}}}},
                                  {"rootfs", {{"type", "layers"}, {"diff_ids", {layer["digest"]}}}}}
                                 .dump(),
                             "config.v1+json");
    const Json manifest =
        Blob(Json{{"schemaVersion", 2}, {"config", config}, {"layers", {layer}}}.dump(),
             "manifest.v1+json");
    WriteFile(Path("layout/index.json"),
              Json{{"schemaVersion", 2}, {"manifests", {manifest}}}.dump());
    WriteFile(Path("layout/oci-layout"), R"({"imageLayoutVersion": "1.0.0"})");
    const auto imported = RunCarrel(
        {"image", "import", Path("layout"), "--name", "python:v2", "--state", Path("state")});
    ASSERT_EQ(imported.exit_code, 0) << imported.errors;
  }

  void MakeStudy() {
    Checked({"git", "init", "--quiet", Path("study")});
    WriteFile(Path("study/code.txt"), "code of the study\n");
    Checked({"git", "add", "--all"}, Path("study"));
    Checked({"git", "commit", "--quiet", "-m", "study"}, Path("study"));
    commit_ = Checked({"git", "rev-parse", "HEAD"}, Path("study")).substr(0, 40);
  }

  SubprocessResult Run(const std::string& id, const std::string& script) {
    const Json job = {
        {"id", id},
        {"rap_id", "rap"},
        {"task_id", "task"},
        {"repo_url", Path("study")},
        {"commit", commit_},
        {"workspace", "demo"},
        {"action", "act"},
        {"created_at", 1'750'000'000},
        {"image", "python:v2"},
        {"args", {"sh", "-c", script}},
        {"output_spec",
         {{"output/rows.csv", "highly_sensitive"}, {"output/table.csv", "moderately_sensitive"}}},
        {"allow_database_access", false},
        {"memory_limit", "64M"},
        {"user", "developer"}};
    WriteFile(Path(id + ".json"), job.dump());
    return RunCarrel({"run", Path(id + ".json"), "--config", Path("carrel.json")});
  }

  TempDir dir_;
  std::string commit_;
};

TEST_F(ProductionJob, RunsFromDefinitionToOutputsByLevel) {
  const auto run = Run("whole",
                       "cat code.txt > output/rows.csv && echo a,b > output/table.csv && "
                       "! echo x > code.txt");
  ASSERT_EQ(run.exit_code, 0) << run.output << run.errors;
  const std::string high = Path("state/high_privacy/workspaces/demo/");
  const std::string medium = Path("state/medium_privacy/workspaces/demo/");
  EXPECT_EQ(ReadFile(high + "output/rows.csv").value_or(""), "code of the study\n");
  EXPECT_EQ(ReadFile(high + "output/table.csv").value_or(""), "a,b\n");
  EXPECT_EQ(ReadFile(medium + "output/table.csv").value_or(""), "a,b\n");
  EXPECT_FALSE(std::filesystem::exists(medium + "output/rows.csv"));
  EXPECT_THAT(ReadFile(medium + "metadata/manifest.json").value_or(""),
              HasSubstr("output/table.csv"));
  const auto verify = RunCarrel({"audit", "verify", "whole", "--state", Path("state")});
  EXPECT_EQ(verify.exit_code, 0) << verify.output << verify.errors;
  const auto show = RunCarrel({"audit", "show", "whole", "--state", Path("state")});
  EXPECT_EQ(show.exit_code, 0) << show.errors;
  EXPECT_THAT(show.output, HasSubstr(commit_));
  for (const auto& entry : std::filesystem::directory_iterator("/sys/fs/cgroup/carrel"))
    EXPECT_THAT(entry.path().filename().string(), Not(::testing::StartsWith("whole-")));
}

TEST_F(ProductionJob, MemoryLimitIsTold) {
  const auto run = Run("memory", "echo a > output/rows.csv; tail /dev/zero");
  EXPECT_THAT(run.output, HasSubstr("137"));
  EXPECT_THAT(run.output + run.errors, ::testing::ContainsRegex("[Mm]emory"));
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/carrel/memory"));
}

}  // namespace
}  // namespace carrel::testing_support
