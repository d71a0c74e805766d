#include "audit/behaviour.h"

#include <fcntl.h>

#include "audit/query.h"
#include "audit/render.h"
#include "audit/syscall_names.h"

namespace carrel {
namespace {

// "/proc/123/status" is "/proc/N/status".
std::string Steady(std::string_view path) {
  constexpr std::string_view kProc = "/proc/";
  if (!path.starts_with(kProc)) return std::string(path);
  size_t end = kProc.size();
  while (end < path.size() && path[end] >= '0' && path[end] <= '9') ++end;
  if (end == kProc.size()) return std::string(path);
  return "/proc/N" + std::string(path.substr(end));
}

// The flags of an open; openat2 has them in memory, where the log does not look.
bool OpensForWriting(const AuditEvent& event) {
  const std::string name = SyscallName(event.nr, false);
  if (name == "creat") return true;
  const uint64_t flags = name == "open" ? event.args[1] : name == "openat" ? event.args[2] : 0;
  return (flags & O_ACCMODE) != O_RDONLY;
}

void Add(Behaviour& out, const AuditEvent& event) {
  if (event.kind == EventKind::kExec && event.has_file) ++out.programs[Steady(event.file.path)];
  if (event.kind != EventKind::kCall) return;
  const std::string name = SyscallName(event.nr, (event.flags & kCallCompat) != 0);
  ++((event.flags & kCallDenied) != 0 ? out.denied : out.syscalls)[name];
  if (event.has_file) ++(OpensForWriting(event) ? out.written : out.read)[Steady(event.file.path)];
  for (const Datum& datum : event.data)
    if (datum.kind == kDataSockaddr) ++out.addresses[SocketAddress(datum.bytes)];
}

void CompareMaps(const char* kind, const std::map<std::string, uint64_t>& before,
                 const std::map<std::string, uint64_t>& after, std::vector<Difference>& out) {
  for (const auto& [name, count] : before) {
    auto there = after.find(name);
    const uint64_t now = there == after.end() ? 0 : there->second;
    if (now != count) out.push_back({kind, name, count, now});
  }
  for (const auto& [name, count] : after)
    if (!before.contains(name)) out.push_back({kind, name, 0, count});
}

}  // namespace

Result<Behaviour> BehaviourOf(LogReader& log) {
  Behaviour out;
  auto done = ForEachEvent(log, {}, [&](const AuditEvent& event) { Add(out, event); });
  if (!done) return std::move(done).error();
  return out;
}

std::vector<Difference> Compare(const Behaviour& before, const Behaviour& after) {
  std::vector<Difference> out;
  CompareMaps("program", before.programs, after.programs, out);
  CompareMaps("written", before.written, after.written, out);
  CompareMaps("read", before.read, after.read, out);
  CompareMaps("address", before.addresses, after.addresses, out);
  CompareMaps("denied", before.denied, after.denied, out);
  CompareMaps("syscall", before.syscalls, after.syscalls, out);
  return out;
}

OrderedJson SeccompProfile(const std::set<std::string>& names) {
  return {{"defaultAction", "SCMP_ACT_ERRNO"},
          {"defaultErrnoRet", 38},
          {"architectures", {"SCMP_ARCH_X86_64"}},
          {"syscalls", {{{"names", names}, {"action", "SCMP_ACT_ALLOW"}}}}};
}

std::set<std::string> AllowedBy(const Json& profile) {
  std::set<std::string> names;
  auto rules = profile.is_object() ? profile.find("syscalls") : profile.end();
  if (!profile.is_object() || rules == profile.end() || !rules->is_array()) return names;
  for (const Json& rule : *rules) {
    if (!rule.is_object() || rule.value("action", Json()) != "SCMP_ACT_ALLOW") continue;
    for (const Json& name : rule.value("names", Json::array()))
      if (name.is_string()) names.insert(name.get<std::string>());
  }
  return names;
}

}  // namespace carrel
