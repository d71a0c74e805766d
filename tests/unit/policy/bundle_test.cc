#include "policy/bundle.h"

#include <gtest/gtest.h>

#include "policy/host_policy.h"
#include "support/temp_dir.h"
#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::kNow;
using testing_support::ShippedFiles;
using testing_support::TempDir;

class BundleTest : public ::testing::Test {
 protected:
  BundleTest() {
    host.state = dir_ / "state";
    host.policies = "/nonexistent";
    host.policy_bundle = BundleRules{.file = dir_ / "bundle", .keys = {public_key}};
  }

  std::string Make(int64_t serial = 7, const std::string& expires = "2027-01-31") {
    auto text = MakeBundle({files, std::string(40, 'c'), serial, expires});
    EXPECT_TRUE(text.has_value()) << text.error().ToString();
    return text.value_or("");
  }
  std::string Signed(int64_t serial = 7) { return *SignBundle(Make(serial), seed); }
  Result<Policy> Load(const std::string& text, bool remember = true) {
    testing_support::WriteFile(dir_ / "bundle", text);
    auto policy = LoadHostPolicy(host, now);
    if (!policy || !remember) return policy;
    auto remembered = RememberPolicy(host, policy->bundle_serial, policy->digest);
    EXPECT_TRUE(remembered.has_value()) << remembered.error().ToString();
    return policy;
  }
  void ExpectRefused(const std::string& text, const std::string& part) {
    auto policy = Load(text);
    ASSERT_FALSE(policy.has_value());
    EXPECT_EQ(policy.error().kind, ErrorKind::kRefused);
    EXPECT_NE(policy.error().ToString().find(part), std::string::npos) << policy.error().ToString();
  }

  TempDir dir_;
  PolicyFiles files = ShippedFiles();
  std::string seed = *MakeSigningSeed();
  std::string public_key = *PublicKeyOf(seed);
  HostConfig host;
  int64_t now = kNow;
};

TEST_F(BundleTest, ASignedOneIsThePolicyOfItsDirectory) {
  auto policy = Load(Signed());
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  EXPECT_EQ(policy->digest, testing_support::ShippedPolicy().digest);
  EXPECT_EQ(policy->commit, std::string(40, 'c'));
  EXPECT_EQ(policy->bundle_serial, 7);
}

TEST_F(BundleTest, UnsignedOnesAreRefused) {
  ExpectRefused(Make(), "the bundle has 0 good signatures");
  ExpectRefused(*SignBundle(Make(), *MakeSigningSeed()), "the bundle has 0 good signatures");
  // Another key's signature under the id of the right one.
  Json forged = Json::parse(*SignBundle(Make(), *MakeSigningSeed()));
  const std::string signature = forged["signatures"].begin().value();
  forged["signatures"] = {{SigningKeyId(public_key), signature}};
  ExpectRefused(forged.dump(), "the bundle has 0 good signatures");
}

TEST_F(BundleTest, AlteredOnesAreRefused) {
  const Json good = Json::parse(Signed());
  const std::string payload = good["payload"];
  for (auto [from, to] : {std::pair<std::string, std::string>{"POS-2025-9001", "POS-2025-9002"},
                          {"\"serial\":7", "\"serial\":8"},
                          {"2027-01-31", "2037-01-31"},
                          {"\"format\"", " \"format\""}}) {
    Json altered = good;
    std::string text = payload;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    altered["payload"] = text.replace(at, from.size(), to);
    ExpectRefused(altered.dump(), "the bundle has 0 good signatures");
  }
  for (const char* patch :
       {R"([{"op":"remove","path":"/signatures"}])", R"([{"op":"remove","path":"/payload"}])",
        R"([{"op":"add","path":"/x","value":1}])"}) {
    auto policy = Load(good.patch(Json::parse(patch)).dump());
    ASSERT_FALSE(policy.has_value()) << patch;
  }
  EXPECT_FALSE(Load("").has_value());
}

