// The options of carrel exec, the good and the bad.
#include <sstream>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;

TEST(ExecOptions, Writable) {
  Jail jail({"act"});
  std::filesystem::create_directory(jail.rootfs() + "/there");
  WriteFile(jail.rootfs() + "/there/hidden", "by the scratch directory");
  for (const char* path : {"/there", "/new", "/new/deep/er"}) {
    const std::string file = std::string(path) + "/x";
    EXPECT_EQ(jail.Run({"--", "/act", "write", file}).out.substr(0, 1), "E") << path;
    const Outcome outcome = jail.Run({"--writable", path, "--", "/act", "write", file});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "") << path;
  }
  EXPECT_EQ(jail.Run({"--writable", "/there", "--", "/act", "stat", "/there/hidden"}).out,
            "ENOENT\n");
  EXPECT_FALSE(std::filesystem::exists(jail.rootfs() + "/there/x"));
  EXPECT_FALSE(std::filesystem::exists(jail.rootfs() + "/new"));
}

// One in another, in whatever order, and in /tmp.
TEST(ExecOptions, WritableBeneathAnother) {
  Jail jail({"act"});
  const std::vector<std::string> options = {"--writable", "/a/b/c",   "--writable", "/a",
                                            "--writable", "/tmp/x/y", "--",         "/act"};
  for (const char* file : {"/a/new", "/a/b/c/new", "/tmp/x/y/new"}) {
    std::vector<std::string> all = options;
    all.insert(all.end(), {"write", file});
    const Outcome outcome = jail.Run(all);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "") << file;
  }
}

TEST(ExecOptions, ConfigurationLikeAnyCommand) {
  Jail jail({"act"});
  const std::string config = jail / "config.json", id = HostId("configured");
  WriteFile(config,
            Json({{"state", jail.state()}, {"uid_range", {{"start", 1900000000}, {"count", 16}}}})
                .dump());
  const std::vector<std::string> exec = {"exec", "--id", id, "--rootfs", jail.rootfs()};
  auto run = [&](std::vector<std::string> options, const std::vector<std::string>& more,
                 const StartOptions& start = {}) {
    options.insert(options.end(), more.begin(), more.end());
    Process process = jail.StartCarrel(options, start);
    const int status = process.Wait();
    return Outcome{status, process.Out(), process.Err()};
  };
  StartOptions environment;
  environment.environment = {"CARREL_CONFIG=" + config};
  const Outcome planned = run(exec, {"--config", config, "--dry-run", "--", "/act"});
  EXPECT_THAT(planned.out, HasSubstr("1900000000")) << planned.err;
  const Outcome by_option = run(exec, {"--config", config, "--", "/act", "cwd"});
  EXPECT_EQ(by_option.out, "/\n") << by_option.err;
  EXPECT_EQ(run({"audit", "show", id, "--config", config}, {}).status, 0);
  EXPECT_EQ(run({"audit", "show", id}, {}, environment).status, 0);
  EXPECT_EQ(run({"audit", "show", id, "--state", jail.state()}, {}).status, 0);
  const Outcome missing = run(exec, {"--config", jail / "none.json", "--", "/act"});
  EXPECT_EQ(missing.status, 2) << missing.err;
  EXPECT_THAT(missing.err, HasSubstr("none.json"));
}

TEST(ExecOptions, Env) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--env", "A=1", "--env", "B=x=y z", "--env", "HOME=/work",
                                    "--env", "EMPTY=", "--", "/act", "env"});
  EXPECT_EQ(outcome.out,
            "A=1\nB=x=y z\nEMPTY=\nHOME=/work\n"
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n");
}

TEST(ExecOptions, Workdir) {
  Jail jail({"act"});
  std::filesystem::create_directories(jail.rootfs() + "/a/b");
  EXPECT_EQ(jail.Run({"--", "/act", "cwd"}).out, "/\n");
  EXPECT_EQ(jail.Run({"--workdir", "/a/b", "--", "/act", "cwd"}).out, "/a/b\n");
  EXPECT_EQ(jail.Run({"--workdir", "/tmp", "--", "/act", "cwd"}).out, "/tmp\n");
  for (const char* bad : {"/missing", "/act", "relative", "/a/../a", ""}) {
    const Outcome outcome = jail.Run({"--workdir", bad, "--", "/act", "cwd"});
    EXPECT_EQ(outcome.status, 2) << bad << ": " << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("working"));
    EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty());
  }
}

