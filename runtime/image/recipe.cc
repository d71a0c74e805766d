#include "image/recipe.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/digest.h"
#include "base/fs.h"
#include "image/names.h"

namespace carrel {
namespace {

// 2100-01-01: a time after it is a mistake (milliseconds, say).
constexpr int64_t kLastEpoch = 4102444800;

bool IsPackageCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-';
}

// Names end on a command line of apt: "-o..." or "pkg=version" must not get there.
bool IsPackageName(std::string_view text) {
  return text.size() >= 2 && text.size() <= 128 && text[0] != '-' && text[0] != '+' &&
         text[0] != '.' && std::all_of(text.begin(), text.end(), IsPackageCharacter);
}

bool IsAbsoluteNormal(std::string_view path) {
  return path.size() > 1 && path[0] == '/' && IsNormalRelativePath(path.substr(1));
}

std::vector<std::string> Packages(JsonObject& in, const std::string& key) {
  std::vector<std::string> names = in.Strings(key).value_or(std::vector<std::string>{});
  for (const std::string& name : names)
    if (!IsPackageName(name)) in.Problem(key, "\"" + name + "\" is not the name of a package");
  return names;
}

RecipeFile DecodeFile(JsonObject& in, const std::string& to, std::string from) {
  RecipeFile file;
  if (from.starts_with("program:")) file.origin = RecipeFile::Origin::kProgram;
  if (from.starts_with("checkout:")) file.origin = RecipeFile::Origin::kCheckout;
  if (file.origin != RecipeFile::Origin::kRecipe) from.erase(0, from.find(':') + 1);
  if (!IsNormalRelativePath(from))
    in.Problem("files", "\"" + from + "\" is not a normal relative path");
  if (!IsAbsoluteNormal(to)) in.Problem("files", "\"" + to + "\" is not a normal absolute path");
  file.from = std::move(from);
  file.to = to.substr(to.empty() ? 0 : 1);
  return file;
}

void DecodeFiles(JsonObject& in, Recipe& recipe) {
  auto files = in.StringMap("files").value_or(std::map<std::string, std::string>{});
  for (const auto& [to, from] : files) recipe.files.push_back(DecodeFile(in, to, from));
  recipe.links = in.StringMap("links").value_or(std::map<std::string, std::string>{});
  for (const auto& [link, target] : recipe.links)
    if (!IsAbsoluteNormal(link) || target.empty())
      in.Problem("links", "\"" + link + "\" is not a normal absolute path with a target");
}

void DecodeRun(JsonObject& in, Recipe& recipe) {
  const Json* run = in.Any("run");
  if (run == nullptr) return;
  if (!run->is_array()) return in.Problem("run", "must be an array of commands");
  for (const Json& command : *run) {
    std::vector<std::string> argv;
    for (const Json& argument : command)
      if (argument.is_string()) argv.push_back(argument.get<std::string>());
    if (!command.is_array() || argv.empty() || argv.size() != command.size())
      return in.Problem("run", "a command must be an array of strings, the program first");
    recipe.run.push_back(std::move(argv));
  }
}

void DecodeConfig(JsonObject& in, ImageConfig& config) {
  config.entrypoint = in.Strings("entrypoint").value_or(std::vector<std::string>{});
  config.cmd = in.Strings("cmd").value_or(std::vector<std::string>{});
  config.env = in.StringMap("env").value_or(std::map<std::string, std::string>{});
  config.labels = in.StringMap("labels").value_or(std::map<std::string, std::string>{});
  config.working_dir = in.String("workdir").value_or("/workspace");
  if (!IsAbsoluteNormal(config.working_dir))
    in.Problem("workdir", "must be a normal absolute path");
}

}  // namespace

Result<Recipe> DecodeRecipe(const Json& json) {
  Recipe recipe;
  JsonObject in(json, "");
  recipe.name = in.RequiredString("name", 256);
  if (auto checked = CheckImageName(recipe.name); !checked)
    in.Problem("name", checked.error().what);
  in.String("summary");
  recipe.suite = in.RequiredString("suite", 32);
  if (!std::all_of(recipe.suite.begin(), recipe.suite.end(),
                   [](char c) { return c >= 'a' && c <= 'z'; }))
    in.Problem("suite", "must be a code name of Debian, as \"bookworm\"");
  recipe.epoch = in.RequiredInt("epoch", 0, kLastEpoch);
  recipe.packages = Packages(in, "packages");
  recipe.without = Packages(in, "without");
  DecodeFiles(in, recipe);
  DecodeRun(in, recipe);
  DecodeConfig(in, recipe.config);
  CARREL_TRY(in.Finish());
  return recipe;
}

Result<Recipe> ReadRecipe(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) < 0)
    return BadInput(path, "no such recipe", "Name a directory with a recipe.json in it");
  const bool is_directory = S_ISDIR(status.st_mode);
  const std::string file = is_directory ? path + "/recipe.json" : path;
  CARREL_ASSIGN(std::string text, ReadFile(file));
  CARREL_ASSIGN(Json json, ParseJson(text, file));
  auto recipe = DecodeRecipe(json);
  if (!recipe) {
    Error error = recipe.error();
    error.where = file + error.where;
    return error;
  }
  const size_t slash = file.rfind('/');
  recipe->directory = slash == std::string::npos ? "." : file.substr(0, slash);
  recipe->digest = Sha256Hex(text);
  return recipe;
}

}  // namespace carrel
