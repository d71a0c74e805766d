// What umoci and skopeo write, imported by the carrel program; its output and exit statuses.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <sstream>

#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

using testing::HasSubstr;

void Helper(const std::vector<std::string>& argv) {
  auto output = RunChecked(argv);
  ASSERT_TRUE(output.has_value()) << output.error().ToString();
}

// Made once for all tests of the suite: a layout of four layers, with changes of every kind.
class ImageImport : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    made_ = new TempDir;
    const std::string image = Made("layout:v1"), bundle = Made("bundle"),
                      root = bundle + "/rootfs/";
    Helper({"umoci", "init", "--layout", Made("layout")});
    Helper({"umoci", "new", "--image", image});
    Helper({"umoci", "unpack", "--image", image, bundle});
    auto repack = [&](const std::string& script) {
      Helper({"sh", "-ec", "cd " + root + "; " + script});
      Helper({"umoci", "repack", "--refresh-bundle", "--image", image, bundle});
    };
    repack(
        "mkdir -p usr/bin etc d/sub gone replaced; echo one > d/one; echo tool > usr/bin/tool;"
        "chmod 755 usr/bin/tool; ln usr/bin/tool usr/bin/same; ln -s /usr/bin/tool usr/bin/link;"
        "ln -s usr/bin bin; echo x > gone/x; echo x > replaced/x; echo deep > d/sub/deep;"
        "touch -d 2001-02-03T04:05:06Z d/one; echo caf > d/caf$(printf '\\303\\251')");
    repack("rm -r gone; echo two > d/two; rm -r replaced; echo file > replaced");
    repack("rm -r d/sub; mkdir d/sub; echo new > d/sub/new; chmod 700 d/two");
    repack("rm usr/bin/same; dd if=/dev/zero of=big bs=1M count=3 2>/dev/null; rm replaced");
    Helper({"umoci", "config", "--image", image, "--config.cmd", "/usr/bin/tool", "--config.env",
            "A=b"});
    Helper({"skopeo", "--insecure-policy", "copy", "oci:" + image,
            "docker-archive:" + Made("docker.tar") + ":example.org/tool:v1"});
    Helper({"skopeo", "--insecure-policy", "copy", "oci:" + image,
            "oci-archive:" + Made("oci.tar") + ":tool:v1"});
    Helper({"skopeo", "--insecure-policy", "copy", "--dest-compress-format", "zstd",
            "--dest-compress", "oci:" + image, "dir:" + Made("zstd-dir")});
    Helper({"umoci", "unpack", "--image", image, Made("expected")});
  }
  static void TearDownTestSuite() {
    delete made_;
    made_ = nullptr;
  }
  static std::string Made(const std::string& name) { return *made_ / name; }

  SubprocessResult Image(std::vector<std::string> args) {
    args.insert(args.begin(), "image");
    args.insert(args.end(), {"--state", dir_ / "state"});
    return RunCarrel(args);
  }
  // Imports and returns the JSON that carrel prints.
  Json Import(const std::string& path, const std::string& name) {
    std::vector<std::string> args = {"import", path, "--json"};
    if (!name.empty()) args.insert(args.end(), {"--name", name});
    auto result = Image(args);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    auto json = ParseJson(result.output, "import");
    return json ? *json : Json::object();
  }
  void ExpectNothingLeft() {
    for (const char* name : {"tmp", "rootfs", "manifests", "names", "blobs/sha256"}) {
      auto dir = OpenPath(dir_ / ("state/images/" + std::string(name)), O_RDONLY | O_DIRECTORY);
      ASSERT_TRUE(dir.has_value());
      EXPECT_TRUE(ListDir(dir->get())->empty()) << name;
    }
  }

  static TempDir* made_;
  TempDir dir_;
};

TempDir* ImageImport::made_ = nullptr;

