// The BPF programs and maps of this version of carrel: loaded once per boot, pinned in a bpffs of
// carrel's own, shared by all jobs. A start only opens pinned maps by path.
//
//   <state>/bpf/<digest>/{jobs,slots,present,rings,stopped}   maps
//   <state>/bpf/<digest>/link-*                       attached programs
//   <state>/bpf/<digest>/ring-N                       the ring of slot N, made on first need
//   <state>/bpf-<digest>.lock   flock shared: in use; byte N locked: slot N is taken
//   <state>/bpf-load.lock       flock: loading, or removing old versions
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "audit/raw_event.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// The object file, embedded at build time.
extern const unsigned char kBpfObject[];
extern const unsigned long kBpfObjectSize;
extern const char kBpfObjectDigest[];

/// The shared maps, and the lock that keeps them from being removed as an old version. The programs
/// stay attached as long as this holds their links, whatever becomes of the pins.
struct BpfObjects {
  std::string directory;  ///< <state>/bpf/<digest>
  UniqueFd lock;
  UniqueFd jobs;
  UniqueFd slots;
  UniqueFd present;
  UniqueFd stopped;
  std::vector<UniqueFd> links;
};

/// Finds them pinned, or loads and pins them (once per boot and version; tens of ms); pins of which
/// some are gone are made anew when no job uses them. Needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN.
Result<BpfObjects> OpenBpfObjects(const std::string& state_dir);

/// The same when they are pinned; otherwise an error, and nothing is loaded.
Result<BpfObjects> FindBpfObjects(const std::string& state_dir);

/// The ring of slot `slot`, made and pinned if it is not there.
Result<UniqueFd> OpenRing(const BpfObjects& objects, uint32_t slot);

/// Detaches and removes every version under `state_dir` that no running job uses, and returns how
/// many. With `keep_own`, not this program's version.
Result<int> RemoveBpfObjects(const std::string& state_dir, bool keep_own);

}  // namespace carrel
