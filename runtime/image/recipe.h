// A recipe: what one tool image is made of. The text is data in images/NAME/recipe.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "image/image_store.h"

namespace carrel {

/// A file or directory that no Debian package holds.
struct RecipeFile {
  /// Where it comes from.
  enum class Origin {
    kRecipe,    ///< "NAME": beside recipe.json
    kProgram,   ///< "program:NAME": built with carrel
    kCheckout,  ///< "checkout:PATH": in the directory that --tool-checkout names
  };
  Origin origin = Origin::kRecipe;
  std::string from;  ///< a normal relative path at that place
  std::string to;    ///< a normal relative path in the image
};

struct Recipe {
  std::string name;                           ///< "python:v2"
  std::string suite;                          ///< Debian's code name: "bookworm", "trixie"
  int64_t epoch = 0;                          ///< seconds since 1970: the time of every file
  std::vector<std::string> packages;          ///< on top of Debian's essential packages
  std::vector<std::string> without;           ///< dependencies that are satisfied by nothing
  std::vector<RecipeFile> files;              ///< added after the packages
  std::map<std::string, std::string> links;   ///< absolute path of a new link -> its target
  std::vector<std::vector<std::string>> run;  ///< commands run inside, after files and links
  ImageConfig config;                         ///< entrypoint, cmd, env, working_dir, labels
  std::string directory;                      ///< where the recipe's own files are
  std::string digest;                         ///< SHA-256 of recipe.json, 64 hex digits
};

/// Decodes strictly: an unknown key, a path that is not normal or a package name that is none is
/// kBadInput with its JSON pointer.
Result<Recipe> DecodeRecipe(const Json& json);

/// Reads `path`: a recipe.json, or a directory that has one.
Result<Recipe> ReadRecipe(const std::string& path);

}  // namespace carrel
