// What a job did, as sets: for the comparison of two runs, and for the profile that they need.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "audit/log_reader.h"
#include "base/json.h"

namespace carrel {

struct Behaviour {
  std::map<std::string, uint64_t> syscalls;   ///< calls that the filter let through
  std::map<std::string, uint64_t> denied;     ///< those it refused
  std::map<std::string, uint64_t> programs;   ///< executed files, as the kernel had them
  std::map<std::string, uint64_t> read;       ///< opened for reading only
  std::map<std::string, uint64_t> written;    ///< opened for writing
  std::map<std::string, uint64_t> addresses;  ///< connected to, bound or sent to
};

/// Reads `log` to its end. Numbers in paths under /proc are "N": they differ each time.
Result<Behaviour> BehaviourOf(LogReader& log);

/// One thing that is in one run only, or a count that is not the same.
struct Difference {
  std::string kind;  ///< "syscall", "denied", "program", "read", "written", "address"
  std::string name;
  uint64_t before = 0;
  uint64_t after = 0;
};
std::vector<Difference> Compare(const Behaviour& before, const Behaviour& after);

/// An OCI seccomp profile that allows exactly `names` on x86-64.
OrderedJson SeccompProfile(const std::set<std::string>& names);

/// The syscalls that an OCI profile allows, with or without conditions.
std::set<std::string> AllowedBy(const Json& profile);

}  // namespace carrel
