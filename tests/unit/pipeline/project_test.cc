// project.yaml: every rule, with the place that it names.
#include "pipeline/project.h"

#include <gmock/gmock.h>

#include "base/fs.h"

namespace carrel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A whole project with one action, `extra` after it, and a version.
std::string With(const std::string& extra, const std::string& version = "\"4.0\"") {
  return "version: " + version +
         "\n"
         "actions:\n"
         "  one:\n"
         "    run: python:v2 python one.py\n"
         "    outputs:\n"
         "      moderately_sensitive:\n"
         "        table: output/one.csv\n" +
         extra;
}

std::vector<std::string> Problems(const std::string& text) {
  ProjectFile project;
  std::vector<std::string> lines;
  for (const YamlProblem& problem : ReadProject(text, project))
    lines.push_back(ToString(problem, "p"));
  return lines;
}

std::string Action(const std::string& run, const std::string& outputs) {
  return "  two:\n    run: " + run + "\n    outputs: " + outputs + "\n";
}

TEST(Project, IsReadWhole) {
  auto project = ParseProject(
      With("  two:\n"
           "    run: ehrql:v1 generate-dataset 'analysis/data set.py' --output output/d.csv.gz\n"
           "    needs: [one]\n"
           "    config: {rows: 5, label: \"7\", deep: [true, 1.5, null]}\n"
           "    dummy_data_file: dummy.csv\n"
           "    outputs:\n"
           "      highly_sensitive:\n"
           "        d: output/d.csv.gz\n"));
  ASSERT_TRUE(project.has_value()) << project.error().ToString();
  EXPECT_EQ(project->version, 4);
  ASSERT_EQ(project->actions.size(), 2u);
  const ProjectAction& two = project->actions[1];
  EXPECT_EQ(two.name, "two");
  EXPECT_EQ(two.image, "ehrql:v1");
  EXPECT_THAT(two.args,
              ElementsAre("generate-dataset", "analysis/data set.py", "--output", "output/d.csv.gz",
                          "--config", R"({"rows":5,"label":"7","deep":[true,1.5,null]})"));
  EXPECT_THAT(two.needs, ElementsAre("one"));
  EXPECT_EQ(two.outputs.at(0).pattern, "output/d.csv.gz");
  EXPECT_EQ(two.outputs.at(0).level, Level::kHighlySensitive);
  EXPECT_EQ(two.place.line, 8);
}

TEST(Project, TheDemoIsOne) {
  auto text = ReadFile(CARREL_SOURCE_DIR "/tests/studies/demo/project.yaml");
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(Problems(*text), IsEmpty());
}

TEST(Project, AllProblemsAtOnceEachWithItsPlace) {
  EXPECT_THAT(
      Problems("version: 9\n"
               "actions:\n"
               "  run_all:\n"
               "    run: python python x.py\n"
               "    needs: [nobody]\n"
               "    colour: red\n"
               "    outputs:\n"
               "      secret:\n"
               "        a: ../a.csv\n"),
      ElementsAre(HasSubstr("p:1:10: version: must be a number from 1 to 5. Write"),
                  HasSubstr("p:3:3: actions.run_all: run_all is reserved"),
                  HasSubstr("p:4:10: actions.run_all.run: \"python\" is not an image"),
                  HasSubstr("p:5:13: actions.run_all.needs: there is no action \"nobody\""),
                  HasSubstr("p:6:5: actions.run_all.colour: the key \"colour\" is not known"),
                  HasSubstr("p:8:7: actions.run_all.outputs.secret: is not a level"),
                  HasSubstr("p:9:12: actions.run_all.outputs.secret.a: the output")));
}