// Every path with type, mode, size and link target, and every file's content, as find and
// sha256sum see them. Without the mount points, which carrel adds.
std::string Fingerprint(const std::string& root) {
  auto text = RunChecked(
      {"sh", "-ec",
       "cd " + root +
           "; find . -mindepth 1 \\( -path ./dev -o -path ./proc -o -path ./sys -o -path ./tmp "
           "-o -path ./run -o -path ./workspace \\) -prune -o \\( -type d -printf '%P d %m\\n' "
           "-o -type l -printf '%P l %l\\n' -o -printf '%P %y %m %s %Ts\\n' \\) | LC_ALL=C sort;"
           "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"});
  EXPECT_TRUE(text.has_value());
  return text ? *text : "";
}

TEST_F(ImageImport, AUmociLayoutUnpacksAsUmociUnpacksIt) {
  const Json image = Import(Made("layout"), "tool:v1");
  EXPECT_EQ(image["layers"], 4);
  EXPECT_EQ(image["cmd"], Json::array({"/usr/bin/tool"}));
  EXPECT_EQ(image["env"]["A"], "b");
  const std::string root = image["rootfs"];
  EXPECT_EQ(Fingerprint(root), Fingerprint(Made("expected/rootfs")));
  EXPECT_EQ(::access((root + "/gone").c_str(), F_OK), -1);
  EXPECT_EQ(::access((root + "/d/sub/deep").c_str(), F_OK), -1);
  EXPECT_EQ(*ReadFile(root + "/d/sub/new"), "new\n");
}

TEST_F(ImageImport, EveryFormatGivesTheSameTree) {
  const Json layout = Import(Made("layout"), "tool:v1");
  const Json archive = Import(Made("oci.tar"), "");
  const Json docker = Import(Made("docker.tar"), "");
  EXPECT_EQ(archive["digest"], layout["digest"]);
  EXPECT_EQ(docker["names"], Json::array({"example.org/tool:v1"}));
  EXPECT_EQ(docker["config_digest"], layout["config_digest"]);
  EXPECT_EQ(docker["tree_digest"], layout["tree_digest"]);
  EXPECT_NE(docker["digest"], layout["digest"]);
}

TEST_F(ImageImport, AZstdImageOfSkopeo) {
  const std::string blobs = dir_ / "z/blobs/sha256";
  // skopeo of Debian 12 writes zstd into its own directory format only: a layout is made of that.
  Helper({"sh", "-ec",
          "mkdir -p " + blobs + "; cd " + Made("zstd-dir") + "; for f in *; do cp $f " + blobs +
              "/$(sha256sum $f | cut -c1-64); done;"
              "h=$(sha256sum manifest.json | cut -c1-64); s=$(stat -c %s manifest.json);"
              "printf '{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/"
              "vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:%s\",\"size\":%s}]}' $h $s > " +
              (dir_ / "z/index.json") + "; printf '{\"imageLayoutVersion\":\"1.0.0\"}' > " +
              (dir_ / "z/oci-layout")});
  EXPECT_THAT(*ReadFile(Made("zstd-dir/manifest.json")), HasSubstr("tar+zstd"));
  const Json zstd = Import(dir_ / "z", "tool:zstd");
  EXPECT_EQ(zstd["tree_digest"], Import(Made("layout"), "tool:v1")["tree_digest"]);
}

