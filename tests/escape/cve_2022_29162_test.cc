// CVE-2022-29162, CVE-2022-27650: capabilities in the inheritable set of a container's process, or
// whatever else of the kind the caller has, come back through a file's capabilities.
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

void RaiseEverything() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) ::_exit(124);
  for (auto& part : data) part.inheritable = part.permitted;
  if (::syscall(SYS_capset, &header, data) != 0) ::_exit(124);
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) != 0) ::_exit(124);
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) != 0) ::_exit(124);
}

void ExpectNoCapability(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_THAT(outcome.out, ::testing::HasSubstr(std::string(set) + ":\t0000000000000000\n"));
  EXPECT_THAT(outcome.out, ::testing::HasSubstr("NoNewPrivs:\t1\n"));
}

TEST(Cve202229162, InheritableAndAmbientSetsOfTheCallerAreDropped) {
  Jail jail({"act"});
  StartOptions start;
  start.before = &RaiseEverything;
  ExpectNoCapability(jail.Run({"--", "/act", "read", "/proc/self/status"}, start));
}

TEST(Cve202229162, OddSecurebitsOfTheCallerChangeNothing) {
  Jail jail({"act"});
  for (int bits : {SECBIT_KEEP_CAPS, SECBIT_NO_SETUID_FIXUP, SECBIT_NO_SETUID_FIXUP_LOCKED,
                   SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED}) {
    StartOptions start;
    start.before = [bits] {
      if (::prctl(PR_SET_SECUREBITS, bits) != 0) ::_exit(124);
    };
    ExpectNoCapability(jail.Run({"--", "/act", "read", "/proc/self/status"}, start));
  }
}

}  // namespace
}  // namespace carrel::testing_support
