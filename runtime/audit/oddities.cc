#include "audit/oddities.h"

#include <algorithm>

#include "audit/render.h"
#include "audit/tables/flag_names.h"

namespace carrel {
namespace {

// Names that an analysis has no use for.
bool IsSensitivePlace(std::string_view path) {
  static constexpr std::string_view kBegins[] = {"/etc/shadow",
                                                 "/etc/gshadow",
                                                 "/etc/sudoers",
                                                 "/root/",
                                                 "/proc/kcore",
                                                 "/proc/kallsyms",
                                                 "/proc/sysrq-trigger",
                                                 "/proc/1/",
                                                 "/proc/keys",
                                                 "/sys/kernel/",
                                                 "/sys/fs/bpf",
                                                 "/dev/mem",
                                                 "/dev/kmem",
                                                 "/dev/sd",
                                                 "/dev/nvme",
                                                 "/dev/vd",
                                                 "/boot/",
                                                 "/var/run/docker.sock",
                                                 "/run/docker.sock",
                                                 "/run/containerd"};
  static constexpr std::string_view kEnds[] = {
      "/environ", "/mem",          "/.ssh",          "/id_rsa",  "/id_ed25519", "/.netrc",
      "/.pgpass", "/core_pattern", "/release_agent", "/uid_map", "/gid_map",    "/ns/mnt"};
  if (std::any_of(std::begin(kBegins), std::end(kBegins),
                  [&](std::string_view name) { return path.starts_with(name); }))
    return true;
  return std::any_of(std::begin(kEnds), std::end(kEnds), [&](std::string_view name) {
    return path.ends_with(name) && (name[1] == '.' || name[1] == 'i' ||
                                    path.starts_with("/proc/") || path.starts_with("/sys/"));
  });
}

bool IsWritablePlace(std::string_view path) {
  return path.starts_with("/tmp/") || path.starts_with("/workspace/") ||
         path.starts_with("/dev/shm/") || path.starts_with("/memfd:") || path.starts_with("memfd:");
}

}  // namespace

std::vector<Oddity> OdditiesOf(const AuditEvent& event) {
  std::vector<Oddity> out;
  // Carrel's own init, which is executed from memory.
  const bool init = event.task.inner_tgid == 1;
  if (event.has_file && !init && (event.file.flags & kDataOutside) != 0)
    out.push_back({kOddOutside, Printable(event.file.path)});
  if (event.kind == EventKind::kExec && event.has_file && !init && IsWritablePlace(event.file.path))
    out.push_back({kOddProgram, Printable(event.file.path)});
  if (event.kind != EventKind::kCall) return out;
  if ((event.flags & kCallCompat) != 0 || (event.nr & 0xc0000000u) == 0x40000000u)
    out.push_back({kOddForeign, SyscallOf(event)});
  else if (AsksWritableExecutable(event.nr, event.args))
    out.push_back({kOddMemory, SyscallOf(event)});
  for (const Datum& datum : event.data)
    if (datum.kind == kDataString && IsSensitivePlace(datum.bytes))
      out.push_back({kOddPlace, SyscallOf(event) + ' ' + Printable(datum.bytes)});
  return out;
}

}  // namespace carrel
