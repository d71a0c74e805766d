// Hostile YAML is refused where it begins; run lines are split as shlex does.
#include <gmock/gmock.h>

#include "pipeline/shell_words.h"
#include "pipeline/yaml_document.h"

namespace carrel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "line:column path what" of the one problem; "" when there is none.
std::string Problem(const std::string& text, size_t max_bytes = 1u << 20) {
  YamlNode root;
  const auto problems = ReadYaml(text, max_bytes, root);
  if (problems.empty()) return "";
  return std::to_string(problems[0].place.line) + ":" + std::to_string(problems[0].place.column) +
         " " + problems[0].path + " " + problems[0].what;
}

TEST(Yaml, AliasesAreNotExpanded) {
  std::string bomb = "a: &a [x, x]\n";
  for (char name = 'b'; name <= 'z'; ++name)
    bomb += std::string(1, name) + ": &" + name + " [*" + static_cast<char>(name - 1) + "]\n";
  EXPECT_THAT(Problem(bomb), HasSubstr("1:"));
  EXPECT_THAT(Problem(bomb), HasSubstr("a anchors and aliases"));
  EXPECT_THAT(Problem("a: 1\nb: {<<: *a}\n"), HasSubstr("2:"));
  EXPECT_THAT(Problem("a: &x 1\n"), HasSubstr("anchors"));
  EXPECT_THAT(Problem("? &k key\n: 1\n"), HasSubstr("anchors"));
}

TEST(Yaml, SizeAndDepthAreBounded) {
  EXPECT_THAT(Problem("a: 12345", 4), HasSubstr("more than 4 bytes"));
  EXPECT_THAT(Problem("a: " + std::string(17, '[') + std::string(17, ']')), HasSubstr("nested"));
  EXPECT_EQ(Problem("a: " + std::string(15, '[') + std::string(15, ']')), "");
  EXPECT_THAT(Problem(std::string(500'000, '[')), HasSubstr("1:1 "));
  EXPECT_THAT(Problem(std::string(500'000, '{')), HasSubstr("1:"));
  std::string blocks;
  for (int depth = 0; depth < 400; ++depth) blocks += std::string(depth, ' ') + "a:\n";
  EXPECT_THAT(Problem(blocks), HasSubstr("nested"));
}

TEST(Yaml, KeysAreNamesAndOnce) {
  EXPECT_EQ(Problem("a:\n  b: 1\n  b: 2\n"), "3:3 a the key \"b\" is here twice");
  EXPECT_EQ(Problem("a:\n  b: 1\n  \"b\": 2\n"), "3:3 a the key \"b\" is here twice");
  EXPECT_THAT(Problem("? [a]\n: 1\n"), HasSubstr("key"));
  EXPECT_THAT(Problem("~: 1\n"), HasSubstr("key"));
}

TEST(Yaml, TextIsUtf8WithoutControls) {
  EXPECT_EQ(Problem("a: 1\nb: \xff\n"), "2:1  this line is not UTF-8");
  EXPECT_THAT(Problem(std::string("\xff\xfe"
                                  "a\0:\0",
                                  6)),
              HasSubstr("1:"));
  EXPECT_THAT(Problem("a: x\x1by\n"), HasSubstr("1:5  a control character"));
  EXPECT_EQ(Problem("a: caf\xc3\xa9\n"), "");
  EXPECT_EQ(Problem("\xef\xbb\xbf"
                    "a: 1\n"),
            "");  // a byte-order mark
}

TEST(Yaml, OneDocumentWithoutTags) {
  EXPECT_THAT(Problem("a: 1\n---\nb: 2\n"), HasSubstr("second document"));
  EXPECT_THAT(Problem(""), HasSubstr("empty"));
  EXPECT_THAT(Problem("a: !!binary aGk=\n"), HasSubstr("tags"));
  EXPECT_THAT(Problem("a: !own {b: 1}\n"), HasSubstr("tags"));
  EXPECT_THAT(Problem("a: [1\nb: 2\n"), HasSubstr("this is not YAML"));
}

TEST(Yaml, BecomesJson) {
  YamlNode root;
  ASSERT_TRUE(
      ReadYaml("a: {i: -3, f: 1.5, t: true, n: null, s: '1', w: word, l: [v2]}\n", 1000, root)
          .empty());
  EXPECT_EQ(ToJson(root).dump(),
            R"({"a":{"i":-3,"f":1.5,"t":true,"n":null,"s":"1","w":"word","l":["v2"]}})");
}

TEST(ShellWords, AreThoseOfShlex) {
  auto split = [](const std::string& line) {
    auto words = SplitShellWords(line);
    return words ? *words : std::vector<std::string>{"ERROR " + words.error().what};
  };
  EXPECT_THAT(split("  a\tb\n c "), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split("a'b c'd \"e f\"g"), ElementsAre("ab cd", "e fg"));
  EXPECT_THAT(split("'' \"\" x"), ElementsAre("", "", "x"));
  EXPECT_THAT(split(R"(a\ b \'c "d\"e\\f\g" 'h\i')"),
              ElementsAre("a b", "'c", R"(d"e\f\g)", R"(h\i)"));
  EXPECT_THAT(split("a # b $HOME *"), ElementsAre("a", "#", "b", "$HOME", "*"));
  EXPECT_TRUE(split("   ").empty());
  EXPECT_THAT(split("a 'b"), ElementsAre("ERROR the quote ' is not closed"));
  EXPECT_THAT(split("a \"b"), ElementsAre("ERROR the quote \" is not closed"));
  EXPECT_THAT(split("a \\"), ElementsAre("ERROR it ends in a backslash that escapes nothing"));
}

}  // namespace
}  // namespace carrel
