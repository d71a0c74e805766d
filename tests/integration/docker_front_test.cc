// carrel called as `docker`, as the job agent calls it.
#include "support/docker_front.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdio.h>

#include <atomic>
#include <thread>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DockerFrontTest : public DockerFront {};

TEST_F(DockerFrontTest, ARunFromItsStartToItsRemoval) {
  const auto started =
      RunJob("os-job-a",
             "echo made > /workspace/out.txt; echo to-out; echo to-err >&2; "
             "id -u; echo \"[$SECRET]\"; while [ ! -e /workspace/go ]; do :; done; "
             "exit 3",
             {{"SECRET", "sesame"}});
  ASSERT_EQ(started.exit_code, 0) << started.errors;
  const std::string id = started.output.substr(0, 64);
  EXPECT_EQ(started.output.size(), 65u);
  EXPECT_EQ(Inspect("os-job-a", "State.Running"), true);
  EXPECT_EQ(Inspect("os-job-a", "ID"), id);
  EXPECT_EQ(Inspect(id.substr(0, 12), "Name"), "/os-job-a");
  const Json stats =
      Json::parse(Docker({"stats", "--no-stream", "--no-trunc", "--format", "{{json .}}"}).output,
                  nullptr, false);
  EXPECT_EQ(stats.value("Name", ""), "os-job-a");
  EXPECT_EQ(stats.value("Container", ""), id);
  EXPECT_THAT(stats.value("MemUsage", ""), HasSubstr("/ 64MiB"));
  WriteFile(volumes() + "/os-job-a/go", "");
  ASSERT_TRUE(Ended("os-job-a"));

  const Json state = Inspect("os-job-a", "State");
  EXPECT_EQ(state.value("ExitCode", -1), 3);
  EXPECT_EQ(state.value("OOMKilled", true), false);
  for (const char* time : {"StartedAt", "FinishedAt"})
    EXPECT_THAT(state.value(time, ""), ::testing::MatchesRegex("....-..-..T..:..:..\\..........Z"));
  // Written by the action, owned on disk by whom --user names.
  struct stat info {};
  ASSERT_EQ(::stat((volumes() + "/os-job-a/out.txt").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 4321u);
  EXPECT_EQ(info.st_gid, 4322u);

  const auto logs = Docker({"container", "logs", "--timestamps", "--tail", "100000", "os-job-a"});
  EXPECT_THAT(logs.output, ::testing::ContainsRegex("Z to-out\n"));
  EXPECT_THAT(logs.errors, ::testing::ContainsRegex("Z to-err\n"));
  EXPECT_THAT(logs.output, HasSubstr(" 1000\n"));  // not root, and not 4321, inside
  EXPECT_THAT(logs.output, HasSubstr("[sesame]"));
  const auto tail = Docker({"logs", "--tail", "1", "os-job-a"});
  const std::string last = tail.output + tail.errors;  // of the two streams either can be last
  EXPECT_TRUE(last == "[sesame]\n" || last == "to-err\n") << last;
  // The value reaches the action, and nothing that inspect or ls shows.
  EXPECT_THAT(Docker({"inspect", "os-job-a"}).output, Not(HasSubstr("sesame")));
  EXPECT_EQ(Inspect("os-job-a", "HostConfig.NanoCpus"), 1'000'000'000);
  EXPECT_EQ(Inspect("os-job-a", "HostConfig.Memory"), 64 << 20);

  EXPECT_EQ(Docker({"container", "rm", "--force", "os-job-a"}).exit_code, 0);
  const auto gone = Docker({"container", "inspect", "--format", "{{json .}}", "os-job-a"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.errors, HasSubstr("No such container"));
  EXPECT_EQ(study_.Carrel({"audit", "verify", "os-job-a"}).exit_code, 0);
}

TEST_F(DockerFrontTest, KillIsAtOnceAndSaid) {
  ASSERT_EQ(RunJob("os-job-k", "trap '' TERM; while :; do sleep 1; done").exit_code, 0);
  EXPECT_EQ(RunJob("os-job-k", "true").exit_code, 125);  // the name is taken
  const auto removed = Docker({"container", "rm", "os-job-k"});
  EXPECT_EQ(removed.exit_code, 1);
  EXPECT_THAT(removed.errors, HasSubstr("cannot remove a running container"));
  EXPECT_EQ(Docker({"container", "kill", "os-job-k"}).exit_code, 0);
  EXPECT_EQ(Inspect("os-job-k", "State.Running"), false);
  EXPECT_EQ(Inspect("os-job-k", "State.ExitCode"), 137);
  const auto again = Docker({"container", "kill", "os-job-k"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.errors, HasSubstr("is not running"));
}

TEST_F(DockerFrontTest, MemoryLimitIsKnownForCertain) {
  ASSERT_EQ(RunJob("os-job-m", "yes | head -c 200000000 | tail -c 190000000").exit_code, 0);
  ASSERT_TRUE(Ended("os-job-m"));
  EXPECT_EQ(Inspect("os-job-m", "State.OOMKilled"), true);
}

TEST_F(DockerFrontTest, AKilledSupervisorIsAnEndedContainer) {
  ASSERT_EQ(RunJob("os-job-s", "while :; do sleep 1; done").exit_code, 0);
  const pid_t supervisor = Inspect("os-job-s", "State.Pid").get<pid_t>();
  ASSERT_GT(supervisor, 1);
  ASSERT_EQ(::kill(supervisor, SIGKILL), 0);
  ASSERT_TRUE(Ended("os-job-s"));
  EXPECT_EQ(Inspect("os-job-s", "State.ExitCode"), 137);
  EXPECT_EQ(RunJob("os-job-t", "true").exit_code, 0);  // and the next command finds nothing left
  ASSERT_TRUE(Ended("os-job-t"));
}

// Files on a bind belong to a user of the host.
TEST_F(DockerFrontTest, NoSetuidFileIsLeftOnTheHost) {
  ASSERT_EQ(
      RunJob("os-job-u",
             "cp /bin/busybox /workspace/s && chmod 755 /workspace/s && touch /workspace/made;"
             "chmod 4755 /workspace/s; chmod 2755 /workspace/s; chmod g+s /workspace")
          .exit_code,
      0);
  ASSERT_TRUE(Ended("os-job-u"));
  struct stat info {};
  ASSERT_EQ(::stat((volumes() + "/os-job-u/made").c_str(), &info), 0);
  for (const char* name : {"/os-job-u/s", "/os-job-u"}) {
    ASSERT_EQ(::stat((volumes() + name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 06000, 0u) << name;
  }
}

TEST_F(DockerFrontTest, AnIdIsNotTakenOverByAName) {
  ASSERT_EQ(RunJob("os-job-v", "while :; do sleep 1; done").exit_code, 0);
  const std::string id = Inspect("os-job-v", "ID");
  ASSERT_EQ(RunJob(id, "while :; do sleep 1; done").exit_code, 0);
  EXPECT_EQ(Docker({"container", "kill", id}).exit_code, 0);
  EXPECT_EQ(Inspect("os-job-v", "State.Running"), false);
}

TEST_F(DockerFrontTest, ListsByFilterAndFormat) {
  ASSERT_EQ(RunJob("os-job-l", "true").exit_code, 0);
  ASSERT_TRUE(Ended("os-job-l"));
  EXPECT_EQ(Docker({"container", "ls", "--quiet"}).output, "");
  EXPECT_EQ(
      Docker({"container", "ls", "--all", "--filter", "label=action=act", "--format", "{{.Names}}"})
          .output,
      "os-job-l\n");
  EXPECT_EQ(Docker({"container", "ls", "--all", "--filter", "name=other", "--quiet"}).output, "");
  EXPECT_EQ(Docker({"ps", "--all", "--filter", "weather=fine"}).exit_code, 1);
}

TEST_F(DockerFrontTest, FiltersAndTablesAreDockers) {
  for (const char* name : {"os-job-l1", "os-job-l2"}) {
    ASSERT_EQ(RunJob(name, "true").exit_code, 0);
    ASSERT_TRUE(Ended(name));
  }
  const auto names = [&](std::vector<std::string> filters) {
    std::vector<std::string> arguments = {"ps", "-a", "--format", "{{.Names}}"};
    for (const std::string& filter : filters) arguments.insert(arguments.end(), {"-f", filter});
    return Docker(arguments).output;
  };
  const std::string both = "os-job-l2\nos-job-l1\n";
  EXPECT_EQ(names({"name=^os-job-"}), both);
  EXPECT_EQ(names({"name=^/os-job-l1$"}), "os-job-l1\n");
  EXPECT_EQ(names({"name=l1", "name=l2"}), both);
  EXPECT_EQ(names({"status=running", "status=exited"}), both);
  EXPECT_EQ(names({"status=exited", "name=l1"}), "os-job-l1\n");
  EXPECT_EQ(names({"label=action=act", "label=nothing"}), "");
  const std::string table =
      Docker({"ps", "-a", "--format", "table {{.Names}}\\t{{.State}}"}).output;
  EXPECT_THAT(table, ::testing::StartsWith("NAMES       STATE\nos-job-l2   exited\n"));
  EXPECT_THAT(Docker({"ps", "-a"}).output, HasSubstr(" CREATED "));
  // A question that is wrong is told, also where the answer would be empty.
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"ps", "--filter", "status=bogus"},
                                             {"ps", "--filter", "name=("},
                                             {"ps", "--format", "{{.Bogus}}"},
                                             {"ps", "--format", "{{.ID"},
                                             {"inspect", "--type", "bogus", "os-job-l1"}})
    EXPECT_EQ(Docker(wrong).exit_code, 1) << ::testing::PrintToString(wrong);
  const auto killed = Docker({"kill", "nosuch1", "os-job-l1", "nosuch2"});
  EXPECT_EQ(killed.exit_code, 1);
  for (const char* part : {"container: nosuch1", "os-job-l1", "container: nosuch2"})
    EXPECT_THAT(killed.errors, HasSubstr(part));
}

TEST_F(DockerFrontTest, ForegroundPassesStreamsAndStatus) {
  const auto result = Docker({"run", "--rm", "--interactive", "--memory", "0", "python:v2", "sh",
                              "-c", "cat; echo bad >&2; exit 9"},
                             {}, "typed\n");
  EXPECT_EQ(result.exit_code, 9);
  EXPECT_EQ(result.output, "typed\n");
  EXPECT_EQ(result.errors, "bad\n");
  EXPECT_EQ(Docker({"ps", "--all", "--quiet"}).output, "");
}

TEST_F(DockerFrontTest, WhatItDoesNotKnowItRefuses) {
  std::filesystem::create_directory_symlink("/etc", volumes() + "/link");
  const std::vector<std::vector<std::string>> refused = {
      {"run", "--privileged", "python:v2", "true"},
      {"run", "--network", "host", "python:v2", "true"},
      {"run", "--mount", "type=bind,source=/etc,target=/x", "python:v2", "true"},
      {"run", "--mount", "type=bind,source=" + volumes() + "/link,target=/x", "python:v2", "true"},
      {"run", "--mount", "type=bind,source=" + volumes() + "/../x,target=/x", "python:v2", "true"},
      {"run", "--memory", "100000G", "python:v2", "true"},
      {"run", "--memory", "4k", "python:v2", "true"},
      {"run", "--security-opt", "no-new-privileges,seccomp=unconfined", "python:v2", "true"},
      {"run", "absent:v9", "true"}};
  for (const auto& arguments : refused) {
    const auto result = Docker(arguments);
    EXPECT_EQ(result.exit_code, 125) << ::testing::PrintToString(arguments);
    EXPECT_NE(result.errors, "");
  }
  EXPECT_EQ(Docker({"ps", "--all", "--quiet"}).output, "");
  EXPECT_EQ(Docker({"swarm", "init"}).exit_code, 1);
  const auto help = Docker({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.output, HasSubstr("container inspect,"));
  const auto image = Docker({"image", "inspect", "--format", "ok", "absent:v9"});
  EXPECT_EQ(image.exit_code, 1);
  EXPECT_THAT(image.errors, HasSubstr("No such image"));
}

// Another container that can write above a bind's source swaps a directory on the way for a link,
// again and again: what is mounted is what was checked, or nothing.
TEST_F(DockerFrontTest, ABindSourceThatChangesAfterItsCheckIsNotFollowed) {
  const std::string secret = study_.path() + "/secret/data";
  std::filesystem::create_directories(secret);
  WriteFile(secret + "/records", "disclosed");
  std::filesystem::create_directories(volumes() + "/shared/part/data");
  std::filesystem::create_directory_symlink(study_.path() + "/secret", volumes() + "/shared/trap");
  std::atomic<bool> done = false;
  std::thread swapper([&] {
    const std::string part = volumes() + "/shared/part", trap = volumes() + "/shared/trap";
    while (!done) {
      ::renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, trap.c_str(), RENAME_EXCHANGE);
      ::usleep(300);
    }
  });
  int started = 0;
  for (int i = 0; i < 60 && started < 12; ++i) {
    const std::string read_only = i % 2 == 0 ? ",readonly" : "";
    const auto result =
        Docker({"run", "--rm", "--mount",
                "type=bind,source=" + volumes() + "/shared/part/data,target=/x" + read_only,
                "python:v2", "sh", "-c", "echo began; cat /x/*"});
    EXPECT_THAT(result.output, Not(HasSubstr("disclosed")));
    started += result.output.starts_with("began") ? 1 : 0;
  }
  done = true;
  swapper.join();
  EXPECT_GT(started, 0);
}

TEST_F(DockerFrontTest, ImagesByEveryName) {
  const std::string name = "python:v2";
  EXPECT_EQ(Docker({"image", "inspect", "--format", "ok", name}).output, "ok\n");
  const Json image = Json::parse(
      Docker({"image", "inspect", "--format", "{{json .}}", name}).output, nullptr, false);
  const std::string digest = image["RepoDigests"].at(0).get<std::string>();
  EXPECT_EQ(Docker({"pull", "--quiet", digest}).exit_code, 0);
  EXPECT_EQ(Docker({"image", "tag", digest, "registry.example/python:v2"}).exit_code, 0);
  EXPECT_EQ(
      Docker({"image", "inspect", "--format", "{{.Id}}", "registry.example/python:v2"}).output,
      image.value("Id", "") + "\n");
  EXPECT_EQ(Docker({"rmi", "-f", "registry.example/python:v2"}).exit_code, 0);
  EXPECT_EQ(Docker({"image", "inspect", "--format", "ok", name}).exit_code, 0);
  EXPECT_EQ(Docker({"pull", "--quiet", "elsewhere.example/none:v1"}).exit_code, 1);
  EXPECT_EQ(Docker({"volume", "ls", "--quiet"}).output, "");
}

// The agent reads an action's version and its base off the container, and files them.
TEST_F(DockerFrontTest, AContainerHasItsImagesLabels) {
  const std::string name = "labelled:v1";
  std::filesystem::create_directories(study_.path() + "/empty");
  WriteOciLayout(study_.path() + "/labelled", study_.path() + "/empty",
                 {{"Labels", {{"org.opencontainers.image.version", "v7"}, {"action", "none"}}}});
  const auto imported =
      study_.Carrel({"image", "import", study_.path() + "/labelled", "--name", name});
  ASSERT_EQ(imported.exit_code, 0) << imported.errors;
  // There is nothing to run in it: the container is there all the same.
  names_.emplace_back("os-job-n");
  Docker(
      {"run", "--name", "os-job-n", "--label", "action=act", "--label", "job-runner", name, "/x"});
  const Json labels = Inspect("os-job-n", "Config.Labels");
  EXPECT_EQ(
      labels,
      Json({{"org.opencontainers.image.version", "v7"}, {"action", "act"}, {"job-runner", ""}}));
}

// The agent's metrics ask while its loop removes: an error would end them.
TEST_F(DockerFrontTest, ListingIsNoErrorWhileContainersComeAndGo) {
  std::atomic<bool> done = false;
  std::vector<std::string> errors;
  std::thread asking([&] {
    while (!done)
      for (const auto& arguments : std::vector<std::vector<std::string>>{
               {"stats", "--no-stream", "--no-trunc", "--format", "{{json .}}"},
               {"container", "ls", "--all", "--quiet"}})
        if (const auto answer = Docker(arguments); answer.exit_code != 0)
          errors.push_back(answer.errors);
  });
  // What a removal has come to when it is seen half done.
  const std::string half = study_.state() + "/containers/" + std::string(64, 'a');
  ASSERT_EQ(RunJob("os-job-h", "true").exit_code, 0);
  std::filesystem::copy(
      study_.state() + "/containers/" + Inspect("os-job-h", "ID").get<std::string>(), half);
  std::filesystem::remove(half + "/state.json");
  for (int i = 0; i < 3; ++i) {
    names_.clear();
    EXPECT_EQ(RunJob("os-job-g", "true").exit_code, 0);
    EXPECT_EQ(Docker({"container", "rm", "--force", "os-job-g"}).exit_code, 0);
  }
  names_.emplace_back("os-job-h");
  EXPECT_EQ(Docker({"container", "ls", "--all", "--format", "{{.Names}}"}).output, "os-job-h\n");
  const auto gone = Docker({"container", "inspect", std::string(64, 'a')});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.errors, HasSubstr("No such container"));
  done = true;
  asking.join();
  EXPECT_THAT(errors, ::testing::IsEmpty());
}

// Docker's /dev/shm is of 64 MiB: with less memory the limit is what is met, and said.
TEST_F(DockerFrontTest, SharedMemoryEndsAtTheMemoryLimit) {
  names_.emplace_back("os-job-d");
  const auto run = Docker({"run", "--name", "os-job-d", "--memory", "16M", "python:v2", "sh", "-c",
                           "exec head -c 60000000 /dev/zero > /dev/shm/x"});
  EXPECT_EQ(run.exit_code, 137) << run.errors;
  EXPECT_EQ(Inspect("os-job-d", "State.OOMKilled"), true);
}

// All that the agent shows of it is the status and the log.
TEST_F(DockerFrontTest, WhyCarrelEndedItIsInTheLog) {
  names_.emplace_back("os-job-w");
  EXPECT_EQ(Docker({"run", "--name", "os-job-w", "python:v2", "/no/such"}).exit_code, 127);
  EXPECT_THAT(Docker({"logs", "--timestamps", "os-job-w"}).errors,
              HasSubstr("Z carrel: exec: \"/no/such\""));
  study_.config()["limits"]["maxima"]["time_seconds"] = 1;
  study_.WriteConfig();
  ASSERT_EQ(RunJob("os-job-y", "echo begun; while :; do sleep 1; done").exit_code, 0);
  ASSERT_TRUE(Ended("os-job-y"));
  EXPECT_NE(Inspect("os-job-y", "State.ExitCode"), 0);
  EXPECT_THAT(Docker({"logs", "os-job-y"}).errors, HasSubstr("carrel: the time limit was reached"));
}

// A forged summary marker and terminal commands, as they reach the agent's own log.
TEST_F(DockerFrontTest, LogLinesAreSafe) {
  ASSERT_EQ(
      RunJob("os-job-f", "printf '=============JOB SUMMARY=============\\n\\033[2Jx\\n'").exit_code,
      0);
  ASSERT_TRUE(Ended("os-job-f"));
  const std::string logs = Docker({"logs", "os-job-f"}).output;
  EXPECT_THAT(logs, Not(HasSubstr("=JOB SUMMARY=")));
  EXPECT_EQ(logs.find('\033'), std::string::npos);
}

}  // namespace
}  // namespace carrel::testing_support
