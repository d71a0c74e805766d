#include "job/inputs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"

namespace carrel {
namespace {

class InputsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/var/tmp/policy-inputs-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    request_.workspace = "ws";
    request_.high_privacy = root_ + "/high";
    request_.medium_privacy = root_ + "/medium";
    auto out = MakeDirs(root_ + "/out", 0755);
    ASSERT_TRUE(out.has_value());
    out_ = std::move(*out);
    request_.destination = out_.get();
    Write("high/workspaces/ws/output/d.csv", "id\n1\n");
    Write("high/workspaces/ws/output/deep/e.csv", "e\n");
    Write("high/workspaces/ws/output/other.csv", "other\n");
    manifest_ = {{"workspace", "ws"},
                 {"repo", nullptr},
                 {"outputs",
                  {{"output/d.csv", Entry("job1", "id\n1\n")},
                   {"output/deep/e.csv", Entry("job1", "e\n")},
                   {"output/other.csv", Entry("job2", "other\n")}}}};
    WriteManifest();
  }
  void TearDown() override {
    auto parent = OpenPath("/var/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.has_value());
    EXPECT_TRUE(RemoveTree(parent->get(), root_.substr(9)).has_value());
  }
  static Json Entry(const std::string& job, const std::string& text) {
    return {{"job_id", job}, {"content_hash", Sha256Hex(text)}, {"level", "highly_sensitive"}};
  }
  void Write(const std::string& path, const std::string& text) {
    const std::string full = root_ + "/" + path;
    ASSERT_TRUE(MakeDirs(full.substr(0, full.rfind('/')), 0755).has_value());
    auto fd = OpenPath(full, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    ASSERT_TRUE(fd.has_value());
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
  }
  void WriteManifest() { Write("medium/workspaces/ws/metadata/manifest.json", manifest_.dump()); }
  void ExpectBad(const std::string& part) {
    auto files = GatherInputs(request_);
    ASSERT_FALSE(files.has_value()) << part;
    EXPECT_EQ(files.error().kind, ErrorKind::kBadInput) << files.error().ToString();
    EXPECT_NE(files.error().ToString().find(part), std::string::npos) << files.error().ToString();
  }

  std::string root_;
  UniqueFd out_;
  Json manifest_;
  InputsRequest request_;
};

TEST_F(InputsTest, TheOutputsOfTheNamedJobAndNoOthers) {
  request_.job_ids = {"job1"};
  auto files = GatherInputs(request_);
  ASSERT_TRUE(files.has_value()) << files.error().ToString();
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].path, "output/d.csv");
  EXPECT_EQ((*files)[0].job_id, "job1");
  EXPECT_EQ((*files)[0].sha256, Sha256Hex("id\n1\n"));
  EXPECT_EQ((*files)[0].bytes, 5u);
  EXPECT_EQ(ReadFile(root_ + "/out/output/deep/e.csv").value(), "e\n");
  EXPECT_NE(::access((root_ + "/out/output/other.csv").c_str(), F_OK), 0);
  struct stat copy {};
  struct stat original {};
  ASSERT_EQ(::stat((root_ + "/out/output/d.csv").c_str(), &copy), 0);
  ASSERT_EQ(::stat((root_ + "/high/workspaces/ws/output/d.csv").c_str(), &original), 0);
  EXPECT_EQ(copy.st_mode & 07777, 0644u);
  EXPECT_NE(copy.st_ino, original.st_ino);
}

TEST_F(InputsTest, DeprecatedPaths) {
  request_.paths = {"output/other.csv"};
  auto files = GatherInputs(request_);
  ASSERT_TRUE(files.has_value()) << files.error().ToString();
  EXPECT_EQ(files->at(0).job_id, "job2");
  EXPECT_EQ(ReadFile(root_ + "/out/output/other.csv").value(), "other\n");
}

TEST_F(InputsTest, NothingAskedNeedsNoWorkspace) {
  request_.workspace = "new";
  EXPECT_TRUE(GatherInputs(request_)->empty());
}

TEST_F(InputsTest, MissingInputsAreNamed) {
  request_.job_ids = {"job9"};
  ExpectBad("/input_job_ids/0: the workspace ws has no outputs of the job job9");
  request_.job_ids = {"job2", "job1"};
  ASSERT_EQ(::unlink((root_ + "/high/workspaces/ws/output/d.csv").c_str()), 0);
  ExpectBad("/input_job_ids/1: the input output/d.csv of the job job1 is missing");
  request_.job_ids = {};
  request_.paths = {"output/none.csv"};
  ExpectBad("/inputs/0: the input output/none.csv is missing");
  request_.workspace = "empty";
  ExpectBad("the workspace empty has no level 3 files");
}

TEST_F(InputsTest, AChangedInputIsRefused) {
  Write("high/workspaces/ws/output/other.csv", "changed\n");
  request_.job_ids = {"job2"};
  ExpectBad("the input output/other.csv is not what the job job2 made");
}

TEST_F(InputsTest, LinksAndOtherKindsOfFileAreRefused) {
  const std::string path = root_ + "/high/workspaces/ws/output/other.csv";
  ASSERT_EQ(::unlink(path.c_str()), 0);
  ASSERT_EQ(::symlink("/etc/passwd", path.c_str()), 0);
  request_.job_ids = {"job2"};
  ExpectBad("is missing at level 3 (ELOOP)");
  ASSERT_EQ(::unlink(path.c_str()), 0);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  ExpectBad("is not a regular file");
  // A directory of another workspace, by a link in the path.
  Write("high/workspaces/victim/other.csv", "other\n");
  request_.paths = {"lane/other.csv"};
  request_.job_ids = {};
  ASSERT_EQ(::symlink("../victim", (root_ + "/high/workspaces/ws/lane").c_str()), 0);
  ExpectBad("is missing at level 3 (ELOOP)");
}

TEST_F(InputsTest, PathsOutsideAreRefused) {
  for (const char* path : {"../victim/x", "/etc/passwd", "metadata/x.log", ""}) {
    request_.paths = {path};
    ExpectBad("/inputs/0: is not a path of an output");
  }
  request_.paths = {};
  request_.job_ids = {"job1"};
  request_.workspace = "../ws";
  ExpectBad("/workspace");
  request_.workspace = "ws";
  manifest_["outputs"]["../x"] = Entry("job1", "x");
  WriteManifest();
  auto files = GatherInputs(request_);
  ASSERT_FALSE(files.has_value());
  EXPECT_EQ(files.error().kind, ErrorKind::kFault);
}

TEST_F(InputsTest, CodeIsNotReplaced) {
  request_.job_ids = {"job1"};
  Write("out/output/d.csv", "code");
  ExpectBad("the input output/d.csv collides with a file of the study's code");
  EXPECT_EQ(ReadFile(root_ + "/out/output/d.csv").value(), "code");
}

TEST_F(InputsTest, ALinkOfTheCodeIsNotFollowed) {
  ASSERT_TRUE(MakeDirs(root_ + "/victim", 0755).has_value());
  ASSERT_EQ(::symlink("../victim", (root_ + "/out/output").c_str()), 0);
  request_.job_ids = {"job1"};
  ExpectBad("collides with a file of the study's code");
  EXPECT_NE(::access((root_ + "/victim/d.csv").c_str(), F_OK), 0);
}

}  // namespace
}  // namespace carrel