TEST_F(ImageImport, ListInspectVerifyTagRemove) {
  const Json image = Import(Made("layout"), "tool:v1");
  EXPECT_EQ(Image({"tag", "tool:v1", "example.org/group/tool:v2.1"}).exit_code, 0);
  const auto list = Image({"list"});
  EXPECT_THAT(list.output, HasSubstr("tool:v1 "));
  EXPECT_THAT(list.output, HasSubstr("example.org/group/tool:v2.1"));
  const auto inspect = Image({"inspect", "tool:v1"});
  for (const auto& text : {list.output, inspect.output}) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
  EXPECT_EQ(*ParseJson(Image({"inspect", "tool:v1", "--json"}).output, "inspect"),
            (*ParseJson(Image({"list", "--json"}).output, "list"))[0]);
  EXPECT_EQ(Image({"verify", "--all"}).exit_code, 0);
  // The digest as the list shows it.
  const std::string digest = image["digest"], shown = digest.substr(7, 12);
  EXPECT_THAT(list.output, HasSubstr(shown));
  EXPECT_THAT(Image({"inspect", shown}).output, HasSubstr(digest));
  EXPECT_EQ(Image({"inspect", shown.substr(0, 11)}).exit_code, 2);
  const std::string longer = "registry.example.org/opensafely-core/tool:v1";
  EXPECT_EQ(Image({"tag", shown, longer}).exit_code, 0);
  EXPECT_THAT(Image({"list"}).output, HasSubstr("\n" + longer + " "));
  EXPECT_EQ(Image({"remove", "tool:v1"}).exit_code, 0);
  EXPECT_EQ(Image({"inspect", "tool:v1"}).exit_code, 2);
  EXPECT_EQ(Image({"remove", image["digest"]}).exit_code, 0);
  ExpectNothingLeft();
}

TEST_F(ImageImport, TellsOfANameThatMoves) {
  const Json layout = Import(Made("layout"), "tool:v1");
  const auto moved = Image({"import", Made("docker.tar"), "--name", "tool:v1"});
  EXPECT_EQ(moved.exit_code, 0);
  EXPECT_EQ(moved.errors,
            "carrel: tool:v1 was " + layout["digest"].get<std::string>() + " until now\n");
  EXPECT_THAT(Image({"tag", layout["digest"], "tool:v1"}).errors, HasSubstr("until now"));
}

// skopeo writes the long form of a name. It is kept, and never taken for the short one: what a
// policy calls tool:v1 must not become another image. But nobody has to guess.
TEST_F(ImageImport, LongNamesAreSaid) {
  const auto imported = Image({"import", Made("docker.tar")});
  ASSERT_EQ(imported.exit_code, 0) << imported.errors;
  EXPECT_THAT(imported.output, testing::StartsWith("imported example.org/tool:v1\n"));
  for (const char* reference : {"tool:v1", "tool"}) {
    const auto missing = Image({"inspect", reference});
    EXPECT_EQ(missing.exit_code, 2);
    EXPECT_THAT(missing.errors, HasSubstr("There is example.org/tool:v1"));
    EXPECT_THAT(missing.errors, HasSubstr("carrel image tag example.org/tool:v1 tool:v1"));
  }
  EXPECT_THAT(Image({"inspect", "ool:v1"}).errors, testing::Not(HasSubstr("example.org")));
  ASSERT_EQ(Image({"tag", "example.org/tool:v1", "tool:v1"}).exit_code, 0);
  EXPECT_EQ(Image({"inspect", "tool"}).exit_code, 0);
  // A name of the archive that another image had.
  const Json layout = Import(Made("layout"), "example.org/tool:v1");
  EXPECT_THAT(Image({"import", Made("docker.tar")}).errors,
              HasSubstr("example.org/tool:v1 was " + layout["digest"].get<std::string>()));
}

TEST_F(ImageImport, VerifyFindsAChangedFile) {
  const Json image = Import(Made("layout"), "tool:v1");
  WriteFile(std::string(image["rootfs"]) + "/usr/bin/tool", "evil\n");
  const auto verify = Image({"verify", "tool:v1"});
  EXPECT_EQ(verify.exit_code, 1);
  EXPECT_THAT(verify.output, HasSubstr("rootfs/usr/bin/tool: is"));
  EXPECT_EQ(Image({"verify", "--all", "--json"}).exit_code, 1);
}

