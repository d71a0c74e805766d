// carrel audit on what carrel exec did.
#include <sys/mount.h>

#include <thread>

#include "audit/audit_log.h"
#include "audit/log_reader.h"
#include "audit/text.h"
#include "support/carrel.h"
#include "support/raw_events.h"
#include "support/schema.h"

namespace carrel::testing_support {
namespace {

class AuditCli : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    ASSERT_EQ(::mkdir((*dir_ / "root").c_str(), 0755), 0);
    auto copied = RunSubprocess({"cp", Payload("audit_calls"), *dir_ / "root/tool"});
    ASSERT_EQ(copied->exit_code, 0);
    Exec("a", {"files", "/tool"});
    Exec("b", {"getppid", "20"});
  }
  static void TearDownTestSuite() {
    RunCarrel({"audit", "unload", "--state", *dir_ / "state"});
    ::umount2((*dir_ / "state/bpf").c_str(), MNT_DETACH);
    delete dir_;
  }
  static void Exec(const std::string& id, std::vector<std::string> args) {
    std::vector<std::string> all = {
        "exec", "--state", *dir_ / "state", "--id", id, "--rootfs", *dir_ / "root", "--", "/tool"};
    all.insert(all.end(), args.begin(), args.end());
    auto result = RunCarrel(all);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  static SubprocessResult Audit(std::vector<std::string> args) {
    args.insert(args.begin(), "audit");
    args.push_back("--state");
    args.push_back(*dir_ / "state");
    return RunCarrel(args);
  }
  static std::vector<Json> Lines(const std::string& text) {
    std::vector<Json> lines;
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      lines.push_back(Json::parse(text.substr(at, end - at)));
    return lines;
  }
  static TempDir* dir_;
};
TempDir* AuditCli::dir_ = nullptr;

TEST_F(AuditCli, QueryGivesTheOpenedFileAndTheClaim) {
  auto result = Audit({"query", "--job", "a", "--json", "--path", "/tool", "--syscall", "openat"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  auto lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["syscall"], "openat");
  EXPECT_EQ(lines[0]["path"], "/tool");
  EXPECT_EQ(lines[0]["file"]["path"], "/tool");
  struct stat info {};
  ASSERT_EQ(::stat((*dir_ / "root/tool").c_str(), &info), 0);
  EXPECT_EQ(lines[0]["file"]["inode"], info.st_ino);
  EXPECT_EQ(lines[0]["args"].size(), 6u);
  EXPECT_EQ(lines[0]["denied"], false);
  EXPECT_GT(lines[0]["host_pid"], lines[0]["pid"]);
}

TEST_F(AuditCli, QueryByErrorAddressAndLength) {
  auto lines = Lines(Audit({"query", "a", "--json", "--error", "ENAMETOOLONG"}).output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["truncated"], true);
  lines = Lines(Audit({"query", "a", "--json", "--address", "unix:/nowhere"}).output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["address"], "unix:/nowhere/socket");
  EXPECT_EQ(lines[0]["syscall"], "connect");
}

TEST_F(AuditCli, NamesOfTasksFollowPrctl) {
  auto lines = Lines(Audit({"query", "a", "--json", "--syscall", "getsid"}).output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["comm"], "renamed");
}

TEST_F(AuditCli, TextAndCsvEscapeControls) {
  for (const char* form : {"--csv", "--errors"}) {
    auto result = Audit({"query", "a", form});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.output.find('\033'), std::string::npos);
    EXPECT_NE(result.output.find("\\x1b[31mred"), std::string::npos);
  }
}

TEST_F(AuditCli, StatsCount) {
  auto lines = Lines(Audit({"stats", "--job", "b", "--json"}).output);
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0]["syscall"], "getppid");
  EXPECT_EQ(lines[0]["count"], 20u);
  EXPECT_EQ(lines[0]["errors"], 0u);
  EXPECT_TRUE(lines[0]["time"].is_number());
}