// Whatever byte is another: the bundle is refused, or nothing of what it says has changed.
TEST_F(BundleTest, NoByteCanBeAnother) {
  const BundleRules rules{.file = "", .keys = {public_key}};
  const std::string good = Signed();
  const PolicyBundle whole = *VerifyBundle(good, rules, now);
  const size_t signatures = good.rfind("\"signatures\"");
  size_t refused = 0, tried = 0;
  for (size_t at = 0; at < good.size(); at += at < signatures ? 401 : 1)
    for (const int flip : {0x01, 0x20, 0x80}) {
      std::string altered = good;
      altered[at] = static_cast<char>(altered[at] ^ flip);
      const auto bundle = VerifyBundle(altered, rules, now);
      ++tried;
      refused += !bundle.has_value();
      if (!bundle) continue;
      EXPECT_EQ(bundle->files, whole.files) << at;
      EXPECT_EQ(bundle->serial, whole.serial) << at;
      EXPECT_EQ(bundle->until_ns, whole.until_ns) << at;
      EXPECT_EQ(bundle->commit, whole.commit) << at;
    }
  EXPECT_GT(refused, tried - 30);
  for (size_t size = 0; size < good.size() - 2; size += 1501)
    EXPECT_FALSE(VerifyBundle(good.substr(0, size), rules, now).has_value());
}

TEST_F(BundleTest, EnoughDifferentKeysMustSign) {
  const std::string second = *MakeSigningSeed();
  host.policy_bundle->keys.push_back(*PublicKeyOf(second));
  host.policy_bundle->signatures = 2;
  ExpectRefused(Signed(), "the bundle has 1 good signatures");
  EXPECT_TRUE(Load(*SignBundle(Signed(), second)).has_value());
  // One signature under both ids, and one key that is listed twice.
  Json twice = Json::parse(Signed());
  twice["signatures"][SigningKeyId(*PublicKeyOf(second))] = twice["signatures"].begin().value();
  ExpectRefused(twice.dump(), "the bundle has 1 good signatures");
  host.policy_bundle->keys = {public_key, public_key};
  ExpectRefused(*SignBundle(Signed(), seed), "the bundle has 1 good signatures");
}

TEST_F(BundleTest, ExpiredOnesAreRefused) {
  now = 1'801'439'999ll * 1'000'000'000;  // 2027-01-31T23:59:59Z
  EXPECT_TRUE(Load(Signed()).has_value());
  now += 1'000'000'000;
  ExpectRefused(Signed(), "the bundle has expired");
}

TEST_F(BundleTest, RolledBackOnesAreRefused) {
  const std::string old = Signed(7);
  files["README.md"] += "newer\n";
  const std::string newer = Signed(8);
  EXPECT_TRUE(Load(old).has_value());
  EXPECT_TRUE(Load(newer).has_value());
  ExpectRefused(old, "this host has run under 8 already");
  EXPECT_TRUE(Load(newer).has_value());
  files["README.md"] += "other\n";
  ExpectRefused(Signed(8), "another bundle with the same serial 8");
  host.policy_bundle->minimum_serial = 9;
  ExpectRefused(newer, "the configuration demands at least 9");
}

TEST_F(BundleTest, AQuestionIsNotRemembered) {
  EXPECT_TRUE(Load(Signed(9), false).has_value());
  EXPECT_TRUE(Load(Signed(7), true).has_value());
}

TEST_F(BundleTest, ADamagedMemoryStopsRuns) {
  EXPECT_TRUE(Load(Signed(7)).has_value());
  testing_support::WriteFile(dir_ / "state/policy-bundle.json", "");
  auto policy = Load(Signed(8));
  ASSERT_FALSE(policy.has_value());
  EXPECT_EQ(policy.error().kind, ErrorKind::kFault);
}

TEST_F(BundleTest, OnlyWholePoliciesBecomeBundles) {
  files.erase("tools.json");
  EXPECT_FALSE(MakeBundle({files, "", 1, "2027-01-31"}).has_value());
  files = ShippedFiles();
  EXPECT_FALSE(MakeBundle({files, "", 0, "2027-01-31"}).has_value());
  EXPECT_FALSE(MakeBundle({files, "", 1, "31.1.2027"}).has_value());
  files["NOTES.md"] = "\xff";
  EXPECT_FALSE(MakeBundle({files, "", 1, "2027-01-31"}).has_value());
}

}  // namespace
}  // namespace carrel
