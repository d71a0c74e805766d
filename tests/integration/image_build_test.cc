// `carrel image build` from Debian packages, as root, with the machine's own sources.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kImages[] = CARREL_SOURCE_DIR "/images/";

// The machine's proxies, if it has any: the archive is reached through them.
SubprocessOptions Options() {
  SubprocessOptions options;
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy"})
    if (const char* value = ::getenv(name)) options.environment[name] = value;
  return options;
}

Json ResultOf(const SubprocessResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return Json::parse(result.output, nullptr, false);
}

std::vector<std::string> Names(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename());
  return names;
}

std::string Mounts() { return ReadFile("/proc/self/mountinfo").value_or(""); }

// The root file system of an image in the store of `state`.
std::string RootfsOf(const std::string& name, const std::string& state) {
  const Json json =
      ResultOf(RunCarrel({"image", "inspect", name, "--state", state, "--json"}, Options()));
  return json.is_object() ? json.value("rootfs", "") : "";
}

TEST(ImageBuild, BaseIsTheSameBitForBitAnywhere) {
  TempDir dir;
  const Json first = ResultOf(RunCarrel(
      {"image", "build", std::string(kImages) + "base", "--state", dir / "a"}, Options()));

  // Another directory, host name, umask, time zone and locale, and no fetched packages.
  SubprocessOptions options = Options();
  options.environment["TZ"] = "Asia/Tokyo";
  options.environment["LC_ALL"] = "C";
  options.environment["HOME"] = "/root";
  const std::string script = "hostname elsewhere && umask 077 && cd /tmp && exec '" CARREL_BINARY
                             "' image build '" +
                             std::string(kImages) + "base/recipe.json' --output '" +
                             (dir / "layout") + "' --state '" + (dir / "quite/another") + "'";
  auto run = RunSubprocess({"unshare", "--uts", "sh", "-c", script}, options);
  ASSERT_TRUE(run.has_value());
  const Json second = ResultOf(*run);
  ASSERT_TRUE(second.contains("digest")) << run->errors;
  EXPECT_EQ(first["digest"], second["digest"]);

  // Nothing but fetched packages is left, and no mount.
  EXPECT_THAT(Names(dir / "a/image-build"), ElementsAre("packages"));
  EXPECT_THAT(Names(dir / "quite/another/image-build"), ElementsAre("packages"));
  EXPECT_THAT(Mounts(), Not(HasSubstr(dir.path())));

  // Other tools read the layout and agree on what it is.
  auto inspected = RunChecked({"skopeo", "inspect", "oci:" + (dir / "layout")});
  ASSERT_TRUE(inspected.has_value()) << inspected.error().ToString();
  EXPECT_EQ(Json::parse(*inspected)["Digest"], second["digest"]);
}

TEST(ImageBuild, HasNothingThatRaisesPrivilegeOrNamesTheMachine) {
  TempDir dir;
  ResultOf(RunCarrel({"image", "build", std::string(kImages) + "base", "--state", dir.path()},
                     Options()));
  const std::string root = RootfsOf("base:v1", dir.path());
  ASSERT_TRUE(std::filesystem::exists(root + "/usr/bin/bash")) << root;
  for (const char* path : {"/usr/bin/tar", "/usr/bin/gzip", "/usr/bin/find", "/bin/sh",
                           "/var/lib/dpkg/status", "/workspace"})
    EXPECT_TRUE(std::filesystem::exists(root + path)) << path;
  auto odd = RunChecked({"find", root, "-perm", "/6000", "-o", "-type", "b", "-o", "-type", "c",
                         "-o", "-type", "p", "-o", "-type", "s"});
  EXPECT_EQ(odd.value_or("?"), "");
  for (const char* path : {"/etc/shadow", "/etc/machine-id", "/etc/apt/sources.list",
                           "/etc/apt/apt.conf.d/99mmdebstrap", "/var/log/dpkg.log"})
    EXPECT_FALSE(std::filesystem::exists(root + path)) << path;
  auto hello = RunChecked({"chroot", root, "/bin/bash", "-c", "echo hello | grep -c hello"});
  EXPECT_EQ(hello.value_or(""), "1\n");
}

