#include "cli/image_build.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "cli/command.h"
#include "cli/host_options.h"
#include "image/build.h"
#include "image/image_store.h"
#include "image/names.h"
#include "image/recipe.h"

namespace carrel {
namespace {

struct Options {
  std::string recipe;
  std::string config;
  std::string state;
  std::string name;
  std::string checkout;
  std::string output;
};

// Programs for images are built with carrel, and installed beside it.
void SetProgramDirs(BuildOptions& build) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  build.program_dirs[0] = (self.parent_path().parent_path() / "images").string();
  build.program_dirs[1] = self.parent_path().string();
}

Result<Json> Build(const Options& options) {
  CARREL_ASSIGN(Recipe recipe, ReadRecipe(options.recipe));
  if (!options.name.empty()) {
    CARREL_TRY(CheckImageName(options.name));
    recipe.name = options.name;
  }
  BuildOptions build;
  build.work_dir = std::filesystem::absolute(options.state).string() + "/image-build";
  build.tool_checkout = options.checkout;
  if (!options.output.empty()) build.layout = std::filesystem::absolute(options.output).string();
  build.progress = [](const std::string& line) { fprintf(stderr, "%s\n", line.c_str()); };
  SetProgramDirs(build);
  CARREL_ASSIGN(BuiltImage built, BuildImage(recipe, build));
  Json result = {{"name", recipe.name}, {"digest", built.digest}, {"bytes", built.layer.size}};
  if (!options.output.empty()) {
    result["layout"] = options.output;
    return result;
  }
  CARREL_ASSIGN(ImageStore store, ImageStore::Open(options.state));
  CARREL_ASSIGN(Image image, store.Import(built.layout, recipe.name));
  result["digest"] = image.digest;
  result["config_digest"] = image.config_digest;
  return result;
}

}  // namespace

int ImageBuildCommand(int argc, char** argv) {
  Options options;
  CLI::App app("Builds an image from Debian packages, and imports it", "carrel image build");
  app.add_option("RECIPE", options.recipe, "directory with a recipe.json, or the file")->required();
  AddHostOptions(app, options.config, options.state);
  app.add_option("--name", options.name, "NAME:TAG instead of the recipe's");
  app.add_option("--tool-checkout", options.checkout, "checkout that the recipe takes a tool from");
  app.add_option("--output", options.output, "write an OCI layout here, and import nothing");
  int status = 0;
  if (!ParseWithState(app, argc, argv, options.config, options.state, &status)) return status;
  auto result = Build(options);
  if (!result) return PrintError(result.error());
  printf("%s\n", result->dump().c_str());
  return 0;
}

}  // namespace carrel
