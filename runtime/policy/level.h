// The two levels that an action's files can have (mission.md, "Words").
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace carrel {

enum class Level {
  kHighlySensitive = 3,      ///< patient-level extracts
  kModeratelySensitive = 4,  ///< aggregated results, after the level 4 checks
};

/// "highly_sensitive" or "moderately_sensitive", exactly; anything else is nullopt.
std::optional<Level> ParseLevel(std::string_view name);
std::string LevelName(Level level);

}  // namespace carrel
