// carrel audit profile: what it writes lets through all that the jobs did, and little else.
#include <linux/audit.h>
#include <sys/mount.h>

#include "audit/log_reader.h"
#include "audit/query.h"
#include "launch/seccomp.h"
#include "support/bpf_evaluator.h"
#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

uint32_t Answer(const SeccompFilter& filter, uint32_t nr, const std::array<uint64_t, 6>& args) {
  seccomp_data data{};
  data.nr = static_cast<int>(nr);
  data.arch = AUDIT_ARCH_X86_64;
  std::copy(args.begin(), args.end(), data.args);
  return EvaluateFilter(filter.instructions, data) & SECCOMP_RET_ACTION_FULL;
}

// The pinned BPF programs of a state directory go with it.
class BpfGuard {
 public:
  explicit BpfGuard(std::string state) : state_(std::move(state)) {}
  ~BpfGuard() {
    RunCarrel({"audit", "unload", "--state", state_});
    ::umount2((state_ + "/bpf").c_str(), MNT_DETACH);
  }
  BpfGuard(const BpfGuard&) = delete;
  BpfGuard& operator=(const BpfGuard&) = delete;

 private:
  std::string state_;
};

TEST(AuditProfile, LetsTheJobsThroughAndIsSmallerThanWhatTheyHad) {
  TempDir dir;
  const std::string state = dir / "state";
  const BpfGuard guard(state);
  ASSERT_EQ(::mkdir((dir / "root").c_str(), 0755), 0);
  ASSERT_EQ(RunSubprocess({"cp", Payload("audit_calls"), dir / "root/tool"})->exit_code, 0);
  auto carrel = [&](std::vector<std::string> args) {
    args.insert(args.begin() + (args[0] == "audit" ? 2 : 1), {"--state", state});
    return RunCarrel(args);
  };
  for (const char* mode : {"files", "threads", "crowd"})
    ASSERT_EQ(carrel({"exec", "--id", mode, "--rootfs", dir / "root", "--", "/tool", mode,
                      mode == std::string("files") ? "/tool" : "3", "2"})
                  .exit_code,
              0);
  auto made = carrel({"audit", "profile", "files", "threads", "crowd", "-o", dir / "p.json"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  auto small = CompileSeccomp({*ReadFile(dir / "p.json")});
  ASSERT_TRUE(small.has_value()) << small.error().ToString();
  auto present = LoadSeccomp(state, "base");
  ASSERT_TRUE(present.has_value()) << present.error().ToString();

  std::set<uint32_t> used;
  uint64_t calls = 0;
  for (const char* job : {"files", "threads", "crowd"}) {
    auto log = LogReader::Open(state + "/audit/" + job + ".carrel-log");
    ASSERT_TRUE(log.has_value());
    ASSERT_TRUE(
        ForEachEvent(*log, {}, [&](const AuditEvent& event) {
          if (event.kind != EventKind::kCall || (event.flags & kCallCompat) != 0) return;
          ++calls;
          used.insert(event.nr);
          // Each call gets from the small profile what it got from the present one.
          EXPECT_EQ(Answer(*small, event.nr, event.args), Answer(*present, event.nr, event.args))
              << event.nr;
        }).has_value());
  }
  EXPECT_GT(calls, 50u);
  for (uint32_t nr = 0; nr < 460; ++nr) {
    if (used.contains(nr)) continue;
    EXPECT_NE(Answer(*small, nr, {}), static_cast<uint32_t>(SECCOMP_RET_ALLOW)) << nr;
  }
  // A name that was used keeps the conditions that the present profile has on it.
  EXPECT_NE(Answer(*small, 56 /* clone */, {0x10000000 /* CLONE_NEWUSER */}),
            static_cast<uint32_t>(SECCOMP_RET_ALLOW));
  EXPECT_NE(made.errors.find("in excess"), std::string::npos) << made.errors;
  EXPECT_NE(made.errors.find("sendfile"), std::string::npos) << made.errors;
}

}  // namespace
}  // namespace carrel::testing_support
