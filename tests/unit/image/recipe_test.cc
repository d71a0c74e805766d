#include "image/recipe.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/fs.h"
#include "image/build_files.h"
#include "image/build_layer.h"
#include "image/build_layout.h"
#include "image/recipe_sources.h"

namespace carrel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json Minimal() { return {{"name", "base:v1"}, {"suite", "bookworm"}, {"epoch", 1000}}; }

std::string ErrorOf(const Json& json) {
  auto recipe = DecodeRecipe(json);
  EXPECT_FALSE(recipe.has_value());
  if (recipe) return "";
  EXPECT_EQ(recipe.error().kind, ErrorKind::kBadInput);
  return recipe.error().ToString();
}

TEST(Recipe, DecodesAllItsKeys) {
  Json json = Minimal();
  json["packages"] = {"python3", "libstdc++6"};
  json["without"] = {"python3-tk"};
  json["files"] = {{"/usr/bin/tool", "program:tool"}, {"/app/ehrql", "checkout:ehrql"}};
  json["links"] = {{"/usr/bin/python", "python3"}};
  json["run"] = {{"python3", "-m", "compileall"}};
  json["entrypoint"] = {"tool"};
  json["env"] = {{"LANG", "C.UTF-8"}};
  auto recipe = DecodeRecipe(json);
  ASSERT_TRUE(recipe.has_value()) << recipe.error().ToString();
  EXPECT_EQ(recipe->name, "base:v1");
  EXPECT_THAT(recipe->packages, ElementsAre("python3", "libstdc++6"));
  EXPECT_THAT(recipe->without, ElementsAre("python3-tk"));
  ASSERT_EQ(recipe->files.size(), 2u);
  EXPECT_EQ(recipe->files[0].origin, RecipeFile::Origin::kCheckout);
  EXPECT_EQ(recipe->files[0].from, "ehrql");
  EXPECT_EQ(recipe->files[0].to, "app/ehrql");
  EXPECT_EQ(recipe->files[1].origin, RecipeFile::Origin::kProgram);
  EXPECT_THAT(recipe->run, ElementsAre(ElementsAre("python3", "-m", "compileall")));
  EXPECT_THAT(recipe->config.entrypoint, ElementsAre("tool"));
  EXPECT_EQ(recipe->config.working_dir, "/workspace");
}

TEST(Recipe, RefusesWhatItDoesNotKnow) {
  Json json = Minimal();
  json["user"] = "root";
  EXPECT_THAT(ErrorOf(json), HasSubstr("/user"));
}

TEST(Recipe, RefusesOptionsAsPackageNames) {
  for (const char* name : {"-oDir=/", "a=1.0", "./x.deb", "a b", "A", "+x", "a,b", ""}) {
    Json json = Minimal();
    json["packages"] = {name};
    EXPECT_THAT(ErrorOf(json), HasSubstr("/packages")) << name;
  }
}

TEST(Recipe, RefusesPathsThatLeave) {
  for (const char* path : {"../x", "/etc/shadow", "a//b", "program:../x", "checkout:/etc", ""}) {
    Json json = Minimal();
    json["files"] = {{"/x", path}};
    EXPECT_THAT(ErrorOf(json), HasSubstr("/files")) << path;
  }
  for (const char* path : {"x", "/../x", "/a/./b", "/"}) {
    Json json = Minimal();
    json["files"] = {{path, "x"}};
    EXPECT_THAT(ErrorOf(json), HasSubstr("/files")) << path;
  }
}

TEST(Recipe, RefusesOddNamesSuitesAndCommands) {
  for (const char* name : {"base", "base:", "Base:v1", ":v1", "-a:v1"}) {
    Json json = Minimal();
    json["name"] = name;
    EXPECT_THAT(ErrorOf(json), HasSubstr("/name")) << name;
  }
  Json suite = Minimal();
  suite["suite"] = "bookworm main --x";
  EXPECT_THAT(ErrorOf(suite), HasSubstr("/suite"));
  Json run = Minimal();
  run["run"] = {"rm -rf /"};
  EXPECT_THAT(ErrorOf(run), HasSubstr("/run"));
}

