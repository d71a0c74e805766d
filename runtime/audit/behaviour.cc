#include "audit/behaviour.h"

#include <algorithm>

#include "audit/call_class.h"
#include "audit/query.h"
#include "audit/render.h"

namespace carrel {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Runs of digits as one N.
std::string WithoutNumbers(std::string_view part) {
  std::string out;
  for (char c : part) {
    if (!IsDigit(c))
      out += c;
    else if (out.empty() || out.back() != 'N')
      out += 'N';
  }
  return out;
}

// The names that Python, R and mkstemp make up.
std::string SteadyTemporary(std::string_view part) {
  for (std::string_view prefix : {"tmp", "Rtmp", "file"})
    if (part.starts_with(prefix) && part.size() >= prefix.size() + 6 &&
        part.find('.') == std::string_view::npos)
      return std::string(prefix) + '*';
  // Python tries a directory with a file of eight such characters.
  if (part.size() == 8 && std::all_of(part.begin(), part.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '_';
      }))
    return "*";
  return WithoutNumbers(part);
}

// A name that an interpreter writes a compiled module under, before it renames it.
std::string WithoutPycNumber(std::string path) {
  const size_t at = path.rfind(".pyc.");
  if (at != std::string::npos &&
      std::all_of(path.begin() + static_cast<ptrdiff_t>(at) + 5, path.end(), IsDigit))
    path.replace(at + 5, std::string::npos, "N");
  return path;
}

class Collector {
 public:
  Collector(const std::string& job, Behaviour& out) : job_(job), out_(out) {}

  void Add(const AuditEvent& event) {
    if (event.kind == EventKind::kExec && event.has_file) ++out_.programs[Name(event.file.path)];
    if (event.kind == EventKind::kExit && event.last)
      ++out_.ends[std::string(event.task.comm) + ": " + ExitText(event.group_code)];
    if (event.kind == EventKind::kCall) AddCall(event);
  }

 private:
  std::string Name(std::string_view path) {
    std::string name = SteadyPath(path);
    // A path of the host that shows inside has the job's id in it.
    for (size_t at = 0; job_.size() >= 6 && (at = name.find(job_, at)) != std::string::npos;)
      name.replace(at, job_.size(), "JOB");
    return name;
  }

  void AddCall(const AuditEvent& event) {
    const std::string error = ErrorOf(event), name = SyscallOf(event);
    if ((event.flags & kCallDenied) != 0)
      ++out_.denied[name + ' ' + error];
    else
      ++out_.syscalls[name];
    if (event.has_file)
      ++(UseOf(event) == FileUse::kWrite ? out_.written : out_.read)[Name(event.file.path)];
    if (error.empty() && ChangesNames(event)) ++out_.changed[name + Strings(event)];
    if (!error.empty() && name.starts_with("open")) ++out_.missing[error + Strings(event)];
    for (const Datum& datum : event.data)
      if (datum.kind == kDataSockaddr)
        ++out_.addresses[name + ' ' + SocketAddress(datum.bytes) +
                         (error.empty() ? "" : ' ' + error)];
  }

  std::string Strings(const AuditEvent& event) {
    std::string all;
    for (const Datum& datum : event.data)
      if (datum.kind == kDataString) all += ' ' + Name(datum.bytes);
    return all;
  }

  const std::string& job_;
  Behaviour& out_;
};

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

std::string SteadyPath(std::string_view path) {
  const bool proc = path.starts_with("/proc/");
  const bool temporary = path.starts_with("/tmp/") || path.starts_with("/dev/shm/");
  if (!proc && !temporary) return WithoutPycNumber(std::string(path));
  std::string out;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (proc)
      out +=
          std::all_of(part.begin(), part.end(), IsDigit) && !part.empty() ? "N" : std::string(part);
    else
      out += SteadyTemporary(part);
    if (end < path.size()) out += '/';
    at = end + 1;
  }
  return out;
}

Result<Behaviour> BehaviourOf(LogReader& log) {
  Behaviour out;
  Collector collector(log.job(), out);
  auto done = ForEachEvent(log, {}, [&](const AuditEvent& event) { collector.Add(event); });
  if (!done) return std::move(done).error();
  return out;
}

std::vector<Difference> Compare(const Behaviour& before, const Behaviour& after) {
  std::vector<Difference> out;
  CompareMaps("program", before.programs, after.programs, out);
  CompareMaps("written", before.written, after.written, out);
  CompareMaps("changed", before.changed, after.changed, out);
  CompareMaps("address", before.addresses, after.addresses, out);
  CompareMaps("denied", before.denied, after.denied, out);
  CompareMaps("end", before.ends, after.ends, out);
  CompareMaps("read", before.read, after.read, out);
  CompareMaps("missing", before.missing, after.missing, out);
  CompareMaps("syscall", before.syscalls, after.syscalls, out);
  return out;
}

}  // namespace carrel
