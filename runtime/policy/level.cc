#include "policy/level.h"

namespace carrel {

std::optional<Level> ParseLevel(std::string_view name) {
  if (name == "highly_sensitive") return Level::kHighlySensitive;
  if (name == "moderately_sensitive") return Level::kModeratelySensitive;
  return std::nullopt;
}

std::string LevelName(Level level) {
  return level == Level::kHighlySensitive ? "highly_sensitive" : "moderately_sensitive";
}

}  // namespace carrel
