#include "base/json.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

TEST(ParseJson, RefusesDuplicateKeys) {
  auto parsed = ParseJson(R"({"a": {"b": 1, "b": 2}})", "job.json");
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(parsed.error().ToString().find("/a/b: the key \"b\" appears twice"), std::string::npos);
}

TEST(ParseJson, SaysWhereEachDuplicateKeyIs) {
  auto parsed = ParseJson(R"({"x": [1, {"y": 2, "y": 3}, [[], {"z/": 1, "z/": 1}]], "x": 2})", "f");
  ASSERT_FALSE(parsed.has_value());
  const std::string text = parsed.error().ToString();
  for (const char* place : {"/x/1/y: ", "; /x/2/1/z~1: ", "; /x: the key \"x\""})
    EXPECT_NE(text.find(place), std::string::npos) << place << " in " << text;
}

TEST(ParseJson, RefusesDeepNestingWithoutRecursion) {
  EXPECT_FALSE(ParseJson(std::string(10'000'000, '['), "deep").has_value());
}

TEST(ParseJson, RefusesTrailingText) { EXPECT_FALSE(ParseJson("{} x", "t").has_value()); }

TEST(ParseJson, RefusesInvalidUtf8) { EXPECT_FALSE(ParseJson("\"\xff\"", "t").has_value()); }

TEST(JsonObject, ReportsEveryProblemWithItsPointer) {
  auto value =
      ParseJson(R"({"name": 3, "count": 1e30, "extra": 1, "sub": {"x/y": "\u0000"}})", "t");
  ASSERT_TRUE(value.has_value());
  JsonObject in(*value, "");
  EXPECT_EQ(in.RequiredString("name"), "");
  EXPECT_FALSE(in.Int("count", 0, 10).has_value());
  EXPECT_TRUE(in.StringMap("sub")->empty());
  EXPECT_EQ(in.RequiredInt("missing", 1, 2), 1);
  auto finished = in.Finish();
  ASSERT_FALSE(finished.has_value());
  const std::string text = finished.error().ToString();
  EXPECT_NE(text.find("/name: must be a string"), std::string::npos) << text;
  EXPECT_NE(text.find("/count: must be a whole number"), std::string::npos) << text;
  EXPECT_NE(text.find("/sub/x~1y: holds a NUL"), std::string::npos) << text;
  EXPECT_NE(text.find("/missing: is required"), std::string::npos) << text;
  EXPECT_NE(text.find("/extra: unknown key"), std::string::npos) << text;
}

TEST(JsonObject, HugeUnsignedIsNotAnInt) {
  auto value = ParseJson(R"({"n": 18446744073709551615})", "t");
  JsonObject in(*value, "");
  EXPECT_FALSE(in.Int("n", INT64_MIN, INT64_MAX).has_value());
  EXPECT_FALSE(in.Finish().has_value());
}

}  // namespace
}  // namespace carrel