TEST(Recipe, EveryRecipeOfTheTreeDecodes) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CARREL_SOURCE_DIR "/images")) {
    if (!std::filesystem::exists(entry.path() / "recipe.json")) continue;
    auto recipe = ReadRecipe(entry.path().string());
    EXPECT_TRUE(recipe.has_value()) << recipe.error().ToString();
    ++count;
  }
  EXPECT_EQ(count, 5u);
}

constexpr char kStanzas[] = R"(# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://vendor.example/node
Suites: nodistro
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
)";

TEST(RecipeSources, ReadsStanzasOfDebianOnly) {
  EXPECT_THAT(
      DebianSources(kStanzas, true, "bookworm", "bookworm"),
      ElementsAre("deb [signed-by=/usr/share/keyrings/debian.gpg] http://mirror.example/debian "
                  "bookworm main",
                  "deb [signed-by=/usr/share/keyrings/debian.gpg] http://mirror.example/debian "
                  "bookworm-updates main",
                  "deb http://mirror.example/security bookworm-security main"));
}

TEST(RecipeSources, ReadsLinesAndPutsAnotherSuite) {
  const char* lines =
      "deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian bookworm main # ours\n"
      "deb-src https://mirror.example/debian bookworm main\n"
      "deb https://vendor.example/debian bookworm stable\n"
      "deb https://vendor.example/apt bookworm-pgdg main\n"
      "deb cdrom:[Debian]/ bookworm main\n";
  EXPECT_THAT(DebianSources(lines, false, "bookworm", "trixie"),
              ElementsAre("deb [signed-by=/k.gpg] https://mirror.example/debian trixie main"));
  EXPECT_THAT(DebianSources(lines, false, "trixie", "trixie"), IsEmpty());
}

TEST(RecipeSources, KeepsHowTheMachineFetchesAndNothingElse) {
  EXPECT_EQ(FetchOptions("APT::Architecture \"amd64\";\nAcquire::http \"\";\n"
                         "Acquire::http::Proxy \"http://proxy.example:3128\";\n"
                         "DPkg::Post-Invoke:: \"touch /x\";\nAcquire::Check-Valid-Until \"0\";\n"),
            "Acquire::http::Proxy \"http://proxy.example:3128\";\n"
            "Acquire::Check-Valid-Until \"0\";\n");
}

