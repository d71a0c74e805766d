// Looks at the sandbox from inside: each point of its surface is tried, and told in one line. Run
// by tests/escape/surface_test.cc, which says what may be open and why. Also useful by hand:
//
//   carrel exec --rootfs DIR -- /probe | grep -v ': \(closed\|works\)'
//
// What the host's state is comes in variables PROBE_*; without them those points are left out or
// are open.
#include "probe/files.h"
#include "probe/identity.h"
#include "probe/limits.h"
#include "probe/needs.h"
#include "probe/proc.h"
#include "probe/report.h"
#include "probe/sockets.h"
#include "probe/syscalls.h"

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--exit-42") == 0) return 42;
  if (argc > 1 && strcmp(argv[1], "--am-i-root") == 0)
    return geteuid() == 0 || getegid() == 0 ? 0 : 1;
  self_path = argv[0];
  probe_calls();
  probe_clone_flags();
  probe_i386();
  if (argc > 1 && strcmp(argv[1], "--calls") == 0) return 0;
  probe_identity();
  probe_sockets();
  probe_places();
  probe_files();
  probe_needs();
  probe_limits();
  puts("end: works (all points were tried)");
  return 0;
}