TEST(ImageBuild, EhrqlComesFromACheckoutOnPython313) {
  TempDir dir;
  auto missing = RunCarrel(
      {"image", "build", std::string(kImages) + "ehrql", "--state", dir.path()}, Options());
  EXPECT_EQ(missing.exit_code, static_cast<int>(ErrorKind::kBadInput));
  EXPECT_THAT(missing.errors, HasSubstr("--tool-checkout"));

  std::filesystem::create_directories(dir / "checkout/ehrql");
  WriteFile(dir / "checkout/pyproject.toml", "[project]\nname = \"opensafely-ehrql\"\n");
  WriteFile(dir / "checkout/ehrql/__init__.py", "");
  WriteFile(dir / "checkout/ehrql/__main__.py",
            "import sys, sqlalchemy, numpy, networkx, pymssql\n"
            "print(sys.version_info[:2], sys.argv[1:])\n");
  ResultOf(RunCarrel({"image", "build", std::string(kImages) + "ehrql", "--state", dir.path(),
                      "--tool-checkout", dir / "checkout"},
                     Options()));
  const Json image = ResultOf(
      RunCarrel({"image", "inspect", "ehrql:v1", "--state", dir.path(), "--json"}, Options()));
  EXPECT_EQ(image["entrypoint"], Json({"python3", "-m", "ehrql"}));
  const std::string root = image["rootfs"];
  EXPECT_THAT(Names(root + "/app/ehrql"), Contains("__pycache__"));
  auto run = RunChecked({"chroot", root, "env", "PYTHONPATH=/app", "HOME=/tmp", "python3", "-B",
                         "-m", "ehrql", "generate-dataset"});
  ASSERT_TRUE(run.has_value()) << run.error().ToString();
  EXPECT_EQ(*run, "(3, 13) ['generate-dataset']\n");
}

TEST(ImageBuild, AFailedBuildSaysWhyAndLeavesNothing) {
  TempDir dir;
  WriteFile(dir / "recipe.json", R"({"name": "x:v1", "suite": "bookworm", "epoch": 1,
                                     "packages": ["no-such-package-at-all"]})");
  auto result = RunCarrel({"image", "build", dir.path(), "--state", dir / "state"}, Options());
  EXPECT_EQ(result.exit_code, static_cast<int>(ErrorKind::kFault));
  EXPECT_THAT(result.errors, HasSubstr("no-such-package-at-all"));
  EXPECT_THAT(Names(dir / "state/image-build"), ElementsAre("packages"));

  WriteFile(dir / "recipe.json", R"({"name": "x:v1", "suite": "bookworm", "epoch": 1, "b": 2})");
  result = RunCarrel({"image", "build", dir.path(), "--state", dir / "state"}, Options());
  EXPECT_EQ(result.exit_code, static_cast<int>(ErrorKind::kBadInput));
  EXPECT_THAT(result.errors, HasSubstr("/b"));
}

TEST(ImageBuild, AKilledBuildLeavesNoProcessAndTheNextRemovesItsFiles) {
  TempDir dir;
  const std::string recipe = std::string(kImages) + "base";
  const std::string state = dir.path();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(CARREL_BINARY, CARREL_BINARY, "image", "build", recipe.c_str(), "--state",
            state.c_str(), nullptr);
    ::_exit(127);
  }
  // The build is under way when dpkg's database is there.
  std::string build;
  for (int i = 0; i < 6000 && build.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!std::filesystem::exists(dir / "image-build")) continue;
    for (const std::string& name : Names(dir / "image-build"))
      if (std::filesystem::exists(dir / ("image-build/" + name + "/root/var/lib/dpkg/status")))
        build = name;
  }
  ASSERT_NE(build, "");
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  // Its helpers die with it, at once but not in the same instant.
  auto alive = [&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string command = ReadFile(entry.path() / "cmdline").value_or("");
      if (command.find(dir / ("image-build/" + build)) != std::string::npos) return true;
    }
    return false;
  };
  for (int i = 0; i < 1000 && alive(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(alive());
  EXPECT_THAT(Mounts(), Not(HasSubstr(dir.path())));

  WriteFile(dir / "recipe.json", R"({"name": "x:v1", "suite": "nosuchsuite", "epoch": 1})");
  EXPECT_NE(RunCarrel({"image", "build", dir.path(), "--state", state}, Options()).exit_code, 0);
  EXPECT_THAT(Names(dir / "image-build"), Not(Contains(build)));
}

}  // namespace
}  // namespace carrel::testing_support
