// carrel audit report: the page in a browser, on a log that is out to break it and on a large one.
#include <cstring>
#include <filesystem>

#include "audit/audit_log.h"
#include "base/clock.h"
#include "support/carrel.h"
#include "support/raw_events.h"

namespace carrel::testing_support {
namespace {

constexpr uint32_t kOpenat = 257, kGetppid = 110, kMount = 165, kConnect = 42;

// Names that a page could take for something else.
const std::vector<std::string> kHostile = {
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=2>",
    "<!--<script>",
    "\"'><svg onload=window.pwned=3>",
    "]]>\\u003cscript\\u003e",
    "a\xe2\x80\xa8"
    "b\xe2\x80\xae"
    "cod.exe",
    "\x1b[2J\xff\xfe",
    "javascript:window.pwned=4",
    "__proto__",
};

class AuditReport : public testing::Test {
 protected:
  void Start(const std::string& id) {
    auto log = AuditLog::Create(dir_ / "state", id);
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    log_ = std::move(*log);
    id_ = id;
  }
  void Add(const std::string& bytes) {
    ASSERT_TRUE(log_->AppendEvents(bytes.data(), bytes.size()).has_value());
  }
  // A call with a path, and the file that it opened.
  void AddOpen(uint32_t tid, uint64_t at, const std::string& path, int64_t result) {
    Add(RawDataOf(tid, 1, kDataString, path));
    if (result >= 0) Add(RawFileOf(tid, path + '\0', 1));
    Add(RawCallOf(tid, kOpenat, at, result, {0xffffff9c, 0x1000, result >= 0 ? 1u : 0u}));
  }
  void Seal(uint64_t events, uint64_t denied) {
    auto seal = log_->Finish({events, denied, 0, 0});
    ASSERT_TRUE(seal.has_value()) << seal.error().ToString();
  }
  std::string Report() {
    const std::string page = dir_ / (id_ + ".html");
    auto result = RunCarrel({"audit", "report", id_, "-o", page, "--state", dir_ / "state"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return page;
  }
  Json Browse(const std::string& page) {
    std::filesystem::create_directories(dir_ / "browser");
    auto seen = RunSubprocess({"python3", "-B", CARREL_SOURCE_DIR "/tests/support/browse_report.py",
                               page, dir_ / "browser"},
                              {.environment = {{"HOME", dir_ / "browser"}}});
    EXPECT_TRUE(seen.has_value());
    EXPECT_EQ(seen->exit_code, 0) << seen->errors;
    return Json::parse(seen->output, nullptr, false);
  }

  TempDir dir_;
  std::unique_ptr<AuditLog> log_;
  std::string id_;
};

TEST_F(AuditReport, AHostileLogStaysTextInTheBrowser) {
  Start("hostile");
  ASSERT_TRUE(log_->Append("decision", {{"decision", {{"allowed", true}, {"tool", kHostile[0]}}},
                                        {"job", {{"action", kHostile[1]}}}})
                  .has_value());
  Add(RawTaskOf(100, 100, 2, "<b>x</b>"));
  Add(RawDataOf(100, 1, kDataArgv, kHostile[0] + '\0', kDataExec));
  Add(RawFileOf(100, kHostile[1] + '\0', 55, kDataExec));
  Add(RawExecOf(100, 100, 2, "<i>"));
  uint64_t at = static_cast<uint64_t>(MonotonicNs());
  for (const std::string& name : kHostile) AddOpen(100, at += 6400, name, 3);
  AddOpen(100, at += 6400, "/proc/1/environ", -13);
  for (int i = 0; i < 50; ++i) Add(RawCallOf(100, kGetppid, at += 6400, 1));
  Add(RawDataOf(100, 0, kDataString, kHostile[0]));
  Add(RawCallOf(100, kMount, at += 6400, -1, {1, 2, 3, 0, 0}, kCallDenied));
  Add(RawDataOf(100, 1, kDataSockaddr, "\x01" + std::string(1, '\0') + kHostile[3]));
  Add(RawCallOf(100, kConnect, at += 6400, -2, {3, 1, 20}));
  Add(RawExitOf(100, 9));
  Seal(kHostile.size() + 53, 1);

  const Json seen = Browse(Report());
  ASSERT_TRUE(seen.is_object());
  const Json& start = seen["start"];
  EXPECT_EQ(start["ready"], "yes");
  EXPECT_EQ(seen["console"], Json::array()) << "errors, or the page's own policy broken";
  EXPECT_EQ(seen["requests"], Json::array());
  EXPECT_EQ(start["pwned"], "undefined");
  EXPECT_EQ(start["scripts"], 2);
  EXPECT_EQ(start["foreign"], 0);
  EXPECT_EQ(start["charts"], 1);
  EXPECT_EQ(start["verdict"], "log whole, signature good");
  // The worst first, and what was denied is among it.
  EXPECT_EQ(start["findings"][0][0], "alarm");
  EXPECT_NE(start["findings"][0][1].get<std::string>().find("mount("), std::string::npos);
  const std::string all = start.dump();
  EXPECT_NE(all.find("/proc/1/environ"), std::string::npos);
  EXPECT_NE(all.find("signal SIGKILL"), std::string::npos);
  std::set<std::string> files;
  for (const Json& row : start["tables"]["files"]["rows"]) files.insert(row[0].get<std::string>());
  EXPECT_TRUE(files.contains("/" + kHostile[0])) << start["tables"]["files"];
  EXPECT_TRUE(
      files.contains("/a\\xe2\\x80\\xa8"
                     "b\\xe2\\x80\\xae"
                     "cod.exe"));
  EXPECT_TRUE(files.contains("/\\x1b[2J\\xff\\xfe"));

  // Search narrows every table, and the key that clears it brings all back.
  EXPECT_EQ(seen["search"]["tables"]["syscalls"]["rows"].size(), 1u);
  EXPECT_EQ(seen["search"]["tables"]["files"]["rows"].size(), 0u);
  EXPECT_EQ(seen["nothing"]["found"], "0 rows in all tables");
  EXPECT_EQ(seen["cleared"]["tables"], start["tables"]);
  // The keyboard reaches what a mouse does.
  const Json& keyboard = seen["keyboard"];
  EXPECT_EQ(keyboard["first tab"], "skip");
  EXPECT_EQ(keyboard["slash"], "search");
  EXPECT_EQ(keyboard["enter sorts"]["heads"][0], "ascending");
  EXPECT_EQ(keyboard["enter sorts"]["rows"][0][0], "connect");
  EXPECT_EQ(keyboard["enter sorts"]["rows"][1][0], "getppid");
  EXPECT_NE(keyboard["chart reads"].get<std::string>().find("errors"), std::string::npos);
  EXPECT_NE(keyboard["chart zooms"], start["tables"]["events"]["status"]);
  EXPECT_NE(seen["dark"], start["background"]);
  EXPECT_EQ(seen["narrow is wide"], false) << "a narrow screen scrolls sideways";
  EXPECT_EQ(seen["print"]["background"], "rgb(255, 255, 255)");
  EXPECT_EQ(seen["print"]["nav"], "none");
}

TEST_F(AuditReport, AMillionEventsAreAPageThatOpens) {
  Start("large");
  constexpr uint64_t kEvents = 1'000'000;
  Add(RawTaskOf(100, 100, 2, "busy"));
  std::string batch;
  for (uint64_t i = 0; i < kEvents; ++i) {
    const uint64_t at = 100'000 + 1280 * i;
    if (i % 40 == 0) {
      // 25,000 different files, more than the page lists.
      const std::string name = "f" + std::to_string(i);
      batch += RawDataOf(100, 1, kDataString, "/data/" + name);
      batch += RawFileOf(100, name + '\0' + "data" + '\0', i);
      batch += RawCallOf(100, kOpenat, at, 3, {0xffffff9c, 0x1000, 0});
    } else {
      batch += RawCallOf(100, kGetppid, at, 1, {i});
    }
  }
  // Records are handed over one by one, as a ring does.
  for (size_t offset = 0; offset < batch.size();) {
    uint16_t size = 0;
    std::memcpy(&size, batch.data() + offset, sizeof size);
    ASSERT_TRUE(log_->AppendEvents(batch.data() + offset, size).has_value());
    offset += size;
  }
  Add(RawExitOf(100, 0));
  Seal(kEvents, 0);
  const std::string page = Report();
  EXPECT_LT(std::filesystem::file_size(page), 4u << 20);
  const Json seen = Browse(page);
  ASSERT_TRUE(seen.is_object());
  EXPECT_EQ(seen["console"], Json::array());
  const Json& tables = seen["start"]["tables"];
  EXPECT_EQ(tables["syscalls"]["rows"][0][0], "getppid");
  EXPECT_EQ(tables["syscalls"]["rows"][0][1], "975,000");
  // What is not all of it says so.
  EXPECT_EQ(tables["files"]["status"],
            "4,000 rows; the log has 25,000, of which these are the ones that matter most; the "
            "first 50 are shown");
  EXPECT_NE(tables["events"]["status"].get<std::string>().find("1,000,002, of which these are a"),
            std::string::npos)
      << tables["events"]["status"];
}

TEST_F(AuditReport, AnAlteredLogIsSaidToBe) {
  Start("a");
  for (uint64_t i = 0; i < 100; ++i) Add(RawCallOf(100, kGetppid, 6400 * i, 1));
  Seal(101, 0);  // the seal counts one more than there is
  const std::string page = dir_ / "a.html";
  auto result = RunCarrel({"audit", "report", "a", "-o", page, "--state", dir_ / "state"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("altered"), std::string::npos);
  const std::string text = *ReadFile(page);
  EXPECT_NE(text.find("The log is not whole: altered"), std::string::npos);
  struct stat info {};
  ASSERT_EQ(::stat(page.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace carrel::testing_support
