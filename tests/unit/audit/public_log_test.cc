#include "audit/public_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

std::vector<Hash> Leaves(size_t n) {
  std::vector<Hash> leaves;
  for (size_t i = 0; i < n; ++i) leaves.push_back(LeafHash("entry " + std::to_string(i)));
  return leaves;
}

TEST(Merkle, KnownRoots) {
  // From the test vectors of Certificate Transparency.
  EXPECT_EQ(HexOf(MerkleRoot({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::vector<std::string> entries = {
      "", std::string(1, '\0'), "\x10", " !", "01", "@ABC", "PQRSTUVW", "`abcdefghijklmno"};
  std::vector<Hash> leaves;
  for (const std::string& entry : entries) leaves.push_back(LeafHash(entry));
  EXPECT_EQ(HexOf(leaves[0]), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  EXPECT_EQ(HexOf(MerkleRoot(leaves)),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

TEST(Merkle, FrontierAgreesWithTheTree) {
  Frontier frontier;
  for (size_t n = 0; n < 70; ++n) {
    EXPECT_EQ(frontier.Root(), MerkleRoot(Leaves(n))) << n;
    frontier.Append(LeafHash("entry " + std::to_string(n)));
  }
}

TEST(Merkle, InclusionProofsHoldForTheirLeafOnly) {
  for (size_t n = 1; n < 34; ++n) {
    const auto leaves = Leaves(n);
    const Hash root = MerkleRoot(leaves);
    for (size_t i = 0; i < n; ++i) {
      auto proof = InclusionProof(leaves, i);
      EXPECT_TRUE(VerifyInclusion(leaves[i], i, n, proof, root));
      EXPECT_FALSE(VerifyInclusion(LeafHash("other"), i, n, proof, root));
      EXPECT_FALSE(VerifyInclusion(leaves[i], i + n, n, proof, root));
      if (n > 1) {
        EXPECT_FALSE(VerifyInclusion(leaves[i], (i + 1) % n, n, proof, root));
      }
      if (!proof.empty()) {
        proof.pop_back();
        EXPECT_FALSE(VerifyInclusion(leaves[i], i, n, proof, root));
      }
    }
  }
}

TEST(Merkle, ConsistencyProofsHoldForPrefixesOnly) {
  for (size_t n = 1; n < 34; ++n) {
    const auto leaves = Leaves(n);
    for (size_t m = 1; m <= n; ++m) {
      auto proof = ConsistencyProof(leaves, m);
      const Hash old_root = MerkleRoot(Leaves(m)), new_root = MerkleRoot(leaves);
      EXPECT_TRUE(VerifyConsistency(m, n, old_root, new_root, proof)) << m << " of " << n;
      auto changed = Leaves(m);
      changed[m / 2] = LeafHash("rewritten");
      EXPECT_FALSE(VerifyConsistency(m, n, MerkleRoot(changed), new_root, proof));
    }
  }
}

class PublicLogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/carrel-public-XXXXXX";
    state_ = ::mkdtemp(name);
  }
  void TearDown() override {
    auto tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(RemoveTree(tmp->get(), state_.substr(5)).has_value());
  }
  PublicJob Job(const std::string& id) {
    PublicJob job;
    job.job = id;
    job.repository = "https://github.com/opensafely/study";
    job.commit = std::string(40, 'a');
    job.head = std::string(64, 'b');
    return job;
  }
  std::string Path(const std::string& name) { return state_ + "/public/" + name; }
  void Write(const std::string& name, const std::string& text) {
    auto fd = OpenPath(Path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
  }
  std::string state_;
};

TEST_F(PublicLogTest, AppendsUnderASignedHead) {
  for (int i = 0; i < 5; ++i) {
    auto index = AppendPublicRecord(state_, Job("job-" + std::to_string(i)));
    ASSERT_TRUE(index.has_value()) << index.error().ToString();
    EXPECT_EQ(*index, static_cast<uint64_t>(i));
  }
  auto log = ReadPublicLog(state_, state_ + "/public");
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_EQ(log->records.size(), 5u);
  EXPECT_EQ(FindPublicRecord(*log, "job-3"), 3u);
  EXPECT_FALSE(FindPublicRecord(*log, "job-9").has_value());
}

TEST_F(PublicLogTest, AnyChangeIsFound) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendPublicRecord(state_, Job("j" + std::to_string(i))));
  const std::string good = *ReadFile(Path("log.jsonl"));
  const std::string head = *ReadFile(Path("tree.json"));
  for (size_t i = 0; i < good.size(); i += 11) {
    std::string bad = good;
    bad[i] ^= 1;
    Write("log.jsonl", bad);
    EXPECT_FALSE(ReadPublicLog(state_, state_ + "/public").has_value()) << i;
  }
  Write("log.jsonl", good.substr(good.find('\n') + 1));  // the first record removed
  EXPECT_FALSE(ReadPublicLog(state_, state_ + "/public").has_value());
  Write("log.jsonl", good);
  for (size_t i = 0; i + 1 < head.size(); ++i) {
    std::string bad = head;
    bad[i] ^= 1;
    Write("tree.json", bad);
    EXPECT_FALSE(ReadPublicLog(state_, state_ + "/public").has_value()) << i;
  }
}

TEST_F(PublicLogTest, GoesOnAfterACrash) {
  ASSERT_TRUE(AppendPublicRecord(state_, Job("a")).has_value());
  const std::string head = *ReadFile(Path("tree.json"));
  ASSERT_TRUE(AppendPublicRecord(state_, Job("b")).has_value());
  // Killed after the record, before the head; and again in the middle of a record.
  Write("tree.json", head);
  Write("log.jsonl", *ReadFile(Path("log.jsonl")) + "{\"half");
  ASSERT_TRUE(AppendPublicRecord(state_, Job("c")).has_value());
  auto log = ReadPublicLog(state_, state_ + "/public");
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_EQ(log->records.size(), 3u);
  EXPECT_EQ(FindPublicRecord(*log, "c"), 2u);
}

TEST_F(PublicLogTest, RemovedRecordsStopTheNextAppend) {
  ASSERT_TRUE(AppendPublicRecord(state_, Job("a")).has_value());
  Write("log.jsonl", "");
  EXPECT_FALSE(AppendPublicRecord(state_, Job("b")).has_value());
}

TEST(PublicRecord, NamesThePolicysCommitAndSaysWhetherItWasChanged) {
  PublicJob job;
  job.job = "j";
  EXPECT_EQ(PublicRecordText(job).find("policy_c"), std::string::npos);
  job.policy_commit = std::string(40, 'c');
  EXPECT_EQ(Json::parse(PublicRecordText(job))["policy_commit"], job.policy_commit);
  EXPECT_FALSE(Json::parse(PublicRecordText(job)).contains("policy_changed"));
  job.policy_commit += "+changes";
  const Json record = Json::parse(PublicRecordText(job));
  EXPECT_EQ(record["policy_commit"], std::string(40, 'c'));
  EXPECT_EQ(record["policy_changed"], true);
  EXPECT_FALSE(record.contains("withheld"));
}

// Without its head a log would be one of no records, and the next job would sign whatever it holds.
TEST_F(PublicLogTest, ALogWithoutItsHeadIsNeitherWholeNorGoneOnWith) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendPublicRecord(state_, Job("job")).has_value());
  ASSERT_EQ(::unlink(Path("tree.json").c_str()), 0);
  LogFinding finding = LogFinding::kWhole;
  EXPECT_FALSE(ReadPublicLog(state_, state_ + "/public", &finding).has_value());
  EXPECT_EQ(finding, LogFinding::kTruncated);
  EXPECT_FALSE(AppendPublicRecord(state_, Job("job")).has_value());
  // The very first record, and a crash.
  Write("log.jsonl", PublicRecordText(Job("job")) + "\n");
  EXPECT_TRUE(AppendPublicRecord(state_, Job("job")).has_value());
}

TEST(PublicRecord, NothingDisclosiveGetsIn) {
  const std::vector<std::string> secrets = {
      "9434765919", "/srv/high_privacy/x.csv", "s3cret", "db01.nhs.uk", "Jane Doe", "patient_id"};
  for (const std::string& secret : secrets) {
    PublicJob job;
    job.job = secret + " ";
    job.repository = "https://user:" + secret + "@host/x";
    job.commit = job.image_digest = job.policy_digest = job.policy_commit = job.seccomp_digest =
        job.head = secret;
    job.tool = job.project = job.database = secret + "/..";
    job.permissions = {secret + "!", "Include T1OO " + secret};
    const std::string text = PublicRecordText(job);
    EXPECT_EQ(text.find(secret), std::string::npos) << text;
    EXPECT_EQ(text.find(secret.substr(0, 6)), std::string::npos) << text;
  }
  PublicJob job;
  job.repository = "/srv/repos/study";
  EXPECT_NE(PublicRecordText(job).find("\"withheld\":[\"repository\"]"), std::string::npos);
}

TEST(PublicRecord, CountsAndTimesAreTooCoarseForAMessage) {
  PublicJob job;
  job.counts = {9434765919, 123, 0, 0};
  job.started_ns = 1'700'000'000'123'456'789;
  job.ended_ns = 1'700'000'042'123'456'789;
  auto record = ParseJson(PublicRecordText(job), "record");
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ((*record)["calls"], 9000000000u);
  EXPECT_EQ((*record)["denied"], 100u);
  EXPECT_EQ((*record)["started"], "2023-11-14T22:13Z");
  EXPECT_EQ((*record)["outcome"], "fault");
}

}  // namespace
}  // namespace carrel
