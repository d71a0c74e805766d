// Copies what a recipe adds to the packages into the root file system that is being built.
#pragma once

#include <string>

#include "base/result.h"
#include "image/build.h"
#include "image/recipe.h"

namespace carrel {

/// Adds the recipe's files and links below `root`. Files get mode 0755 if their owner may execute
/// them and else 0644. Directories are copied whole, without names that begin with '.' and
/// without __pycache__; a symbolic link or special file in them is kBadInput.
Result<void> AddRecipeFiles(int root, const Recipe& recipe, const BuildOptions& options);

}  // namespace carrel
