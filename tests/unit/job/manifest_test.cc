#include "job/manifest.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "base/json.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;

class ManifestTest : public testing::Test {
 protected:
  ManifestUpdate Update(const std::string& action, const std::vector<std::string>& paths) {
    ManifestUpdate update;
    update.workspace = "ws";
    update.action = action;
    update.job_id = "job-" + action;
    update.job_request = "rap1";
    update.user = "tester";
    update.repo = "https://example.org/study";
    update.commit = std::string(40, 'a');
    update.timestamp_ns = 1785588896123456789;
    update.files = {::geteuid(), ::getegid(), 0750, 0640};
    for (const std::string& path : paths)
      update.outputs.push_back({path, Level::kModeratelySensitive, 7, std::string(64, 'b')});
    return update;
  }
  void Apply(const ManifestUpdate& update) {
    auto done = UpdateManifest(dir_.fd(), update);
    ASSERT_TRUE(done.has_value()) << done.error().ToString();
  }
  OrderedJson Manifest() { return OrderedJson::parse(dir_.Read("metadata/manifest.json")); }

  TempDir dir_;
};

TEST_F(ManifestTest, HasTheMembersOfTheContract) {
  ManifestUpdate update = Update("act", {"output/a.csv"});
  update.outputs[0].row_count = 12;
  update.outputs[0].col_count = 3;
  update.outputs.push_back({"output/b.csv", Level::kModeratelySensitive, 9, std::string(64, 'c')});
  update.outputs[1].withheld = "too long";
  Apply(update);
  const OrderedJson manifest = Manifest();
  EXPECT_EQ(manifest.dump().substr(0, 44), R"({"workspace":"ws","repo":null,"outputs":{"ou)");
  EXPECT_EQ(manifest["outputs"]["output/a.csv"].dump(),
            R"({"level":"moderately_sensitive","job_id":"job-act","job_request":"rap1",)"
            R"("action":"act","user":"tester","repo":"https://example.org/study","commit":")" +
                std::string(40, 'a') + R"(","size":7,"timestamp":1785588896.123456,)" +
                R"("content_hash":")" + std::string(64, 'b') +
                R"(","excluded":false,"message":null,"row_count":12,"col_count":3})");
  EXPECT_EQ(manifest["outputs"]["output/b.csv"]["excluded"], true);
  EXPECT_EQ(manifest["outputs"]["output/b.csv"]["message"], "too long");
  EXPECT_EQ(manifest["outputs"]["output/b.csv"]["row_count"], nullptr);
  EXPECT_EQ(ListDir(OpenPath(dir_ / "metadata", O_RDONLY)->get())->size(), 1u);
}

TEST_F(ManifestTest, MarksWhatIsOutOfDate) {
  Apply(Update("one", {"a.csv", "b.csv"}));
  Apply(Update("two", {"c.csv"}));
  ManifestUpdate again = Update("one", {"b.csv"});
  again.actions = {{"one"}};
  Apply(again);
  OrderedJson outputs = Manifest()["outputs"];
  EXPECT_EQ(outputs["a.csv"]["out_of_date_output"], true);
  EXPECT_FALSE(outputs["a.csv"].contains("out_of_date_action"));
  EXPECT_FALSE(outputs["b.csv"].contains("out_of_date_output"));
  EXPECT_FALSE(outputs["c.csv"].contains("out_of_date_output"));
  EXPECT_EQ(outputs["c.csv"]["out_of_date_action"], true);

  ManifestUpdate failed = Update("one", {});
  failed.complete = false;
  failed.actions = {{"one", "two"}};
  Apply(failed);
  outputs = Manifest()["outputs"];
  EXPECT_FALSE(outputs["b.csv"].contains("out_of_date_output"));
  EXPECT_FALSE(outputs["c.csv"].contains("out_of_date_action"));
  Apply(Update("one", {"a.csv"}));
  EXPECT_FALSE(Manifest()["outputs"]["a.csv"].contains("out_of_date_output"));
}

