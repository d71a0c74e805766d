// The patterns of an output spec, as Python's pathlib has them (Path.glob of Python 3.8 to 3.12):
// the agent that wrote the spec thinks in those terms.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

/// kBadInput for a pattern that is empty, absolute, leaves the workspace (".."), holds a control
/// character or invalid UTF-8, or has "**" as a part of a component. `where` starts the error.
Result<void> CheckPattern(std::string_view pattern, const std::string& where);

/// True when `path` (relative, normal) is a file that Path(workspace).glob(pattern) would find.
/// `*`, `?` and `[..]` match within one component, dot files included; `**` stands for any number
/// of directories, so that a pattern that ends in it, or in '/', matches no file. Case counts; `?`
/// is one code point. False for a pattern that CheckPattern refuses.
bool MatchesPattern(std::string_view pattern, std::string_view path);

/// The literal leading directory: "output/data" of "output/data/*.csv", "" of "*.csv".
std::string PatternRoot(std::string_view pattern);

}  // namespace carrel
