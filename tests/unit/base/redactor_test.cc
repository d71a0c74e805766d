#include "base/redactor.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

TEST(Redactor, FindsEverySpellingThatAUrlMayHave) {
  const Redactor redactor({"p/ s%\"\xc3\xb6"});
  for (const char* spelling :
       {"p/ s%\"\xc3\xb6", "p%2F%20s%25%22%C3%B6", "p%2f%20s%25%22%c3%b6", "p/+s%25%22\xc3\xb6",
        "%70%2F%20%73%25%22%C3%B6", "p%252F%2520s%2525%2522%25c3%25b6", "p\\/ s%\\\"\xc3\xb6"}) {
    const std::string found = redactor.Redacted("x://u:" + std::string(spelling) + "@h/d");
    EXPECT_EQ(found, "x://u:" + std::string(std::string_view(spelling).size(), '*') + "@h/d")
        << spelling;
  }
  EXPECT_EQ(redactor.Redacted("p/ s%\"o"), "p/ s%\"o");
  EXPECT_EQ(redactor.Redacted(""), "");
}

TEST(Redactor, AllOfThemAndWhatACutLeaves) {
  const Redactor redactor({"secret", "other"});
  EXPECT_EQ(redactor.Redacted("secretsecret otherx"), "************ *****x");
  std::string text = "a secr";
  redactor.Overwrite(text.data(), text.size());
  EXPECT_EQ(text, "a secr");
  redactor.Overwrite(text.data(), text.size(), true);
  EXPECT_EQ(text, "a ****");
  text = "a sec";
  redactor.Overwrite(text.data(), text.size(), true);
  EXPECT_EQ(text, "a sec");
}

}  // namespace
}  // namespace carrel