TEST_F(AuditCli, ShowFitsTheScreen) {
  auto result = Audit({"show", "a"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output.find("Processes"), std::string::npos);
  EXPECT_NE(result.output.find("/tool files /tool"), std::string::npos);
  EXPECT_EQ(result.output.find('\033'), std::string::npos);
  for (size_t at = 0, end; (end = result.output.find('\n', at)) != std::string::npos; at = end + 1)
    EXPECT_LE(end - at, 80u) << result.output.substr(at, end - at);
}

TEST_F(AuditCli, VerifySaysWholeAndAltered) {
  auto good = Audit({"verify", "a"});
  EXPECT_EQ(good.exit_code, 0) << good.output;
  const std::string path = *dir_ / "state/audit/a.carrel-log";
  const std::string log = *ReadFile(path);
  std::string bad = log;
  bad[bad.size() / 2] ^= 4;
  WriteFile(path, bad);
  auto altered = Audit({"verify", "a"});
  EXPECT_EQ(altered.exit_code, 1);
  EXPECT_NE(altered.output.find("altered"), std::string::npos);
  WriteFile(path, log.substr(0, log.size() - 1));
  auto truncated = Audit({"verify", "a"});
  EXPECT_EQ(truncated.exit_code, 4);
  EXPECT_NE(truncated.output.find("truncated"), std::string::npos);
  auto all = Audit({"verify", "--all"});
  EXPECT_EQ(all.exit_code, 4) << "a good log beside it changes nothing";
  EXPECT_NE(all.output.find("b: whole"), std::string::npos);
  WriteFile(path, log);
  EXPECT_EQ(Audit({"verify", "--all"}).exit_code, 0);
  EXPECT_EQ(Audit({"verify"}).exit_code, 2);
}

// What may be harmless does not hide what is not.
TEST_F(AuditCli, OfSeveralFindingsTheWorstIsTheStatus) {
  const std::string a = *dir_ / "state/audit/a.carrel-log", runs = "runs";
  const std::string log_a = *ReadFile(a);
  {
    const auto running = AuditLog::Create(*dir_ / "state", runs);
    ASSERT_TRUE(running.has_value());
    EXPECT_EQ(Audit({"verify", "--all"}).exit_code, 5);
    WriteFile(a, log_a.substr(0, LogReader::Open(a)->offset()));
    EXPECT_EQ(Audit({"verify", "--all"}).exit_code, 4);
    WriteFile(a, log_a.substr(0, log_a.size() - 1));
    EXPECT_EQ(Audit({"verify", "--all"}).exit_code, 4);
    EXPECT_EQ(Audit({"verify", "a", runs}).exit_code, 4);
    EXPECT_EQ(Audit({"verify", runs, "a"}).exit_code, 4);
  }
  WriteFile(a, log_a);
  ASSERT_EQ(::unlink((*dir_ / "state/audit/runs.carrel-log").c_str()), 0);
}

TEST_F(AuditCli, DiffAndProfile) {
  EXPECT_EQ(Audit({"diff", "a", "a"}).exit_code, 0);
  auto lines = Lines(Audit({"diff", "a", "b", "--json"}).output);
  bool found = false;
  for (const Json& line : lines)
    found |= line["kind"] == "syscall" && line["name"] == "getppid" && line["before"] == 0u &&
             line["after"] == 20u;
  EXPECT_TRUE(found);
  auto profile = Json::parse(Audit({"profile", "a", "b"}).output);
  std::set<std::string> names;
  for (const Json& rule : profile["syscalls"])
    for (const Json& name : rule["names"]) names.insert(name.get<std::string>());
  EXPECT_TRUE(names.contains("getppid"));
  EXPECT_TRUE(names.contains("openat"));
  EXPECT_FALSE(names.contains("mount"));
  WriteFile(*dir_ / "p.json",
            R"({"syscalls":[{"names":["getppid","mount"],"action":"SCMP_ACT_ALLOW"}]})");
  auto against =
      Json::parse(Audit({"profile", "b", "--json", "--against", *dir_ / "p.json"}).output);
  EXPECT_EQ(against["excess"], Json::array({"mount"}));
  EXPECT_NE(Audit({"profile", "b"}).errors.find("mknodat"), std::string::npos)
      << "what its own profile allows in excess";
}

TEST_F(AuditCli, ExportsAreWellFormed) {
  auto chrome = Json::parse(Audit({"export", "b", "--format", "chrome"}).output);
  EXPECT_GT(chrome.size(), 20u);
  int calls = 0;
  for (const Json& event : chrome) {
    if (event["ph"] != "X") continue;
    ++calls;
    EXPECT_TRUE(event["ts"].is_number() && event["dur"].is_number()) << event;
  }
  EXPECT_GT(calls, 20);
  JsonSchema schema("../../runtime/audit/report/export.schema.json");
  EXPECT_EQ(Json::parse(Audit({"export", "--schema"}).output),
            *ReadJsonFile(CARREL_SOURCE_DIR "/runtime/audit/report/export.schema.json"));
  std::set<std::string> kinds;
  for (const Json& line : Lines(Audit({"export", "a", "b"}).output)) {
    kinds.insert(line["kind"].get<std::string>());
    EXPECT_EQ(schema.Problems(line), "") << line;
    Json other = line;
    other["kind"] = line["kind"] == "task" ? "call" : "task";
    EXPECT_NE(schema.Problems(other), "") << "the schema tells the kinds apart: " << other;
  }
  EXPECT_EQ(kinds,
            (std::set<std::string>{"call", "comm", "digest", "exec", "exit", "record", "task"}));
  EXPECT_NE(Audit({"export", "b", "--format", "summary"}).output.find("getppid"),
            std::string::npos);
}

TEST_F(AuditCli, QueryIsOfCallsUnlessAskedOtherwise) {
  for (const std::vector<std::string>& filter :
       {std::vector<std::string>{"--comm", "tool"}, {"--pid", "1"}, {"--path", "/tool"}, {}}) {
    std::vector<std::string> args = {"query", "a", "--json"};
    args.insert(args.end(), filter.begin(), filter.end());
    auto lines = Lines(Audit(args).output);
    EXPECT_FALSE(lines.empty());
    for (const Json& line : lines) EXPECT_TRUE(line.contains("syscall")) << line;
  }
  auto lines =
      Lines(Audit({"query", "a", "--json", "--kind", "exec,exit", "--comm", "tool"}).output);
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0]["kind"], "exec");
  EXPECT_EQ(lines[0]["argv"][1], "files");
}