TEST(ExecOptions, TimeAndMemory) {
  Jail jail({"act"});
  Outcome outcome = jail.Run({"--time", "1", "--", "/act", "sleep"});
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_THAT(outcome.err, HasSubstr("time limit of 1 s"));
  outcome = jail.Run({"--memory", "64M", "--", "/act", "eat", "anonymous"});
  EXPECT_EQ(outcome.status, 128 + SIGKILL);
  EXPECT_THAT(outcome.err, HasSubstr("memory limit of 64 MiB"));
  EXPECT_EQ(jail.Run({"--memory", "1G", "--", "/act", "eat", "anonymous"}).status, 0);
}

TEST(ExecOptions, BadOnesAreTwo) {
  Jail jail({"act"});
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"--"},
      {"--unknown", "--", "/act"},
      {"--memory", "0", "--", "/act"},
      {"--memory", "-1", "--", "/act"},
      {"--memory", "1E", "--", "/act"},
      {"--memory", "15M", "--", "/act"},
      {"--memory", "65T", "--", "/act"},
      {"--memory", "4GG", "--", "/act"},
      {"--memory", "99999999999999999999", "--", "/act"},
      {"--time", "0", "--", "/act"},
      {"--time", "x", "--", "/act"},
      {"--time", "-5", "--", "/act"},
      {"--cpus", "0", "--", "/act"},
      {"--cpus", "nan", "--", "/act"},
      {"--pids", "0", "--", "/act"},
      {"--pids", "1", "--", "/act"},
      {"--env", "NOEQUALS", "--", "/act"},
      {"--env", "=value", "--", "/act"},
      {"--id", "../up", "--", "/act"},
      {"--id", "a/b", "--", "/act"},
      {"--id", ".", "--", "/act"},
      {"--id", "x.lock", "--", "/act"},
      {"--id", "new\nline", "--", "/act"},
      {"--image", "x", "--", "/act"},  // excludes --rootfs
      {"--", ""},
      {"--writable", "/a/..", "--", "/act"},
  };
  for (const auto& options : bad) {
    const Outcome outcome = jail.Run(options);
    std::string text;
    for (const std::string& option : options) text += " " + option;
    EXPECT_EQ(outcome.status, 2) << text << ": " << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::StartsWith("carrel exec: ")) << text;
    EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty()) << text;
  }
}

TEST(ExecOptions, BadOnesSayWhatIsMeant) {
  Jail jail({"act"});
  const auto error = [&](const std::string& option, const std::string& value) {
    return jail.Run({option, value, "--", "/act"}).err;
  };
  for (const char* memory : {"15M", "4GG"})
    EXPECT_EQ(
        error("--memory", memory),
        "carrel exec: --memory: must be a size from 16M to 64T, such as \"4G\", \"512M\" or a "
        "number of bytes, not \"" +
            std::string(memory) + "\"\n");
  EXPECT_THAT(error("--pids", "1"), HasSubstr("--pids: Value 1 not in range 2 to 4194304"));
  EXPECT_THAT(jail.Run({"--help"}).out, HasSubstr("2 or more"));
  for (const char* id : {"a/b", "a b", "-x", "x.lock"}) {
    EXPECT_THAT(error("--id", id),
                ::testing::StartsWith("carrel exec: --id: \"" + std::string(id)));
    EXPECT_THAT(error("--id", id), HasSubstr("letters, digits, '.', '_' and '-'"));
  }
  EXPECT_EQ(jail.Run({"--pids", "2", "--memory", "16M", "--", "/act", "exit", "3"}).status, 3);
}

TEST(ExecOptions, AMistypedOptionIsSaidBeforeWhatIsMissing) {
  Jail jail({"act"});
  EXPECT_THAT(jail.Run({"--memroy"}).err, HasSubstr("there is no option --memroy"));
  EXPECT_THAT(jail.Run({}).err, HasSubstr("command is required"));
}