TEST_F(ImageImport, BadInputIsStatus2AndLeavesNothing) {
  Helper({"sh", "-ec",
          "cp -r " + Made("layout") + " " + (dir_ / "bad") + "; cd " + (dir_ / "bad/blobs/sha256") +
              "; f=$(ls -S | head -1); printf x | dd of=$f conv=notrunc bs=1 seek=99"});
  const auto corrupt = Image({"import", dir_ / "bad", "--name", "tool:v1"});
  EXPECT_EQ(corrupt.exit_code, 2);
  EXPECT_THAT(corrupt.errors, HasSubstr("its descriptor says"));
  const std::vector<std::vector<std::string>> bad = {
      {"import", Made("layout")},
      {"import", Made("layout"), "--name", "Tool:v1"},
      {"import", dir_ / "missing", "--name", "tool:v1"},
      {"import", "/dev/null", "--name", "tool:v1"},
      {"inspect", "missing:v1"},
      {"verify", "missing:v1"},
      {"verify"},
      {"remove", "missing:v1"},
      {"tag", "missing:v1", "other:v1"},
      {"frobnicate"},
  };
  for (const auto& args : bad) {
    const auto result = Image(args);
    EXPECT_EQ(result.exit_code, 2) << args[0] << result.errors;
    EXPECT_FALSE(result.errors.empty()) << args[0];
  }
  ExpectNothingLeft();
}

TEST_F(ImageImport, SetuidAndDevicesNeedAnExplicitWord) {
  const std::string image = dir_ / "s:v1";
  Helper({"umoci", "init", "--layout", dir_ / "s"});
  Helper({"umoci", "new", "--image", image});
  Helper({"umoci", "unpack", "--image", image, dir_ / "b"});
  Helper({"sh", "-ec",
          "cd " + (dir_ / "b/rootfs") +
              "; mkdir -p usr/bin dev; echo su > usr/bin/su;"
              "chmod 4755 usr/bin/su; mknod dev/mem c 1 1"});
  Helper({"umoci", "repack", "--image", image, dir_ / "b"});
  auto import = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"import", dir_ / "s", "--name", "s:v1"});
    return Image(more);
  };
  EXPECT_THAT(import({"--drop-device-nodes"}).errors, HasSubstr("usr/bin/su: a setuid"));
  EXPECT_THAT(import({"--strip-setuid"}).errors, HasSubstr("dev/mem: a device node"));
  EXPECT_EQ(import({}).exit_code, 2);
  ExpectNothingLeft();
  const auto taken = import({"--strip-setuid", "--drop-device-nodes", "--json"});
  ASSERT_EQ(taken.exit_code, 0) << taken.errors;
  const auto json = *ParseJson(taken.output, "import");
  EXPECT_EQ(json["stripped_setuid"], Json::array({"usr/bin/su"}));
  EXPECT_EQ(json["dropped_nodes"], Json::array({"dev/mem"}));
  struct stat info {};
  ASSERT_EQ(::stat((std::string(json["rootfs"]) + "/usr/bin/su").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
}

// A tmpfs of growing size stands for a disk that is full at an ever later step.
TEST_F(ImageImport, AFullDiskLeavesNothing) {
  const std::string state = dir_ / "state";
  ASSERT_EQ(::mkdir(state.c_str(), 0755), 0);
  bool fitted = false;
  size_t full = 0;
  for (int kilobytes = 64; !fitted && kilobytes < (16 << 10); kilobytes += kilobytes / 3) {
    const std::string size = "size=" + std::to_string(kilobytes) + "k";
    ASSERT_EQ(::mount("tmpfs", state.c_str(), "tmpfs", 0, size.c_str()), 0);
    const auto result = Image({"import", Made("layout"), "--name", "tool:v1"});
    fitted = result.exit_code == 0;
    if (!fitted) {
      ++full;
      EXPECT_EQ(result.exit_code, 70) << result.errors;
      EXPECT_THAT(result.errors, HasSubstr("ENOSPC"));
      EXPECT_EQ(Image({"list"}).exit_code, 0);
      ExpectNothingLeft();
    }
    ASSERT_EQ(::umount(state.c_str()), 0);
  }
  EXPECT_TRUE(fitted);
  EXPECT_GT(full, 3u);
}

}  // namespace
}  // namespace carrel::testing_support
