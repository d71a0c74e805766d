// carrel pipeline: a project.yaml through the same path as the agent's jobs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// One action: its run line is a line of shell.
std::string Action(const std::string& name, const std::string& shell, const std::string& output,
                   const std::string& more = "") {
  return "  " + name + ":\n    run: >-\n      python:v2 sh -c '" + shell + "'\n" + more +
         "    outputs: {moderately_sensitive: {out: " + output + "}}\n";
}
std::string Project(const std::string& actions) { return "version: '4.0'\nactions:\n" + actions; }

class Pipeline : public ::testing::Test {
 protected:
  std::vector<std::string> Arguments(std::vector<std::string> more) {
    std::vector<std::string> args = {
        "pipeline", "run",    study_.repository(), "--config", study_.config_path(), "--workspace",
        "demo",     "--user", "developer",         "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // Runs the pipeline; `states` is then "name state" of each action.
  SubprocessResult Run(std::vector<std::string> more = {}) {
    auto done = RunCarrel(Arguments(std::move(more)));
    json_ = Json::parse(done.output, nullptr, false);
    states_.clear();
    if (json_.is_object())
      for (const Json& action : json_["actions"])
        states_.push_back(action["action"].get<std::string>() + " " +
                          action["state"].get<std::string>());
    return done;
  }
  std::string MessageOf(const std::string& name) {
    for (const Json& action : json_["actions"])
      if (action["action"] == name) return action["message"];
    return "";
  }

  Study study_;
  Json json_;
  std::vector<std::string> states_;
};

// A study's directory has a configuration of git's that names programs: none is run, whether for an
// object that is missing or for a repository within the repository.
TEST_F(Pipeline, ProgramsThatTheStudysGitNamesAreNotRun) {
  study_.Commit({{"project.yaml", Project(Action("one", "echo a,b > o/x.csv", "o/x.csv"))}});
  const std::string ran = study_.path() + "/ran", inner = study_.repository() + "/inner";
  study_.Git({"init", "--quiet", inner}, "/");
  study_.Git({"commit", "--quiet", "--allow-empty", "-m", "inner"}, inner);
  study_.Commit({{"code.txt", "committed\n"}});
  WriteFile(inner + "/.git/config",
            "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"touch " + ran + ";false\"\n");
  WriteFile(study_.repository() + "/code.txt", "not committed\n");
  study_.config()["allowed_repositories"].push_back(study_.state() + "/pipelines");
  study_.WriteConfig();
  const auto snapshot = Run({"--allow-uncommitted"});
  EXPECT_EQ(snapshot.exit_code, 0) << snapshot.errors;
  EXPECT_FALSE(std::filesystem::exists(ran)) << snapshot.errors;

  WriteFile(study_.repository() + "/.git/config",
            "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n"
            "[remote \"origin\"]\n\turl = /nowhere\n\tpromisor = true\n\tuploadpack = \"touch " +
                ran + ";git-upload-pack\"\n");
  WriteFile(study_.repository() + "/.git/refs/heads/main", std::string(40, '1') + "\n");
  const auto missing = Run();
  EXPECT_EQ(missing.exit_code, 2) << missing.errors;
  EXPECT_THAT(missing.errors, HasSubstr("no commit"));
  EXPECT_FALSE(std::filesystem::exists(ran)) << missing.errors;
}

// Whoever writes in the study's directory swaps a file for a link to one of root's, again and
// again: no snapshot holds what the link leads to.
TEST_F(Pipeline, ASnapshotIsOfTheStudysOwnFiles) {
  study_.Commit({{"project.yaml", Project(Action("one", "echo a,b > o/x.csv", "o/x.csv"))}});
  study_.config()["allowed_repositories"].push_back(study_.state() + "/pipelines");
  study_.WriteConfig();
  WriteFile(study_.path() + "/secret", "disclosed");
  WriteFile(study_.repository() + "/src/lib.txt", "changed\n");
  ASSERT_EQ(::unlink((study_.repository() + "/code.txt").c_str()), 0);
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < 2; ++i) {
    const std::string name = study_.repository() + "/f" + std::to_string(i);
    pairs.emplace_back(name, name + "-trap");
    WriteFile(name, "its own 9");  // as long as the secret: git reads as much as it has seen
    std::filesystem::create_symlink(study_.path() + "/secret", name + "-trap");
  }
  std::atomic<bool> done = false;
  std::thread swapper([&] {
    while (!done)
      for (const auto& [file, trap] : pairs)
        ::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, trap.c_str(), RENAME_EXCHANGE);
  });
  // A pipeline of which no action is named ends after its snapshot.
  for (int i = 0; i < 40; ++i) (void)Run({"--allow-uncommitted", "--", "none"});
  done = true;
  swapper.join();
  std::string git;
  for (const auto& entry : std::filesystem::directory_iterator(study_.state() + "/pipelines"))
    if (entry.path().extension() == ".git") git = entry.path();
  const std::string refs =
      study_.Git({"--git-dir=" + git, "for-each-ref", "--format=%(objectname)"}, "/");
  ASSERT_GE(refs.size(), 41u);
  for (size_t at = 0; at < refs.size(); at += 41) {
    const std::string commit = refs.substr(at, 40);
    const std::string files = study_.Git({"--git-dir=" + git, "ls-tree", "-r", commit}, "/");
    EXPECT_THAT(files, AllOf(HasSubstr("f1"), HasSubstr("src/lib.txt"), Not(HasSubstr("code."))));
    EXPECT_EQ(study_.Git({"--git-dir=" + git, "show", commit + ":src/lib.txt"}, "/"), "changed\n");
    EXPECT_THAT(study_.Git({"--git-dir=" + git, "grep", "-a", "-h", "-e", "", commit}, "/"),
                Not(HasSubstr("disclosed")));
  }
}