TEST_F(AuditCli, QueryOverSeveralJobsSaysWhichIsWhose) {
  std::set<std::string> jobs;
  uint64_t getppid = 0;
  for (const Json& line : Lines(Audit({"query", "--json"}).output)) {
    jobs.insert(line["job"].get<std::string>());
    getppid += line["syscall"] == "getppid";
  }
  EXPECT_EQ(jobs, (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(getppid, 20u);
  EXPECT_TRUE(Lines(Audit({"query", "--json", "--project", "nobody"}).output).empty());
  EXPECT_TRUE(Lines(Audit({"query", "--json", "--until", "2020-01-01"}).output).empty());
  EXPECT_TRUE(Lines(Audit({"query", "--json", "--since", "2100-01-01T00:00:00Z"}).output).empty());
  auto stats = Lines(Audit({"stats", "--json", "--syscall", "getppid"}).output);
  ASSERT_EQ(stats.size(), 1u);
  EXPECT_EQ(stats[0]["count"], 20u);
}

TEST_F(AuditCli, FlagsHaveTheirNames) {
  auto lines =
      Lines(Audit({"query", "a", "--json", "--path", "/tool", "--syscall", "openat"}).output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["decoded"]["0"], "AT_FDCWD");
  EXPECT_EQ(lines[0]["decoded"]["2"], "O_RDONLY");
  auto table = Audit({"query", "a", "--syscall", "openat"}).output;
  EXPECT_NE(table.find("AT_FDCWD"), std::string::npos) << table;
}

TEST_F(AuditCli, TablesFitTheScreen) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"query", "a"},
                                               {"list"},
                                               {"diff", "a", "b"},
                                               {"tail", "a"},
                                               {"show", "a", "--events"}}) {
    std::string words = CARREL_BINARY + std::string(" audit");
    for (const std::string& arg : args) words += " " + arg;
    // script gives it a terminal.
    const std::string output =
        RunSubprocess({"script", "-qec", words + " --state " + (*dir_ / "state"), "/dev/null"})
            ->output;
    EXPECT_FALSE(output.empty());
    for (size_t at = 0, end; (end = output.find("\r\n", at)) != std::string::npos; at = end + 2)
      EXPECT_LE(DisplayWidth(output.substr(at, end - at)), 80u) << output.substr(at, end - at);
  }
}

// What goes to grep or into a file is whole.
TEST_F(AuditCli, RowsForOtherProgramsAreNotCut) {
  const std::string table = Audit({"query", "a"}).output;
  EXPECT_GT(table.size(), 1000u);
  EXPECT_EQ(table.find("...\n"), std::string::npos) << table;
  const std::string records = Audit({"query", "a", "--kind", "record"}).output;
  EXPECT_NE(records.find(" start {"), std::string::npos) << records;
}

TEST_F(AuditCli, AMistypedStateIsNotAnEmptyHost) {
  const std::string none = *dir_ / "none";
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"list"}, {"verify", "--all"}, {"query"}, {"stats"}, {"export"}}) {
    std::vector<std::string> words = {"audit"};
    words.insert(words.end(), verb.begin(), verb.end());
    words.insert(words.end(), {"--state", none});
    auto result = RunCarrel(words);
    EXPECT_EQ(result.exit_code, 2) << verb[0] << result.output;
    EXPECT_NE(result.errors.find("no such state directory"), std::string::npos) << result.errors;
  }
  EXPECT_EQ(RunCarrel({"audit", "unload", "--state", none}).exit_code, 0);
  EXPECT_NE(::access(none.c_str(), F_OK), 0);
}

