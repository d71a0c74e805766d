#include "job/patterns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/subprocess.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;

// What pathlib itself finds, for every pattern over one tree of files.
const char kOracle[] = R"(
import json, pathlib, sys
root, patterns = json.load(sys.stdin)
found = {}
for pattern in patterns:
    paths = pathlib.Path(root).glob(pattern)
    found[pattern] = sorted({str(p.relative_to(root)) for p in paths if p.is_file()})
print(json.dumps(found))
)";

const std::vector<std::string> kFiles = {"a.csv",
                                         "b.CSV",
                                         ".hidden.csv",
                                         "output/a.csv",
                                         "output/.b.csv",
                                         "output/data/a.csv",
                                         "output/data/b.txt",
                                         "output/data/deep/a.csv",
                                         "output/data/deep/deeper/c.csv",
                                         "output/[x].csv",
                                         "output/x.csv",
                                         "output/!.csv",
                                         "output/-.csv",
                                         "output/]",
                                         "output/^.csv",
                                         "output/caf\xc3\xa9",
                                         "output/a b.csv",
                                         "output/a\\b.csv",
                                         "other/output/a.csv",
                                         "x/y/z/a.csv",
                                         "output2/a.csv",
                                         "output/data.csv/inner",
                                         "output/abcabc.csv",
                                         "output/noext",
                                         "output/5.csv"};

const std::vector<std::string> kPatterns = {"*",
                                            "*.csv",
                                            "?.csv",
                                            "output/*.csv",
                                            "output/*",
                                            "output/?.csv",
                                            "output/**/*.csv",
                                            "**/a.csv",
                                            "**/*.csv",
                                            "**/output/*.csv",
                                            "output/**",
                                            "**",
                                            "output/**/deep/**/*.csv",
                                            "*/a.csv",
                                            "*/*/a.csv",
                                            "output/[ab].csv",
                                            "output/[!a].csv",
                                            "output/[[]x].csv",
                                            "output/[x].csv",
                                            "output/[]]",
                                            "output/[!]]",
                                            "output/[",
                                            "output/[x",
                                            "output/[a-z].csv",
                                            "output/[z-a].csv",
                                            "output/[!z-a].csv",
                                            "output/[a-]*.csv",
                                            "output/[-a].csv",
                                            "output/[--9].csv",
                                            "output/[!-].csv",
                                            "output/[a-c-e].csv",
                                            "output/[^x].csv",
                                            "output/[a-b-y-z].csv",
                                            "output/caf?",
                                            "output/caf??",
                                            "output/a\\b.csv",
                                            "output/a?b.csv",
                                            "output/A.csv",
                                            "OUTPUT/a.csv",
                                            "./output/a.csv",
                                            "output//a.csv",
                                            "output/./a.csv",
                                            "output/*/",
                                            "output/a.csv",
                                            "output/a*c*.csv",
                                            "*a*/*",
                                            "output/*bc.csv",
                                            "output/***.txt.never",
                                            "**/**/a.csv",
                                            "**/*",
                                            "*/**/a.csv",
                                            ".*",
                                            "o*/[.]*",
                                            "output/.*",
                                            "output/[0-9].csv",
                                            "output/[\\].csv",
                                            "output/*.[ct][sx][vt]",
                                            "x/**/z/*.csv",
                                            "output/[a-zA-Z0-9_.]*",
                                            "output/data.csv/*",
                                            "**/data*/**/*"};

TEST(Patterns, AgreesWithPathlib) {
  TempDir tree;
  for (const std::string& file : kFiles) {
    tree.Write(file, "x");
  }
  std::vector<std::string> patterns;
  for (const std::string& pattern : kPatterns)
    if (CheckPattern(pattern, "")) patterns.push_back(pattern);
  EXPECT_EQ(patterns.size() + 1, kPatterns.size());  // "***" is not accepted, nor by pathlib
  SubprocessOptions options;
  options.input = Json::array({tree.path(), patterns}).dump();
  auto output = RunChecked({"python3", "-c", kOracle}, options);
  ASSERT_TRUE(output.has_value()) << output.error().ToString();
  const Json expected = Json::parse(*output);
  for (const std::string& pattern : patterns) {
    Json found = Json::array();
    std::vector<std::string> sorted = kFiles;
    std::sort(sorted.begin(), sorted.end());
    for (const std::string& file : sorted)
      if (MatchesPattern(pattern, file)) found.push_back(file);
    EXPECT_EQ(found, expected[pattern]) << pattern;
  }
}

TEST(Patterns, RefusesWhatLeavesTheWorkspace) {
  for (const char* bad : {"", "/", "/etc/*", "../x.csv", "output/../../x", "a/..", "a**", "**b/c",
                          "a\nb", "\xff.csv", "."}) {
    EXPECT_FALSE(CheckPattern(bad, "/output_spec").has_value()) << bad;
    EXPECT_FALSE(MatchesPattern(bad, "x.csv")) << bad;
  }
}

TEST(Patterns, ManyStarsAreNotSlow) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(MatchesPattern(pattern + "b", std::string(250, 'a')));
}

TEST(Patterns, Root) {
  EXPECT_EQ(PatternRoot("output/data/*.csv"), "output/data");
  EXPECT_EQ(PatternRoot("output/data/x.csv"), "output/data");
  EXPECT_EQ(PatternRoot("*.csv"), "");
  EXPECT_EQ(PatternRoot("x.csv"), "");
  EXPECT_EQ(PatternRoot("output/*/x.csv"), "output");
  EXPECT_EQ(PatternRoot("**/x.csv"), "");
}

}  // namespace
}  // namespace carrel
