// Where Debian packages come from: what the machine is configured to use, and nothing else.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carrel {

/// Reads the entries of one file in apt's one-line format (*.list) or deb822 format (*.sources)
/// that are Debian's own for `host_suite` (the suite, its -updates and its -security; component
/// main), and returns them as one-line entries for `suite`. Entries of others are left out.
std::vector<std::string> DebianSources(std::string_view text, bool deb822,
                                       const std::string& host_suite, const std::string& suite);

/// All entries of `<apt_dir>/sources.list` and `<apt_dir>/sources.list.d`, in the order of their
/// files' names, each once. `host_suite` is this machine's (VERSION_CODENAME). None is kBadInput.
Result<std::vector<std::string>> ReadDebianSources(const std::string& apt_dir,
                                                   const std::string& host_suite,
                                                   const std::string& suite);

/// VERSION_CODENAME of an os-release file.
Result<std::string> HostSuite(const std::string& os_release = "/etc/os-release");

/// The lines of `apt-config dump` that say how to fetch (proxies, time checks, retries): a build
/// reaches the archive exactly as the machine does.
std::string FetchOptions(std::string_view apt_config_dump);

}  // namespace carrel