TEST_F(ManifestTest, KeepsWhatOthersWrote) {
  dir_.Write("metadata/manifest.json",
             R"({"workspace": "ws", "repo": "r", "extra": 1, "outputs": {"x.csv": {"action": "z",
                 "level": "moderately_sensitive", "mine": [1]}}})");
  Apply(Update("one", {"a.csv"}));
  const OrderedJson manifest = Manifest();
  EXPECT_EQ(manifest["extra"], 1);
  EXPECT_EQ(manifest["repo"], "r");
  EXPECT_EQ(manifest["outputs"]["x.csv"]["mine"], OrderedJson::parse("[1]"));
}

// mission.md, mistake 12.
TEST_F(ManifestTest, ConcurrentJobsLoseNothing) {
  constexpr int kUpdates = 500;
  const TempDir memory("/dev/shm");  // where an fsync costs nothing
  std::vector<pid_t> children;
  for (const std::string action : {"left", "right"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0; i < kUpdates; ++i) {
        ManifestUpdate update = Update(action, {action + std::to_string(i) + ".csv"});
        update.complete = false;
        if (!UpdateManifest(memory.fd(), update)) ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const auto manifest = OrderedJson::parse(memory.Read("metadata/manifest.json"));
  EXPECT_EQ(manifest["outputs"].size(), 2u * kUpdates);
}

TEST_F(ManifestTest, ABrokenManifestIsAnErrorAndStays) {
  for (const char* broken : {"", "{", "[]", "{\"outputs\": []}", "{\"workspace\": \"ws\"}",
                             "{\"workspace\": \"other\", \"outputs\": {}}",
                             "{\"workspace\": \"ws\", \"outputs\": {\"a\": 1}}",
                             "{\"workspace\": \"ws\", \"outputs\": {}, \"outputs\": {}}",
                             "{\"workspace\": \"ws\", \"outputs\": {\"\xff\": {}}}"}) {
    dir_.Write("metadata/manifest.json", broken);
    auto done = UpdateManifest(dir_.fd(), Update("one", {"a.csv"}));
    ASSERT_FALSE(done.has_value()) << broken;
    EXPECT_EQ(done.error().kind, ErrorKind::kRefused);
    EXPECT_EQ(done.error().where, "metadata/manifest.json");
    EXPECT_NE(done.error().hint.find("was not replaced"), std::string::npos);
    EXPECT_EQ(dir_.Read("metadata/manifest.json"), broken);
  }
  dir_.Write("metadata/manifest.json", std::string(100'000, '['));
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {})).has_value());
}

TEST_F(ManifestTest, AManifestThatIsNoFileIsAnError) {
  dir_.Write("elsewhere", "{}");
  dir_.Write("metadata/x", "");
  const std::string manifest = dir_ / "metadata/manifest.json";
  ASSERT_EQ(::symlink("../elsewhere", manifest.c_str()), 0);
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {})).has_value());
  EXPECT_EQ(dir_.Read("elsewhere"), "{}");
  ::unlink(manifest.c_str());
  ASSERT_EQ(::mkfifo(manifest.c_str(), 0666), 0);
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {})).has_value());
  ::unlink(manifest.c_str());
  ASSERT_EQ(::mkdir(manifest.c_str(), 0755), 0);
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {})).has_value());
  ::rmdir(manifest.c_str());
  ASSERT_EQ(::truncate((dir_ / "elsewhere").c_str(), (256ll << 20) + 1), 0);
  ASSERT_EQ(::link((dir_ / "elsewhere").c_str(), manifest.c_str()), 0);
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {})).has_value());
}

// mission.md, mistake 2: metadata/ is a link that leads elsewhere.
TEST_F(ManifestTest, ALinkedDirectoryIsNotFollowed) {
  ASSERT_EQ(::mkdir((dir_ / "elsewhere").c_str(), 0755), 0);
  ASSERT_EQ(::symlink("elsewhere", (dir_ / "metadata").c_str()), 0);
  EXPECT_FALSE(UpdateManifest(dir_.fd(), Update("one", {"a.csv"})).has_value());
  EXPECT_TRUE(ListDir(OpenPath(dir_ / "elsewhere", O_RDONLY)->get())->empty());
}

}  // namespace
}  // namespace carrel