TEST(Project, VersionsDiffer) {
  for (const char* version : {"1", "\"2.0\"", "4", "5", "'5.0'"})
    EXPECT_THAT(Problems(With("", version)), IsEmpty()) << version;
  for (const char* version : {"0", "6", "5.5", "four", "", "[4]", "nan", "-1"})
    EXPECT_THAT(Problems(With("", version)), ElementsAre(HasSubstr("version: must be a number")))
        << version;
  const std::string expectations = "expectations: {population_size: 100}\n";
  EXPECT_THAT(Problems(With("", "3")), ElementsAre(HasSubstr("expectations: is required")));
  EXPECT_THAT(Problems(expectations + With("", "3")), IsEmpty());
  EXPECT_THAT(Problems(expectations + With("", "2")), IsEmpty());
  EXPECT_THAT(Problems(expectations + With("", "4")), ElementsAre(HasSubstr("from version 4 on")));
  EXPECT_THAT(Problems("expectations: {population_size: many}\n" + With("", "3")),
              ElementsAre(HasSubstr("population_size: must be a whole number")));
  const std::string latest = Action("r:latest Rscript x.R", "{moderately_sensitive: {x: x.csv}}");
  EXPECT_THAT(Problems(With(latest, "4")), IsEmpty());
  EXPECT_THAT(Problems(With(latest, "5")), ElementsAre(HasSubstr("from version 5 on")));
  EXPECT_THAT(Problems("actions: {}\n"),
              ElementsAre(HasSubstr("version: is missing"), HasSubstr("at least one action")));
}

TEST(Project, TagsAreVersions) {
  for (const char* image : {"r:v1", "r:dev", "r:latest", "registry.example/a/r:v0.1.2"})
    EXPECT_THAT(
        Problems(With(Action(std::string(image) + " x", "{moderately_sensitive: {x: x.csv}}"))),
        IsEmpty())
        << image;
  for (const char* image :
       {"r", "r:", "r:1", "r:v", "r:v1.", "r:v1..2", "r:V1", "r:v1a", "R:v1",
        "r@sha256:0000000000000000000000000000000000000000000000000000000000000000"})
    EXPECT_EQ(Problems(With(Action(std::string("'") + image + " x'",
                                   "{moderately_sensitive: {x: x.csv}}")))
                  .size(),
              1u)
        << image;
}

TEST(Project, OutputsStayInTheWorkspace) {
  for (const char* path :
       {"/etc/passwd.txt", "../x.csv", "a/../x.csv", "a//x.csv", "./x.csv", "a\\\\x.csv",
        "**/x.csv", "x?.csv", "x[12].csv", "output/", "output/noextension", "output/.csv", "x.",
        "metadata/x.csv", "Metadata/x.csv"})
    EXPECT_THAT(Problems(With(Action(
                    "r:v1 x", std::string("{moderately_sensitive: {x: \"") + path + "\"}}"))),
                ElementsAre(HasSubstr("p:10:41: actions.two.outputs.moderately_sensitive.x: ")))
        << path;
  EXPECT_THAT(Problems(With(Action("r:v1 x", "{moderately_sensitive: {x: 'a/*/b*.csv'}}"))),
              IsEmpty());
}

TEST(Project, RunsAndOutputsAreUnique) {
  EXPECT_THAT(
      Problems(With(Action("python:v2 python one.py", "{moderately_sensitive: {x: x.csv}}"))),
      ElementsAre(HasSubstr("actions.two.run: is the same as that of one")));
  EXPECT_THAT(Problems(With(Action("r:v1 x", "{moderately_sensitive: {x: output/one.csv}}"))),
              ElementsAre(HasSubstr("the output \"output/one.csv\" is also one of one")));
}

TEST(Project, KeysThatAreThereTwiceHideNothing) {
  EXPECT_THAT(
      Problems("version: 4\n"
               "actions:\n"
               "  a:\n"
               "    run: r:v1 a\n"
               "    outputs: {moderately_sensitive: {a: a.csv, a: ../b.csv}}\n"
               "    bogus: 1\n"
               "version: 9\n"),
      ElementsAre(HasSubstr("the key \"a\" is here twice"), HasSubstr("is not a normal path"),
                  HasSubstr("the key \"bogus\" is not known"),
                  HasSubstr("the key \"version\" is here twice")));
}

