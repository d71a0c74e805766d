// What a job did, as sets: for the comparison of two runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "audit/log_reader.h"

namespace carrel {

struct Behaviour {
  std::map<std::string, uint64_t> syscalls;   ///< calls that the filter let through
  std::map<std::string, uint64_t> denied;     ///< those it refused, with their error
  std::map<std::string, uint64_t> programs;   ///< executed files, as the kernel had them
  std::map<std::string, uint64_t> read;       ///< opened for reading only
  std::map<std::string, uint64_t> written;    ///< opened for writing
  std::map<std::string, uint64_t> changed;    ///< "rename /a /b": names made, moved, removed
  std::map<std::string, uint64_t> missing;    ///< names that could not be opened, with the error
  std::map<std::string, uint64_t> addresses;  ///< connected to, bound or sent to, with the outcome
  std::map<std::string, uint64_t> ends;       ///< "python: exit 0"
};

/// Reads `log` to its end. What differs in every run, though it is the same, gets one name: process
/// ids in paths under /proc, the names of temporary files, the id of the job itself.
Result<Behaviour> BehaviourOf(LogReader& log);

/// `path` with what differs in every run taken out: "/proc/N/status", "/tmp/tmp*/x".
std::string SteadyPath(std::string_view path);

/// One thing that is in one run only, or a count that is not the same.
struct Difference {
  std::string kind;  ///< "program", "written", "changed", "read", "missing", "address", "denied",
                     ///< "end", "syscall"
  std::string name;
  uint64_t before = 0;
  uint64_t after = 0;
  bool only_one() const { return before == 0 || after == 0; }
};

/// In the order of what an auditor looks at first.
std::vector<Difference> Compare(const Behaviour& before, const Behaviour& after);

}  // namespace carrel