TEST_F(Pipeline, RunsInOrderAndSkipsWhatIsUpToDate) {
  const std::string actions = Action("last", "cat output/first.csv > output/last.csv",
                                     "output/last.csv", "    needs: [first]\n") +
                              Action("first", "echo a,b > output/first.csv", "output/first.csv");
  study_.Commit(
      {{"project.yaml", Project(actions)}, {".gitignore", "ignored\n"}, {"ignored", "x"}});
  auto done = Run();
  EXPECT_EQ(done.exit_code, 0) << done.errors << done.output;
  EXPECT_THAT(states_, ElementsAre("first succeeded", "last succeeded"));
  EXPECT_THAT(done.errors, AllOf(HasSubstr("first: running as job "),
                                 HasSubstr("last: succeeded, "), Not(HasSubstr("\x1b"))));
  EXPECT_EQ(ReadFile(study_.level4("output/last.csv")).value_or(""), "a,b\n");
  EXPECT_EQ(json_["commit"], study_.commit());
  // The jobs are the agent's: a sealed log each, under the same id as in the manifest.
  for (const Json& action : json_["actions"]) {
    const std::string id = action["job_id"];
    EXPECT_EQ(study_.Carrel({"audit", "verify", id}).exit_code, 0);
    EXPECT_EQ(study_.Manifest()["outputs"]["output/" + action["action"].get<std::string>() + ".csv"]
                               ["job_id"],
              id);
  }

  EXPECT_EQ(Run().exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("first up to date", "last up to date"));
  // An output that is not what the job made is made again; what needs it is still up to date.
  WriteFile(study_.level3("output/first.csv"), "changed\n");
  EXPECT_EQ(Run().exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("first succeeded", "last up to date"));
  std::filesystem::remove(study_.level4("output/last.csv"));
  EXPECT_EQ(Run().exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("first up to date", "last succeeded"));
  EXPECT_EQ(ReadFile(study_.level4("output/last.csv")).value_or(""), "a,b\n");
  EXPECT_EQ(Run({"--force", "first"}).exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("first succeeded"));
  study_.Commit({{"code.txt", "other code\n"}});
  EXPECT_EQ(Run().exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("first succeeded", "last succeeded"));
  EXPECT_THAT(SettledLeftovers(study_), IsEmpty());
}

TEST_F(Pipeline, WhatNeedsAFailureIsSkippedAndOthersGoOn) {
  const std::string actions =
      Action("fails", "exit 7", "output/fails.csv") +
      Action("after", "true", "output/after.csv", "    needs: [fails]\n") +
      Action("later", "echo > output/later.csv", "output/later.csv", "    needs: [after]\n") +
      Action("other", "echo 1 > output/other.csv", "output/other.csv");
  study_.Commit({{"project.yaml", Project(actions)}});
  EXPECT_EQ(Run().exit_code, 1);
  EXPECT_THAT(states_,
              ElementsAre("fails failed", "after skipped", "later skipped", "other succeeded"));
  EXPECT_EQ(MessageOf("after"), "needs fails");
  EXPECT_THAT(MessageOf("fails"), HasSubstr("7"));

  study_.Commit({{"project.yaml", Project("  refused:\n    run: nosuchtool:v1 x\n"
                                          "    outputs: {moderately_sensitive: {x: x.csv}}\n" +
                                          Action("fails", "exit 7", "output/fails.csv"))}});
  EXPECT_EQ(Run().exit_code, 3);
  EXPECT_THAT(states_, ElementsAre("refused refused", "fails failed"));
  EXPECT_THAT(MessageOf("refused"),
              AllOf(HasSubstr("belongs to no tool"), Not(HasSubstr("refused.json"))));
}

