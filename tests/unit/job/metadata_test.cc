#include "job/metadata.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "job/messages.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;

TEST(Metadata, HasTheMembersOfTheContractInOrder) {
  JobDefinition job;
  job.id = "j1";
  job.rap_id = "r1";
  job.created_at = 1785000000;
  job.image_sha = "sha256:" + std::string(64, 'e');
  JobMetadata metadata;
  metadata.collection.outputs.push_back({"a.csv", Level::kHighlySensitive, 1, "x"});
  metadata.collection.outputs.push_back({"b.csv", Level::kModeratelySensitive, 1, "x", "too big"});
  metadata.collection.tampered = {"code.py: removed"};
  metadata.exit_code = 137;
  metadata.completed_at_ns = 1785588896123456789;
  const OrderedJson json = ToJson(job, metadata);
  std::string names;
  for (const auto& [name, value] : json.items()) names += name + " ";
  EXPECT_EQ(names,
            "outputs unmatched_patterns unmatched_outputs status_message hint timestamp_ns "
            "job_definition_id job_definition_rap_id task_id created_at user completed_at "
            "docker_image_id expected_image_id exit_code oom_killed container_metadata commit "
            "database_name action_version action_revision action_created base_revision "
            "base_created level4_excluded_files cancelled error job_metrics carrel ");
  EXPECT_EQ(json["outputs"].dump(),
            R"({"a.csv":"highly_sensitive","b.csv":"moderately_sensitive"})");
  EXPECT_EQ(json["level4_excluded_files"].dump(), R"({"b.csv":"too big"})");
  EXPECT_EQ(json["exit_code"], "137");
  EXPECT_EQ(json["completed_at"], 1785588896);
  EXPECT_EQ(json["error"], nullptr);
  EXPECT_EQ(json["database_name"], nullptr);
  EXPECT_EQ(json["carrel"]["tampered"][0], "code.py: removed");
}

// mission.md, mistake 9: no secret in what inspect and metadata show.
TEST(Metadata, EnvironmentIsRedacted) {
  const OrderedJson redacted = RedactEnvironment(OrderedJson::parse(R"({
    "Config": {"Env": ["PATH=/bin", "DATABASE_URL=mssql://u:secret@h/d", "TOKEN", "X=secret=1",
                       "PYTHONPATH=https://u:secret@h/"], "Image": "i"},
    "list": [{"environment": {"HOME": "/tmp", "KEY": "secret", "N": 1}}], "env": "secret"})"));
  EXPECT_EQ(redacted.dump(),
            R"({"Config":{"Env":["PATH=/bin","DATABASE_URL=[redacted]","TOKEN","X=[redacted]",)"
            R"("PYTHONPATH=[redacted]"],"Image":"i"},)"
            R"("list":[{"environment":{"HOME":"/tmp","KEY":"[redacted]","N":"[redacted]"}}],)"
            R"("env":"[redacted]"})");
}

class RecordsTest : public testing::Test {
 protected:
  RecordsTest() {
    for (const char* name : {"logs", "high", "medium"}) ::mkdir((dir_ / name).c_str(), 0755);
    logs_ = *OpenPath(dir_ / "logs", O_RDONLY | O_DIRECTORY);
    high_ = *OpenPath(dir_ / "high", O_RDONLY | O_DIRECTORY);
    medium_ = *OpenPath(dir_ / "medium", O_RDONLY | O_DIRECTORY);
    places_ = {logs_.get(), high_.get(), medium_.get(), "2026-08", "j1", "act"};
    places_.high = {::geteuid(), ::getegid(), 0700, 0600};
    places_.medium = {::geteuid(), ::getegid(), 0755, 0644};
    dir_.Write("log", "the log\n");
    log_ = *OpenPath(dir_ / "log", O_RDONLY);
  }
  mode_t Mode(const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::lstat((dir_ / name).c_str(), &info), 0) << name;
    return info.st_mode & 07777;
  }
  TempDir dir_;
  UniqueFd logs_, high_, medium_, log_;
  RecordPlaces places_;
};