TEST_F(AuditCli, ShowSaysWhatExecRan) {
  EXPECT_NE(Audit({"show", "b"}).output.find("/root: /tool getppid 20"), std::string::npos);
}

TEST_F(AuditCli, ListIsByTimeTheNewestLast) {
  auto lines = Lines(Audit({"list", "--json"}).output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["job"], "a");
  EXPECT_EQ(lines[1]["job"], "b");
  EXPECT_LT(lines[0]["start"], lines[1]["start"]);
  EXPECT_EQ(lines[0]["end"], "sealed");
  EXPECT_EQ(Lines(Audit({"list", "--json", "--since", "2100-01-01"}).output).size(), 0u);
}

TEST_F(AuditCli, TailEndsWithTheEnd) {
  const std::string output = Audit({"tail", "b", "-n", "2"}).output;
  EXPECT_EQ(std::count(output.begin(), output.end(), '\n'), 3) << output;
  EXPECT_NE(output.find("exit_code"), std::string::npos);
  auto lines = Lines(Audit({"tail", "b", "-n", "2", "--json"}).output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["record"], "end");
}

TEST_F(AuditCli, TailFollowsAJobToItsSeal) {
  const std::string state = *dir_ / "follow";
  auto log = AuditLog::Create(state, "f");
  ASSERT_TRUE(log.has_value());
  auto add = [&](uint64_t at) {
    const std::string call = RawCallOf(1, 110, at, 1);
    ASSERT_TRUE((*log)->AppendEvents(call.data(), call.size()).has_value());
  };
  SubprocessResult tailed;
  std::thread tail([&] { tailed = RunCarrel({"audit", "tail", "-f", "f", "--state", state}); });
  add(6400);
  ::usleep(1'200'000);  // blocks are written after a second
  add(64000);
  ASSERT_TRUE((*log)->Finish({2, 0, 0, 0}).has_value());
  tail.join();
  EXPECT_EQ(tailed.exit_code, 0) << tailed.errors;
  size_t calls = 0;
  for (size_t at = 0; (at = tailed.output.find("getppid()", at)) != std::string::npos; ++at)
    ++calls;
  EXPECT_EQ(calls, 2u) << tailed.output;
}

TEST_F(AuditCli, WhatCannotBeWrittenIsAnError) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  for (const char* verb : {"export", "list"}) {
    auto written =
        RunCarrel({"audit", verb, "a", "--state", *dir_ / "state"}, {.output_fd = full.get()});
    EXPECT_EQ(written.exit_code, 70) << verb;
    EXPECT_NE(written.errors.find("could not be written"), std::string::npos) << verb;
  }
}

TEST_F(AuditCli, TimesBeyondAllTimesAreBeforeAndAfterEverything) {
  const auto all = Audit({"query", "a", "--json"}).output;
  EXPECT_FALSE(all.empty());
  EXPECT_EQ(
      Audit({"query", "a", "--json", "--since", "0001-01-01", "--until", "9999-12-31"}).output,
      all);
  EXPECT_EQ(Audit({"query", "a", "--json", "--since", "9999-12-31"}).output, "");
}

TEST_F(AuditCli, BadRequestsAreRefused) {
  EXPECT_EQ(Audit({"query", "a", "--kind", "no_such"}).exit_code, 2);
  EXPECT_EQ(Audit({"prove"}).exit_code, 2);
  EXPECT_EQ(Audit({"diff", "a"}).exit_code, 2);

  EXPECT_EQ(Audit({"query", "a", "--syscall", "no_such"}).exit_code, 2);
  EXPECT_EQ(Audit({"query", "a", "--error", "ENOSUCH"}).exit_code, 2);
  EXPECT_EQ(Audit({"query", "a", "--error", "ENOENT"}).exit_code, 0);
  EXPECT_EQ(Audit({"report", "a", "-o", "/nonexistent/a.html"}).exit_code, 2);
  EXPECT_EQ(Audit({"show", "nobody"}).exit_code, 2);
  EXPECT_EQ(Audit({"show", "../a"}).exit_code, 2);
  EXPECT_EQ(Audit({"show"}).exit_code, 2);
}

}  // namespace
}  // namespace carrel::testing_support