TEST_F(Pipeline, IndependentActionsRunSideBySide) {
  study_.Commit(
      {{"project.yaml", Project(Action("a", "sleep 2; echo > output/a.csv", "output/a.csv") +
                                Action("b", "sleep 2; echo > output/b.csv", "output/b.csv"))}});
  auto begin_and_end = [&](size_t i) {
    const Json state =
        study_.Metadata(json_["actions"][i]["job_id"])["container_metadata"]["State"];
    return std::pair<std::string, std::string>(state["StartedAt"], state["FinishedAt"]);
  };
  ASSERT_EQ(Run({"--jobs", "2", "--memory", "64M"}).exit_code, 0);
  const auto a = begin_and_end(0), b = begin_and_end(1);
  EXPECT_LT(a.first, b.second);
  EXPECT_LT(b.first, a.second);
  ASSERT_EQ(Run({"--jobs", "1", "--force", "--memory", "64M"}).exit_code, 0);
  EXPECT_LT(begin_and_end(0).second, begin_and_end(1).first);
}

TEST_F(Pipeline, UncommittedFilesAreNamedOrSnapshot) {
  study_.Commit(
      {{"project.yaml", Project(Action("copy", "cat code.txt > output/c.csv", "output/c.csv"))}});
  WriteFile(study_.repository() + "/code.txt", "not committed\n");
  WriteFile(study_.repository() + "/new.txt", "new\n");
  auto refused = Run();
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors,
              AllOf(HasSubstr("code.txt"), HasSubstr("new.txt"), HasSubstr("--allow-uncommitted")));
  // Snapshots are a repository like any other: the configuration must allow it.
  EXPECT_EQ(Run({"--allow-uncommitted"}).exit_code, 3);
  study_.config()["allowed_repositories"].push_back(study_.state() + "/pipelines");
  study_.WriteConfig();
  auto done = Run({"--allow-uncommitted"});
  ASSERT_EQ(done.exit_code, 0) << done.errors << done.output;
  EXPECT_EQ(ReadFile(study_.level4("output/c.csv")).value_or(""), "not committed\n");
  EXPECT_THAT(json_["uncommitted"], ElementsAre("code.txt", "new.txt"));
  EXPECT_NE(json_["commit"], study_.commit());
  EXPECT_EQ(study_.Git({"rev-parse", "HEAD"}, study_.repository()), study_.commit() + "\n");
  EXPECT_EQ(Run({"--allow-uncommitted"}).exit_code, 0);
  EXPECT_THAT(states_, ElementsAre("copy up to date"));
}

TEST_F(Pipeline, TheDirectorysGitConfigurationRunsNothing) {
  study_.Commit({{"project.yaml", Project(Action("x", "echo > output/x.csv", "output/x.csv"))},
                 {".gitattributes", "* filter=evil\n"}});
  const std::string mark = study_.path() + "/mark";
  for (const char* key : {"core.fsmonitor", "filter.evil.clean", "filter.evil.smudge",
                          "core.sshCommand", "uploadpack.packObjectsHook", "core.pager"})
    study_.Git({"config", key, "touch " + mark + "; cat"}, study_.repository());
  auto done = Run();
  EXPECT_EQ(done.exit_code, 0) << done.errors << done.output;
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST_F(Pipeline, InterruptCancelsAndLeavesNothing) {
  study_.Commit(
      {{"project.yaml", Project(Action("slow", "echo begun; sleep 300", "output/a.csv") +
                                Action("next", "true", "output/b.csv", "    needs: [slow]\n"))}});
  std::vector<std::string> args = Arguments({});
  args.insert(args.begin(), CARREL_BINARY);
  std::vector<char*> raw;
  for (std::string& arg : args) raw.push_back(arg.data());
  raw.push_back(nullptr);
  const std::string out = study_.path() + "/out", errors = study_.path() + "/err";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
    ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT, 0600), 2);
    ::execv(raw[0], raw.data());
    ::_exit(125);
  }
  RunningJob pipeline(pid, out, errors);
  ASSERT_TRUE(WaitFor([&] {
    for (const std::string& line : Leftovers(study_))
      if (line.find("sleep 300") != std::string::npos && line.starts_with("process")) return true;
    return false;
  })) << pipeline.Errors();
  pipeline.Signal(SIGINT);
  const JobRun run = pipeline.Wait();
  EXPECT_EQ(run.exit_code, 130) << run.errors;
  ASSERT_TRUE(run.json.is_object()) << run.output;
  EXPECT_EQ(run.json["actions"][0]["state"], "cancelled");
  EXPECT_EQ(run.json["actions"][1]["state"], "cancelled");
  EXPECT_THAT(SettledLeftovers(study_), IsEmpty());
  EXPECT_THAT(*ListDir(OpenPath(study_.state() + "/pipelines/run", O_RDONLY)->get()), IsEmpty());
}

