// The messages "<output>.txt" at level 4, which say why an output is not there.
#pragma once

#include <string>

#include "base/result.h"
#include "job/collect_copy.h"

namespace carrel {

/// The text for a researcher; its first line is the one that RemoveWithheldMessage knows.
std::string WithheldMessage(const std::string& path, const std::string& reason);

/// Stages the message for `path`. It is left out where its name is too long, or where a file that
/// is no such message has the name: the manifest has the reason as well.
Result<void> StageWithheldMessage(int medium_workspace, const std::string& path,
                                  const std::string& reason, const LevelOwnership& ownership,
                                  Staging* staging);

/// Removes the message for `path`, if there is one. Other files of that name stay.
Result<void> RemoveWithheldMessage(int medium_workspace, const std::string& path);

/// Removes the level 4 copy of `path` that an earlier job left, if there is one.
Result<void> RemoveEarlierCopy(int medium_workspace, const std::string& path);

}  // namespace carrel