TEST_F(RecordsTest, GoToTheirPlacesWithTheModeOfTheLevel) {
  ASSERT_TRUE(PublishLog(places_, log_.get()).has_value());
  ASSERT_TRUE(PublishLog(places_, log_.get()).has_value());  // a second job of the action
  ASSERT_TRUE(WriteMetadata(places_, {{"a", "\xff"}}).has_value());
  for (const char* name :
       {"logs/2026-08/os-job-j1/logs.txt", "high/metadata/act.log", "medium/metadata/act.log"})
    EXPECT_EQ(dir_.Read(name), "the log\n") << name;
  EXPECT_EQ(Mode("logs/2026-08"), 0700u);
  EXPECT_EQ(Mode("logs/2026-08/os-job-j1/logs.txt"), 0600u);
  EXPECT_EQ(Mode("logs/2026-08/os-job-j1/metadata.json"), 0600u);
  EXPECT_EQ(Mode("high/metadata/act.log"), 0600u);
  EXPECT_EQ(Mode("medium/metadata"), 0755u);
  EXPECT_EQ(Mode("medium/metadata/act.log"), 0644u);
  EXPECT_EQ(ListDir(OpenPath(dir_ / "medium/metadata", O_RDONLY)->get())->size(), 1u);
}

// The agent can finalize a job of an action that another job of is finalized just now.
TEST_F(RecordsTest, JobsOfOneActionPublishSideBySide) {
  std::vector<std::thread> jobs;
  std::atomic<int> failed = 0;
  for (int job = 0; job < 4; ++job)
    jobs.emplace_back([&, job] {
      RecordPlaces places = places_;
      places.job_id += std::to_string(job);
      for (int i = 0; i < 25; ++i) {
        const UniqueFd log = *OpenPath(dir_ / "log", O_RDONLY);
        failed += !PublishLog(places, log.get()).has_value();
      }
    });
  for (std::thread& job : jobs) job.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(ListDir(OpenPath(dir_ / "medium/metadata", O_RDONLY)->get())->size(), 1u);
}

TEST_F(RecordsTest, WhatAKilledWriterLeftGoesWithTheNextWrite) {
  ASSERT_TRUE(WriteMetadata(places_, {{"a", 1}}).has_value());
  dir_.Write("logs/2026-08/os-job-j1/.metadata.json.tmp.4711", "half");
  dir_.Write("logs/2026-08/os-job-j1/.other.tmp.4711", "another's");
  ASSERT_TRUE(WriteMetadata(places_, {{"a", 2}}).has_value());
  EXPECT_EQ(ListDir(OpenPath(dir_ / "logs/2026-08/os-job-j1", O_RDONLY)->get())->size(), 2u);
}

// mission.md, mistake 8.
TEST_F(RecordsTest, AnActionsNameIsNoPath) {
  for (const char* bad : {"../x", "a/b", "..", "", "a\nb", "manifest\xff"}) {
    places_.action = bad;
    EXPECT_FALSE(PublishLog(places_, log_.get()).has_value()) << bad;
  }
  places_.action = "act";
  places_.job_id = "../../x";
  EXPECT_FALSE(PublishLog(places_, log_.get()).has_value());
  EXPECT_FALSE(WriteMetadata(places_, {}).has_value());
  EXPECT_FALSE(dir_.Exists("high/metadata"));
}

// mission.md, mistake 2.
TEST_F(RecordsTest, LinksAreNotFollowed) {
  ASSERT_EQ(::mkdir((dir_ / "outside").c_str(), 0755), 0);
  dir_.Write("outside/target", "old");
  dir_.Write("high/metadata/x", "");
  ASSERT_EQ(::symlink("../../outside/target", (dir_ / "high/metadata/act.log").c_str()), 0);
  ASSERT_EQ(::symlink("../outside", (dir_ / "medium/metadata").c_str()), 0);
  EXPECT_FALSE(PublishLog(places_, log_.get()).has_value());
  EXPECT_EQ(dir_.Read("outside/target"), "old");
  EXPECT_EQ(dir_.Read("high/metadata/act.log"), "the log\n");
  EXPECT_EQ(ListDir(OpenPath(dir_ / "outside", O_RDONLY)->get())->size(), 1u);
}

