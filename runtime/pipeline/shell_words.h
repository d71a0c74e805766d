// A `run` line as words, as Python's shlex.split has them: the agent and its users think in those.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carrel {

/// Splits at white space; '...' is literal, in "..." a backslash escapes only '"' and itself,
/// elsewhere any character. No comments, variables or globs. kBadInput: a quote that is not closed,
/// a backslash at the end.
Result<std::vector<std::string>> SplitShellWords(std::string_view line);

}  // namespace carrel