TEST(Project, CirclesAreFound) {
  const std::string text =
      "version: 4\n"
      "actions:\n"
      "  a: {run: 'r:v1 a', needs: [c], outputs: {moderately_sensitive: {a: a.csv}}}\n"
      "  b: {run: 'r:v1 b', needs: [a], outputs: {moderately_sensitive: {b: b.csv}}}\n"
      "  c: {run: 'r:v1 c', needs: [b], outputs: {moderately_sensitive: {c: c.csv}}}\n"
      "  d: {run: 'r:v1 d', needs: [d, a, a], outputs: {moderately_sensitive: {d: d.csv}}}\n";
  EXPECT_THAT(Problems(text),
              ElementsAre(HasSubstr("a circle: a needs c needs b needs a"),
                          HasSubstr("a circle: d needs d"), HasSubstr("\"a\" is there twice")));
}

TEST(Project, DatasetsAreLevelThree) {
  const std::string run = "ehrql:v1 generate-dataset a.py --output output/d.csv";
  EXPECT_THAT(Problems(With(Action(run, "{highly_sensitive: {d: output/d.csv}}"))), IsEmpty());
  EXPECT_THAT(Problems(With(Action(run, "{highly_sensitive: {d: output/*.csv}}"))), IsEmpty());
  EXPECT_THAT(Problems(With(Action("ehrql:v1 generate-dataset a.py --output=out:arrow",
                                   "{highly_sensitive: {d: out/*.arrow}}"))),
              IsEmpty());
  EXPECT_THAT(Problems(With(Action(run, "{moderately_sensitive: {d: output/d.csv}}"))),
              ElementsAre(HasSubstr("must be highly_sensitive")));
  EXPECT_THAT(Problems(With(Action(run, "{highly_sensitive: {d: output/e.csv}}"))),
              ElementsAre(HasSubstr("--output output/d.csv is none of the action's outputs")));
  EXPECT_THAT(Problems(With(Action("ehrql:v1 generate-dataset a.py",
                                   "{highly_sensitive: {d: output/d.csv}}"))),
              ElementsAre(HasSubstr("has no --output")));
}

TEST(Project, RunLinesAreShell) {
  for (const char* run : {"r:v1 'open", "r:v1 \\"})
    EXPECT_THAT(Problems(With(
                    Action("|-\n      " + std::string(run), "{moderately_sensitive: {x: x.csv}}"))),
                ElementsAre(HasSubstr("actions.two.run: ")))
        << run;
  EXPECT_THAT(Problems(With("  two: {run: [a], needs: one, outputs: []}\n")),
              ElementsAre(HasSubstr("run: must be text"), HasSubstr("needs: must be a list"),
                          HasSubstr("outputs: must name at least one output")));
}

TEST(Project, SelectsWhatIsNeededInOrder) {
  auto project = ParseProject(
      "version: 4\n"
      "actions:\n"
      "  last: {run: 'r:v1 l', needs: [mid, other], outputs: {highly_sensitive: {a: l.csv}}}\n"
      "  first: {run: 'r:v1 f', outputs: {highly_sensitive: {a: f.csv}}}\n"
      "  mid: {run: 'r:v1 m', needs: [first], outputs: {highly_sensitive: {a: m.csv}}}\n"
      "  other: {run: 'r:v1 o', outputs: {highly_sensitive: {a: o.csv}}}\n");
  ASSERT_TRUE(project.has_value()) << project.error().ToString();
  auto names = [&](const std::vector<std::string>& wanted) {
    std::vector<std::string> order;
    auto selected = SelectActions(*project, wanted);
    if (!selected) return std::vector<std::string>{selected.error().ToString()};
    for (const ProjectAction* action : *selected) order.push_back(action->name);
    return order;
  };
  EXPECT_THAT(names({}), ElementsAre("first", "mid", "other", "last"));
  EXPECT_THAT(names({"run_all"}), ElementsAre("first", "mid", "other", "last"));
  EXPECT_THAT(names({"mid"}), ElementsAre("first", "mid"));
  EXPECT_THAT(names({"none"}), ElementsAre(HasSubstr("last, first, mid, other")));
  EXPECT_THAT(ProjectGraph(*project), HasSubstr("\"first\" -> \"mid\";"));
}

}  // namespace
}  // namespace carrel
