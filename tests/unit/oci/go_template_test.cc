#include "oci/go_template.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

const OrderedJson& Sample() {
  static const OrderedJson sample = {{"Id", "abc"},
                                     {"State", {{"Running", true}, {"ExitCode", 3}}},
                                     {"Labels", {{"a.b", "x"}}},
                                     {"None", nullptr}};
  return sample;
}

struct Case {
  const char* text;
  const char* expected;  ///< nullptr: refused
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.text; }

class GoTemplateTest : public ::testing::TestWithParam<Case> {};

TEST_P(GoTemplateTest, RendersOrRefuses) {
  const auto rendered = RenderGoTemplate(GetParam().text, Sample());
  if (GetParam().expected == nullptr) {
    ASSERT_FALSE(rendered.has_value()) << *rendered;
    EXPECT_EQ(rendered.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(rendered.error().what.find("template"), std::string::npos);
  } else {
    ASSERT_TRUE(rendered.has_value()) << rendered.error().ToString();
    EXPECT_EQ(*rendered, GetParam().expected);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, GoTemplateTest,
    ::testing::Values(Case{"ok", "ok"}, Case{"{{json .State}}", R"({"Running":true,"ExitCode":3})"},
                      Case{"{{json .State.Running}}", "true"}, Case{"{{ .State.ExitCode }}", "3"},
                      Case{"{{.Id}} {{json .Id}}", "abc \"abc\""}, Case{"{{json .ID}}", "\"abc\""},
                      Case{R"({{.Id}}\t{{.State.ExitCode}})", "abc\t3"},
                      Case{R"({{index .Labels "a.b"}})", "x"}, Case{R"({{index .Labels "c"}})", ""},
                      Case{"{{.None}}", "<no value>"}, Case{"{{json .None}}", "null"},
                      Case{"{{.Missing}}", nullptr}, Case{"{{json .State.Missing}}", nullptr},
                      Case{"{{.Id", nullptr}, Case{"{{range .Labels}}x{{end}}", nullptr},
                      Case{"{{}}", nullptr}, Case{"{{Id}}", nullptr}));

TEST(GoTemplate, DotIsTheWholeDocument) {
  EXPECT_EQ(RenderGoTemplate("{{json .}}", Sample()).value_or(""), Sample().dump());
}

}  // namespace
}  // namespace carrel