TEST(Messages, SayWhatHappened) {
  const auto status = [](ExitFacts facts) { return DescribeExit(facts).status; };
  EXPECT_EQ(status({0}), "Completed successfully");
  EXPECT_EQ(status({137, true, false, false, false, 4ull << 30}),
            "Job ran out of memory (limit was 4.0 GiB)");
  EXPECT_EQ(status({137, false, true}), "Job cancelled by user");
  EXPECT_EQ(status({137, true, true}), "Job cancelled by user");
  EXPECT_EQ(status({137}), "Job killed by an administrator or by the system");
  EXPECT_EQ(status({143, false, false, true, false, 0, 86400}),
            "Job ran for longer than is allowed (limit was 24 hours)");
  EXPECT_EQ(status({139}), "Job was ended by SIGSEGV");
  EXPECT_EQ(status({127}), "The command was not found in the image");
  EXPECT_EQ(status({3}), "Job exited with an error");
  std::set<std::string> distinct;
  for (int code : {2, 3, 4, 5, 6, 10, 11, 12, 13, 14}) {
    ExitFacts facts{code};
    facts.database_tool = true;
    distinct.insert(status(facts));
  }
  EXPECT_EQ(distinct.size(), 10u);
  EXPECT_FALSE(distinct.contains("Job exited with an error"));
}

TEST(Messages, MissingOutputsAreNamedInTheHintOnly) {
  const JobMessage message = DescribeMissingOutputs({"output/a*.csv"}, {"output/b.csv"});
  EXPECT_EQ(message.status.find("output/"), std::string::npos);
  EXPECT_EQ(message.hint, "No file matches output/a*.csv. The action made: output/b.csv");
  std::vector<std::string> many(50, "x");
  EXPECT_NE(DescribeMissingOutputs({"p"}, many).hint.find("and 30 more"), std::string::npos);
}

TEST(Messages, AMissingOutputThatIsNearlyThere) {
  const auto hint = [](const std::string& pattern, const std::string& made) {
    return DescribeMissingOutputs({pattern}, {made}).hint;
  };
  EXPECT_EQ(hint("output/table.csv", "output/Table.csv"),
            "No file matches output/table.csv. The action made: output/Table.csv. Is "
            "output/Table.csv meant for output/table.csv? Then upper and lower case count");
  EXPECT_NE(hint("output/*.csv", "output/A.CSV").find("upper and lower case"), std::string::npos);
  EXPECT_NE(hint("output/table.csv", "results/table.csv").find("another directory"),
            std::string::npos);
  for (const char* slip :
       {"output/tabel.csv", "output/tables.csv", "output/tabl.csv", "output/tacle.csv"})
    EXPECT_NE(hint("output/table.csv", slip).find("a letter is different"), std::string::npos)
        << slip;
  for (const char* other : {"output/rows.csv", "output/table.png", "output/talbes.csv"})
    EXPECT_EQ(hint("output/table.csv", other).find("meant"), std::string::npos) << other;
  EXPECT_NE(DescribeMissingOutputs({"p.csv"}, {}).hint.find("/tmp is not kept"), std::string::npos);
}

TEST(Messages, WhatTheActionPrintedIsExplained) {
  const auto hint = [](const std::string& output) {
    ExitFacts facts;
    facts.exit_code = 1;
    facts.last_output = output;
    return DescribeExit(facts).hint;
  };
  EXPECT_EQ(hint(""), "The end of the action's log shows it; the exit code was 1");
  EXPECT_EQ(hint("KeyError: 'a'\n"), hint(""));
  EXPECT_NE(hint("OSError: [Errno 30] Read-only file system: 'x'\n").find("all else is read-only"),
            std::string::npos);
  EXPECT_NE(hint("ModuleNotFoundError: No module named 'x'\n").find("another image"),
            std::string::npos);
  // The last is what ended it.
  EXPECT_NE(hint("No such file or directory\nNetwork is unreachable\n").find("no network"),
            std::string::npos);
  EXPECT_NE(hint("Network is unreachable\nNo such file or directory\n").find("needs"),
            std::string::npos);
}

}  // namespace
}  // namespace carrel
