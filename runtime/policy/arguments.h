// Reading a tool's command line as the tool will, or not at all: where two readings are possible
// (abbreviations, "--", response files) the job is refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

/// The first argument that is one of `refused`, an abbreviation of it ("--ds" of "--dsn"), or has a
/// value attached ("--dsn=x"); "@" among `refused` stands for every response file ("@file").
std::optional<std::string> FindRefusedArgument(const std::vector<std::string>& args,
                                               const std::vector<std::string>& refused);

/// The one argument that is neither an option nor an option's value. Every option must be one of
/// `options` (which take a value, as "--o V" or "--o=V"), written in full. A normal relative path.
Result<std::string> FindOnlyPositional(const std::vector<std::string>& args,
                                       const std::vector<std::string>& options);

/// EHRQL_PERMISSIONS: a JSON list of names.
Result<std::vector<std::string>> ParsePermissionList(const std::string& text);

}  // namespace carrel
