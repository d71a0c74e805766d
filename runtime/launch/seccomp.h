// Seccomp profiles (OCI linux.seccomp JSON, see seccomp/README.md) compiled to BPF in the parent.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

struct SeccompFilter {
  std::vector<sock_filter> instructions;
  std::string profile_digest;  ///< SHA-256 of the profile's JSON documents
};

/// Compiles OCI documents into one filter: the rules of all, the default action of the first. A
/// name that libseccomp does not know is an error: nothing is skipped. kBadInput for a bad
/// document.
Result<SeccompFilter> CompileSeccomp(const std::vector<std::string>& documents);

/// The JSON documents of a built-in profile ("base", "gateway", "loopback"); kBadInput for another
/// name.
Result<std::vector<std::string>> BuiltinProfile(const std::string& name);

/// The built-in profile `name`, from the cache under `<state_dir>/seccomp` when it is there. A
/// cached file that is not root's alone, or is damaged, is compiled anew.
Result<SeccompFilter> LoadSeccomp(const std::string& state_dir, const std::string& name);

}  // namespace carrel