TEST_F(Pipeline, OutputsOfRemovedActionsAreMarked) {
  const std::string keep = Action("keep", "echo 1 > output/k.csv", "output/k.csv");
  study_.Commit(
      {{"project.yaml", Project(keep + Action("gone", "echo 2 > output/g.csv", "output/g.csv"))}});
  ASSERT_EQ(Run().exit_code, 0);
  study_.Commit({{"project.yaml", Project(keep)}});
  ASSERT_EQ(Run().exit_code, 0);
  const Json outputs = study_.Manifest()["outputs"];
  EXPECT_TRUE(outputs["output/g.csv"].value("out_of_date_action", false));
  EXPECT_FALSE(outputs["output/k.csv"].value("out_of_date_action", false));
}

TEST_F(Pipeline, CheckNamesEveryProblem) {
  const std::string file = study_.path() + "/project.yaml";
  WriteFile(file, "version: 7\nactions:\n  a b: {run: x, outputs: {}}\n");
  auto check = RunCarrel({"pipeline", "check", study_.path()});
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_THAT(check.errors,
              AllOf(HasSubstr(file + ":1:10: version: "), HasSubstr(file + ":3:3: actions.a b: "),
                    HasSubstr(file + ":3:14: actions.a b.run: "), HasSubstr("4 problems")));
  auto json = RunCarrel({"pipeline", "check", file, "--json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(Json::parse(json.output)["problems"].size(), 4u);
  WriteFile(file, Project(Action("a", "true", "a.csv")));
  EXPECT_EQ(RunCarrel({"pipeline", "check", file}).exit_code, 0);
  EXPECT_THAT(RunCarrel({"pipeline", "graph", file}).output, HasSubstr("digraph"));
  EXPECT_EQ(RunCarrel({"pipeline", "check", study_.path() + "/none"}).exit_code, 2);
}

TEST_F(Pipeline, CheckReadsNoLinkAndNoPipe) {
  const std::string file = study_.path() + "/project.yaml", secret = study_.path() + "/secret";
  WriteFile(secret, "password: tr0ub4dor\n");
  std::filesystem::create_symlink(secret, file);
  for (const std::string& name : {file, study_.path()}) {
    auto linked = RunCarrel({"pipeline", "check", name});
    EXPECT_EQ(linked.exit_code, 2);
    EXPECT_THAT(linked.errors, AllOf(HasSubstr("is a link"), Not(HasSubstr("tr0ub4dor"))));
  }
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_EQ(RunCarrel({"pipeline", "check", study_.path()}).exit_code, 2);
}

TEST_F(Pipeline, TheTableFitsTheScreenAndShowsWhyAnActionFailed) {
  study_.Commit({{"project.yaml",
                  Project(Action("fails", "echo one; echo because; exit 7", "output/f.csv"))}});
  auto args = Arguments({});
  std::erase(args, "--json");
  auto done = RunCarrel(args);
  EXPECT_EQ(done.exit_code, 1) << done.errors;
  EXPECT_THAT(done.output, HasSubstr("fails, the end of its log:\n  one\n  because\n"));
  const std::string head = done.output.substr(0, done.output.find('\n'));
  EXPECT_LE(head.size(), 80u);
  EXPECT_THAT(done.output, Not(HasSubstr(" \n")));
}

}  // namespace
}  // namespace carrel::testing_support