class BuildLayerTest : public ::testing::Test {
 protected:
  BuildLayerTest() {
    char name[] = "/tmp/carrel-layer-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~BuildLayerTest() override { std::filesystem::remove_all(path_); }

  void Write(const std::string& name, std::string_view text, mode_t mode) {
    const std::filesystem::path file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    auto fd = OpenPath(file.string(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT_TRUE(fd.has_value());
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
    ASSERT_EQ(::fchmod(fd->get(), mode), 0);
  }

  Layer Pack(const std::string& tree) {
    auto root = OpenPath(path_ + "/" + tree, O_RDONLY | O_DIRECTORY);
    auto out = OpenPath(path_ + "/" + tree + ".layer", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    auto layer = WriteLayer(root->get(), 1000, out->get());
    EXPECT_TRUE(layer.has_value());
    return layer.value_or(Layer{});
  }

  std::string path_;
};

TEST_F(BuildLayerTest, IsTheSameWhateverTheMachineLeft) {
  Write("a/usr/bin/x", "program", 04755);
  Write("a/var/log/dpkg.log", "today", 0644);
  Write("a/etc/hostname", "this machine", 0644);
  Write("a/etc/apt/sources.list", "deb http://mirror.example/debian", 0644);
  Write("a/usr/share/doc/x/changelog.gz", "long", 0644);
  // Written in another order, at another time, with other bits.
  Write("b/etc/machine-id", "1234", 0666);
  std::filesystem::create_directories(path_ + "/b/var/log");
  std::filesystem::create_directories(path_ + "/b/etc/apt");
  std::filesystem::create_directories(path_ + "/b/usr/share/doc/x");
  Write("b/usr/bin/x", "program", 0777);
  ::chmod((path_ + "/b/usr").c_str(), 0777);
  ::mkfifo((path_ + "/b/usr/fifo").c_str(), 0666);
  const Layer a = Pack("a");
  const Layer b = Pack("b");
  EXPECT_EQ(a.diff_id, b.diff_id);
  EXPECT_EQ(a.digest, b.digest);
  EXPECT_GT(a.size, 0u);
  Write("b/usr/bin/x", "Program", 0755);
  EXPECT_NE(Pack("b").diff_id, a.diff_id);
}

TEST_F(BuildLayerTest, ConfigurationHasNoTimeOfTheBuild) {
  Recipe recipe;
  recipe.name = "base:v1";
  recipe.epoch = 1767225600;
  recipe.config.working_dir = "/workspace";
  const std::string text = ImageConfigJson(recipe, Layer{"sha256:d", "sha256:l", 1});
  EXPECT_THAT(text, HasSubstr(R"("created":"2026-01-01T00:00:00Z")"));
  EXPECT_EQ(text, ImageConfigJson(recipe, Layer{"sha256:d", "sha256:l", 1}));
}

TEST_F(BuildLayerTest, CheckoutIsCopiedWithoutItsRepositoryAndRefusesLinks) {
  Write("co/tool/main.py", "print()", 0600);
  Write("co/tool/.git/config", "x", 0600);
  Write("co/tool/__pycache__/main.pyc", "x", 0600);
  std::filesystem::create_directories(path_ + "/root/app");
  Recipe recipe;
  recipe.config.working_dir = "/workspace";
  recipe.files = {{RecipeFile::Origin::kCheckout, "tool", "app/tool"}};
  BuildOptions options;
  auto root = OpenPath(path_ + "/root", O_RDONLY | O_DIRECTORY);
  auto missing = AddRecipeFiles(root->get(), recipe, options);
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().ToString(), HasSubstr("--tool-checkout"));

  options.tool_checkout = path_ + "/co";
  auto added = AddRecipeFiles(root->get(), recipe, options);
  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  struct stat status;
  ASSERT_EQ(::stat((path_ + "/root/app/tool/main.py").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0644u);
  EXPECT_FALSE(std::filesystem::exists(path_ + "/root/app/tool/.git"));
  EXPECT_FALSE(std::filesystem::exists(path_ + "/root/app/tool/__pycache__"));
  EXPECT_TRUE(std::filesystem::is_directory(path_ + "/root/workspace"));

  ASSERT_EQ(::symlink("/etc/passwd", (path_ + "/co/tool/link").c_str()), 0);
  auto linked = AddRecipeFiles(root->get(), recipe, options);
  ASSERT_FALSE(linked.has_value());
  EXPECT_THAT(linked.error().ToString(), HasSubstr("tool/link"));
}

TEST(BuildLayer, CompiledPythonForgetsItsSourcesTime) {
  char head[16] = {'m', 'a', 'g', 'i', 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  DetachFromSourceTime("usr/lib/x.pyc", head, sizeof(head));
  EXPECT_EQ(std::string(head, 16), std::string("magi\1\0\0\0\0\0\0\0\0\0\0\0", 16));
  char hashed[16] = {'m', 'a', 'g', 'i', 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  DetachFromSourceTime("usr/lib/x.pyc", hashed, sizeof(hashed));
  EXPECT_EQ(hashed[4], 3);
  EXPECT_EQ(hashed[8], 1);
}

TEST(BuildLayer, KeepsLicencesAndThePackageDatabase) {
  EXPECT_FALSE(IsLeftOut("usr/share/doc/libc6/copyright"));
  EXPECT_FALSE(IsLeftOut("usr/share/doc/libc6"));
  EXPECT_TRUE(IsLeftOut("usr/share/doc/libc6/changelog.gz"));
  EXPECT_FALSE(IsLeftOut("var/lib/dpkg/status"));
  EXPECT_FALSE(IsLeftOut("var/lib/dpkg/info/libc6.md5sums"));
  EXPECT_TRUE(IsLeftOut("var/lib/dpkg/info/libc6.postinst"));
  EXPECT_TRUE(IsLeftOut("dev/null"));
  EXPECT_FALSE(IsLeftOut("dev"));
}

}  // namespace
}  // namespace carrel