TEST(ExecOptions, AsPeopleWriteThem) {
  Jail jail({"act"});
  Outcome outcome = jail.Run(
      {"--memory", "64MiB", "--writable", "/new/", "--workdir", "/new/", "--", "/act", "cwd"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "/new\n");
}

TEST(ExecOptions, HelpFitsTheScreen) {
  for (const char* command : {"exec", "run", "selftest", "gc"}) {
    std::istringstream help(RunCarrel({command, "--help"}).output);
    size_t lines = 0;
    for (std::string line; std::getline(help, line); ++lines) EXPECT_LE(line.size(), 80u) << line;
    EXPECT_GT(lines, 5u) << command;
  }
}

TEST(ExecOptions, RootfsThatIsNotThere) {
  Jail jail({"act"});
  Process carrel =
      jail.StartCarrel({"exec", "--state", jail.state(), "--rootfs", jail / "none", "--", "/act"});
  EXPECT_EQ(carrel.Wait(), 2);
  EXPECT_THAT(carrel.Err(), HasSubstr(jail / "none"));
}

TEST(ExecOptions, SameIdTwiceAtOnceIsRefused) {
  Jail jail({"act"});
  Process first = jail.Start({"--id", "one", "--", "/act", "sleep"});
  ASSERT_TRUE(Eventually([&] { return first.Out() == "ready\n"; })) << first.Err();
  const Outcome second = jail.Run({"--id", "one", "--", "/act", "exit", "0"});
  EXPECT_EQ(second.status, 2);
  EXPECT_THAT(second.err, HasSubstr("--id: a run with the id " + HostId("one") + " is going on"));
  EXPECT_FALSE(TasksOf("one").empty()) << "the first was disturbed";
  ::kill(first.pid(), SIGTERM);
  EXPECT_EQ(first.Wait(), 128 + SIGTERM);
}

TEST(ExecOptions, DryRunTouchesNothing) {
  Jail jail({"act"});
  const Outcome outcome = jail.Run({"--id", "dry", "--dry-run", "--writable", "/work", "--env",
                                    "SECRET=hunter2", "--", "/act", "exit", "3"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  auto plan = ParseJson(outcome.out, "plan");
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  EXPECT_EQ((*plan)["id"], HostId("dry"));
  EXPECT_THAT((*plan)["operations"].dump(), HasSubstr("/work"));
  EXPECT_THAT(outcome.out, ::testing::Not(HasSubstr("hunter2")));
  EXPECT_FALSE(std::filesystem::exists(jail.state()));
  EXPECT_THAT(CgroupsOf("dry"), ::testing::IsEmpty());
}

TEST(ExecOptions, AskingForAnImageMakesNoStore) {
  Jail jail({"act"});
  Process carrel = jail.StartCarrel(
      {"exec", "--state", jail.state(), "--image", "none:v1", "--dry-run", "--", "/act"});
  EXPECT_EQ(carrel.Wait(), 2);
  EXPECT_THAT(carrel.Err(), HasSubstr("there are no images"));
  for (const char* verb : {"list", "verify", "inspect", "remove"}) {
    std::vector<std::string> words = {"image", verb, "--state", jail.state()};
    if (std::string(verb) != "list") words.push_back(verb == std::string("verify") ? "--all" : "x");
    EXPECT_EQ(RunCarrel(words).exit_code, 2) << verb;
  }
  EXPECT_FALSE(std::filesystem::exists(jail.state()));
}

TEST(ExecOptions, WithoutRootItSaysSo) {
  Jail jail({"act"});
  StartOptions start;
  start.binary = jail / "carrel";  // the build directory may be closed to others
  std::filesystem::copy_file(CARREL_BINARY, start.binary);
  start.before = [] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(124);
  };
  const Outcome outcome = jail.Run({"--id", "user", "--", "/act", "exit", "0"}, start);
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("must be run as root"));
  EXPECT_FALSE(std::filesystem::exists(jail.state()));
}

}  // namespace
}  // namespace carrel::testing_support
