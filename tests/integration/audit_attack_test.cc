// The action does what it can against its log: all of its calls are in it, as its own, and carrel
// needs no more memory than for any other.
#include <map>

#include "audit/query.h"
#include "audit/syscall_names.h"
#include "audit/verify.h"
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

struct Attack {
  std::vector<std::string> words;
  uint64_t getppid, getsid;
};

void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.words[0]; }

class AuditAttack : public testing::TestWithParam<Attack> {};

uint64_t PeakKib(pid_t pid) {
  const std::string status = ReadText("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("VmHWM:");
  return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + 6, nullptr, 10);
}

TEST_P(AuditAttack, IsInTheLogAndCostsNoMemory) {
  Jail jail({"audit_attack"});
  std::vector<std::string> words = {"--id", "attack", "--time", "300", "--", "/audit_attack"};
  words.insert(words.end(), GetParam().words.begin(), GetParam().words.end());
  Process carrel = jail.Start(words);
  uint64_t peak = 0;
  const bool ended = Eventually(
      [&] {
        peak = std::max(peak, PeakKib(carrel.pid()));
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(carrel.pid()), &info,
                        WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid != 0;
      },
      300);
  ASSERT_TRUE(ended);
  EXPECT_EQ(carrel.Wait(), 0) << carrel.Err();
  const std::string id = HostId("attack"), path = jail.state() + "/audit/" + id + ".carrel-log";
  const auto verdict = VerifyLog(jail.state(), path, id);
  ASSERT_TRUE(verdict.has_value()) << verdict.error().ToString();
  EXPECT_EQ(verdict->finding, LogFinding::kWhole) << verdict->why;
  std::map<std::string, uint64_t> calls;
  auto reader = LogReader::Open(path);
  ASSERT_TRUE(ForEachEvent(*reader, {}, [&](const AuditEvent& event) {
                if (event.kind != EventKind::kCall) return;
                ++calls[SyscallName(event.nr, false)];
                EXPECT_NE(event.task.tgid, 0u);
                EXPECT_NE(event.task.inner_tid, 0u);
              }).has_value());
  EXPECT_EQ(calls["getppid"], GetParam().getppid);
  EXPECT_EQ(calls["getsid"], GetParam().getsid);
  EXPECT_GT(peak, 0u);
  EXPECT_LE(peak, 24u << 10) << "KiB of carrel";
  RecordProperty("peak_kib", static_cast<int>(peak));
  jail.ExpectNothingLeft("attack");
}

INSTANTIATE_TEST_SUITE_P(
    All, AuditAttack,
    testing::Values(Attack{{"renames", "500", "20"}, 10'000, 0}, Attack{{"threads", "900"}, 900, 0},
                    Attack{{"directories", "3000"}, 3000, 0}, Attack{{"execs", "300"}, 0, 300},
                    Attack{{"killed-execs", "300"}, 300, 0}, Attack{{"strangers", "50"}, 100, 0},
                    Attack{{"own-filter", "100"}, 100, 100}, Attack{{"storm", "20000"}, 80'000, 0},
                    Attack{{"odd-calls"}, 2, 0}),
    [](const testing::TestParamInfo<Attack>& info) {
      std::string name = info.param.words[0];
      std::erase(name, '-');
      return name;
    });

}  // namespace
}  // namespace carrel::testing_support
