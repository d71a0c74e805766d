// The rules for layers: what an attacker's tar may not do, and what an ordinary one may.
#include "image/layer.h"

#include <sys/xattr.h>

#include "unit/image/fixture.h"

namespace carrel::image_test {
namespace {

class LayerTest : public StoreTest {
 protected:
  std::string Why(const std::vector<Node>& nodes, ImportOptions options = {}) {
    const Error error = Refusal({PlainLayer(nodes)}, std::move(options));
    EXPECT_EQ(error.kind, ErrorKind::kBadInput);
    return error.ToString();
  }
  Image Good(const std::vector<Layer>& layers, ImportOptions options = {}) {
    auto image = Import(layers, "test:v1", std::move(options));
    EXPECT_TRUE(image.has_value()) << (image ? "" : image.error().ToString());
    return image ? *image : Image{};
  }
};

#define EXPECT_HOLDS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(NormalEntryPath, KeepsStrangeNamesAndRefusesEscapes) {
  EXPECT_EQ(*NormalEntryPath("./usr//bin/./env/"), "usr/bin/env");
  EXPECT_EQ(*NormalEntryPath("./"), "");
  EXPECT_EQ(*NormalEntryPath("a\n\xff"), "a\n\xff");
  for (const char* bad : {"", "/etc/passwd", "..", "a/../../b", "a/.."})
    EXPECT_FALSE(NormalEntryPath(bad).has_value()) << bad;
  EXPECT_FALSE(NormalEntryPath(std::string(256, 'a')).has_value());
  std::string deep;
  for (int i = 0; i < 129; ++i) deep += "d/";
  EXPECT_FALSE(NormalEntryPath(deep).has_value());
}

TEST_F(LayerTest, RefusesDotDot) {
  EXPECT_HOLDS(Why({File("a", "1"), File("../../escaped", "x")}), "\"..\" in a name");
}

TEST_F(LayerTest, RefusesAbsoluteNames) {
  EXPECT_HOLDS(Why({File("/tmp/carrel-escaped", "x")}), "absolute name");
  EXPECT_NE(::access("/tmp/carrel-escaped", F_OK), 0);
}

TEST_F(LayerTest, NeverWritesThroughALinkToTheHost) {
  const std::string outside = path_ + "/outside";
  ASSERT_EQ(::mkdir(outside.c_str(), 0755), 0);
  EXPECT_HOLDS(Why({Link("out", outside), File("out/planted", "x")}), "link or a file");
  EXPECT_HOLDS(Why({Link("out", "../../../../../.."), File("out/tmp/planted", "x")}),
               "link or a file");
  EXPECT_TRUE(Names("outside").empty());
}

TEST_F(LayerTest, NeverWritesThroughALinkOfALowerLayer) {
  const std::string outside = path_ + "/outside";
  ASSERT_EQ(::mkdir(outside.c_str(), 0755), 0);
  const Layer lower = PlainLayer({Link("out", outside)});
  for (const Node& node : {File("out/planted", "x"), Dir("out/sub"), Link("out/l", "x"),
                           File("out/.wh.planted", ""), File("out/.wh..wh..opq", "")}) {
    const Error error = Refusal({lower, PlainLayer({node})});
    EXPECT_EQ(error.kind, ErrorKind::kBadInput) << error.ToString();
  }
  EXPECT_TRUE(Names("outside").empty());
}

TEST_F(LayerTest, WhiteoutDoesNotReachThroughALink) {
  const std::string outside = path_ + "/outside";
  Write("outside/precious", "data");
  Refusal({PlainLayer({Link("out", outside)}), PlainLayer({File("out/.wh.precious", "")})});
  Refusal({PlainLayer({Link("out", outside)}), PlainLayer({File("out/.wh..wh..opq", "")})});
  EXPECT_EQ(*ReadFile(outside + "/precious"), "data");
}

TEST_F(LayerTest, ADirectoryReplacesALowerLayersLink) {
  const std::string outside = path_ + "/outside";
  ASSERT_EQ(::mkdir(outside.c_str(), 0755), 0);
  Image image = Good({PlainLayer({Link("d", outside)}), PlainLayer({Dir("d"), File("d/f", "in")})});
  EXPECT_EQ(Read(image, "d/f"), "in");
  EXPECT_TRUE(S_ISDIR(Stat(image, "d").st_mode));
  EXPECT_TRUE(Names("outside").empty());
}

TEST_F(LayerTest, RefusesHardLinksOut) {
  EXPECT_HOLDS(Why({HardLink("passwd", "/etc/passwd")}), "hard link to \"/etc/passwd\"");
  EXPECT_HOLDS(Why({HardLink("passwd", "../../../../../etc/passwd")}), "hard link to");
  EXPECT_HOLDS(Why({Link("e", "/etc"), HardLink("passwd", "e/passwd")}), "hard link to");
  EXPECT_HOLDS(Why({HardLink("a", "missing")}), "hard link to \"missing\"");
  EXPECT_HOLDS(Why({Dir("d"), HardLink("a", "d")}), "hard link to \"d\"");
  EXPECT_HOLDS(Why({HardLink("a", "a")}), "hard link");
}

TEST_F(LayerTest, AHardLinkOfALinkIsNotTheFileItLeadsTo) {
  Image image = Good({PlainLayer({Link("l", "/etc/shadow"), HardLink("h", "l")})});
  EXPECT_TRUE(S_ISLNK(Stat(image, "h").st_mode));
}

TEST_F(LayerTest, HardLinksShareTheirContent) {
  Image image = Good({PlainLayer({File("d/a", "same")}), PlainLayer({HardLink("b", "d/a")})});
  EXPECT_EQ(Read(image, "b"), "same");
  EXPECT_EQ(Stat(image, "b").st_ino, Stat(image, "d/a").st_ino);
}

TEST_F(LayerTest, RefusesDeviceNodesAndFifos) {
  for (mode_t type : {S_IFCHR, S_IFBLK, S_IFIFO}) {
    EXPECT_HOLDS(Why({{"dev/thing", type, "", 0666, "", ""}}), "dev/thing: a device node, FIFO");
  }
}

TEST_F(LayerTest, DropsDeviceNodesWhenTold) {
  ImportOptions options;
  options.drop_device_nodes = true;
  Image image = Good({PlainLayer({File("x", "lower")}),
                      PlainLayer({{"x", S_IFCHR, "", 0666, "", ""}, File("y", "y")})},
                     options);
  EXPECT_FALSE(Exists(image, "x"));
  EXPECT_EQ(Read(image, "y"), "y");
  EXPECT_EQ(image.weakened.dropped_nodes, std::vector<std::string>{"x"});
  EXPECT_EQ(Store().Resolve("test:v1")->weakened.dropped_nodes, std::vector<std::string>{"x"});
}

TEST_F(LayerTest, RefusesSetuidSetgidAndFileCapabilities) {
  EXPECT_HOLDS(Why({File("usr/bin/su", "x", 04755)}), "usr/bin/su: a setuid");
  EXPECT_HOLDS(Why({File("usr/bin/wall", "x", 02755)}), "usr/bin/wall: a setuid or setgid");
  Node ping = File("usr/bin/ping", "x", 0755);
  ping.xattr = "security.capability";
  EXPECT_HOLDS(Why({ping}), "usr/bin/ping: a program with file capabilities");
}

TEST_F(LayerTest, StripsSetuidWhenToldAndRecordsIt) {
  ImportOptions options;
  options.strip_setuid = true;
  Node ping = File("ping", "x", 0755);
  ping.xattr = "security.capability";
  Image image = Good({PlainLayer({File("su", "x", 06755), ping})}, options);
  EXPECT_EQ(Stat(image, "su").st_mode & 07777, 0755u);
  EXPECT_EQ(image.weakened.stripped_setuid, (std::vector<std::string>{"su", "ping"}));
  EXPECT_EQ(::lgetxattr((image.rootfs + "/ping").c_str(), "security.capability", nullptr, 0), -1);
}

TEST_F(LayerTest, DropsAttributesThatSpeakToOverlayfs) {
  Node dir = Dir("d");
  dir.xattr = "trusted.overlay.opaque";
  Node file = File("d/f", "x");
  file.xattr = "user.overlay.metacopy";
  Image image = Good({PlainLayer({dir, file})});
  for (const char* name : {"/d", "/d/f"})
    EXPECT_EQ(::llistxattr((image.rootfs + name).c_str(), nullptr, 0), 0) << name;
}

TEST_F(LayerTest, NobodyButRootMayWrite) {
  Image image = Good({PlainLayer(
      {Dir("open", 01777), Dir("set", 02775), File("f", "x", 0666), File("secret", "x", 0640)})});
  EXPECT_EQ(Stat(image, "open").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat(image, "set").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat(image, "f").st_mode & 07777, 0644u);
  EXPECT_EQ(Stat(image, "secret").st_mode & 07777, 0640u);
}

TEST_F(LayerTest, RefusesDuplicatesWithinALayer) {
  EXPECT_HOLDS(Why({File("a", "good"), File("a", "evil")}), "a: the name comes twice");
  EXPECT_HOLDS(Why({File("a", "good"), File("./a", "evil")}), "comes twice");
  EXPECT_HOLDS(Why({File("a", "good"), Link("a", "/evil")}), "comes twice");
  EXPECT_HOLDS(Why({Dir("a"), File("a/f", "x"), Link("a", "/evil")}), "comes twice");
  EXPECT_HOLDS(Why({File("a/f", "x"), Link("a", "/evil")}), "comes twice");
}

TEST_F(LayerTest, ADirectoryMayComeTwice) {
  Image image = Good({PlainLayer({Dir("a", 0700), File("a/f", "x"), Dir("a/", 0755)})});
  EXPECT_EQ(Stat(image, "a").st_mode & 07777, 0755u);
  EXPECT_EQ(Read(image, "a/f"), "x");
}

TEST_F(LayerTest, LaterLayersReplace) {
  Image image = Good({PlainLayer({File("a", "1"), Dir("d"), File("d/f", "1"), File("k", "keep")}),
                      PlainLayer({File("a", "2"), File("d", "now a file")})});
  EXPECT_EQ(Read(image, "a"), "2");
  EXPECT_EQ(Read(image, "d"), "now a file");
  EXPECT_EQ(Read(image, "k"), "keep");
}

TEST_F(LayerTest, WhiteoutsHideLowerLayersOnly) {
  Image image = Good({PlainLayer({File("a", "1"), File("b", "1"), File("d/x", "1")}),
                      PlainLayer({File("b", "2"), File(".wh.a", ""), File(".wh.b", ""),
                                  File(".wh.d", ""), File("d/y", "2"), File(".wh.never", "")})});
  EXPECT_FALSE(Exists(image, "a"));
  EXPECT_EQ(Read(image, "b"), "2");
  EXPECT_FALSE(Exists(image, "d/x"));
  EXPECT_EQ(Read(image, "d/y"), "2");
  EXPECT_FALSE(Exists(image, ".wh.a"));
}

TEST_F(LayerTest, OpaqueDirectoriesHideLowerLayersOnlyWhereverTheyStand) {
  const Layer lower = PlainLayer({File("d/low", "1"), File("d/sub/low", "1"), File("e", "1")});
  Image image = Good({lower, PlainLayer({File("d/mine", "2"), File("d/sub/mine", "2"),
                                         File("d/.wh..wh..opq", ""), File("d/late", "2")})});
  EXPECT_FALSE(Exists(image, "d/low"));
  EXPECT_FALSE(Exists(image, "d/sub/low"));
  for (const char* path : {"d/mine", "d/sub/mine", "d/late"}) EXPECT_EQ(Read(image, path), "2");
  EXPECT_EQ(Read(image, "e"), "1");
}

TEST_F(LayerTest, RefusesImpossibleWhiteouts) {
  EXPECT_HOLDS(Why({File(".wh.", "")}), "whiteout");
  EXPECT_HOLDS(Why({File(".wh...", "")}), "whiteout");
  EXPECT_HOLDS(Why({File("d/.wh..", "")}), "whiteout");
  EXPECT_HOLDS(Why({File(".wh..wh.plnk", "")}), "whiteout");
  EXPECT_HOLDS(Why({File(".wh.a", "content")}), "whiteout");
  EXPECT_HOLDS(Why({Link(".wh.a", "b")}), "whiteout");
  EXPECT_HOLDS(Why({File(".wh.a/b", "x")}), "whiteout's name");
}

TEST_F(LayerTest, WhiteoutsBelowWhatReplacedTheirDirectoryHideNothing) {
  const std::string outside = path_ + "/outside";
  Write("outside/x", "data");
  const Layer lower = PlainLayer({File("d/x", "1"), File("e/x", "1")});
  const Image image = Good({lower, PlainLayer({File("d", "file"), File("d/.wh.x", ""),
                                               Link("e", outside), File("e/.wh.x", "")})});
  EXPECT_EQ(Read(image, "d"), "file");
  EXPECT_TRUE(S_ISLNK(Stat(image, "e").st_mode));
  EXPECT_EQ(*ReadFile(outside + "/x"), "data");
}

TEST_F(LayerTest, MountPointsMustBeDirectories) {
  for (const char* name : {"proc", "sys", "dev", "tmp", "workspace", "run", "etc"}) {
    EXPECT_HOLDS(Why({Link(name, "/")}), std::string(name) + ": is a link");
    EXPECT_HOLDS(Why({File(name, "x")}), std::string(name) + ": is not a directory");
  }
  Image image =
      Good({PlainLayer({File("a", "1"), File("proc/x", "1")}), PlainLayer({File(".wh.proc", "")})});
  for (const char* name : {"proc", "sys", "dev", "tmp", "workspace", "run", "etc"})
    EXPECT_TRUE(S_ISDIR(Stat(image, name).st_mode)) << name;
}

TEST_F(LayerTest, KeepsNamesThatAreNotText) {
  const std::string strange = "caf\xc3\xa9\n\x1b[31m\xff";
  Image image = Good({PlainLayer({File(strange, "kept"), Link("to\xfe", strange)})});
  EXPECT_EQ(Read(image, strange), "kept");
  EXPECT_TRUE(Exists(image, "to\xfe"));
  ASSERT_TRUE(Store().Verify("test:v1").has_value());
  EXPECT_TRUE(Store().Verify("test:v1")->empty());
}

TEST_F(LayerTest, ErrorsShowStrangeNamesEscaped) {
  const std::string why = Why({File("a\x1b[2J\n", "x", 04755)});
  EXPECT_HOLDS(why, "a\\x1b[2J\\x0a");
  EXPECT_EQ(why.find('\x1b'), std::string::npos);
}

TEST_F(LayerTest, AbsoluteLinksAreKeptAndMeanTheRoot) {
  Image image = Good({PlainLayer(
      {Link("usr/bin/awk", "/etc/alternatives/awk"), File("etc/alternatives/awk", "awk")})});
  auto root = OpenPath(image.rootfs, O_RDONLY | O_DIRECTORY);
  auto opened = OpenInRoot(root->get(), "usr/bin/awk", O_RDONLY);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(*ReadFd(opened->get(), 10), "awk");
}

TEST_F(LayerTest, BoundsBytesOfACompressedBomb) {
  ImportOptions options;
  options.max_bytes = 1 << 20;
  for (int filter : {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD}) {
    const Layer bomb = CompressedLayer({File("zeros", std::string(8 << 20, '\0'))}, filter);
    const std::string why = Refusal({bomb}, options).ToString();
    EXPECT_HOLDS(why, "more than 1048576 bytes");
  }
}

TEST_F(LayerTest, BoundsBytesOverAllLayers) {
  ImportOptions options;
  options.max_bytes = 1 << 20;
  std::vector<Layer> layers;
  for (int i = 0; i < 4; ++i)
    layers.push_back(
        CompressedLayer({File(Numbered(i), std::string(400'000, '\0'))}, ARCHIVE_FILTER_GZIP));
  EXPECT_HOLDS(Refusal(layers, options).ToString(), "more than 1048576 bytes");
}

TEST_F(LayerTest, BoundsEntriesOverAllLayers) {
  ImportOptions options;
  options.max_entries = 3;
  EXPECT_HOLDS(Refusal({PlainLayer({File("a", ""), File("b", "")}),
                        PlainLayer({File("c", ""), File("d", "")})},
                       options)
                   .ToString(),
               "more than 3 entries");
}

// A tar that says of a file of `size` bytes that it is a hole but for its first four.
std::string SparseTar(int64_t size) {
  std::string text;
  archive* out = archive_write_new();
  archive_write_set_format_pax_restricted(out);
  archive_write_open2(out, &text, nullptr, &AppendTo, nullptr, nullptr);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, "sparse");
  archive_entry_set_filetype(entry, S_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_size(entry, size);
  archive_entry_sparse_add_entry(entry, 0, 4);
  EXPECT_EQ(archive_write_header(out, entry), ARCHIVE_OK);
  archive_write_data(out, "data", 4);
  archive_entry_free(entry);
  archive_write_close(out);
  archive_write_free(out);
  return text;
}

TEST_F(LayerTest, SparseFilesStaySparseAndCountInFull) {
  Layer layer;
  layer.blob = layer.content = SparseTar(8 << 20);
  Image image = Good({layer});
  EXPECT_EQ(Read(image, "sparse"), "data" + std::string((8 << 20) - 4, '\0'));
  EXPECT_LT(Stat(image, "sparse").st_blocks, 1000);
  EXPECT_TRUE(Store().Verify("test:v1")->empty());
  ASSERT_TRUE(Store().Remove("test:v1").has_value());

  layer.blob = layer.content = SparseTar(int64_t{1} << 50);
  EXPECT_HOLDS(Refusal({layer}).ToString(), "unpacks to more than");
}

TEST_F(LayerTest, MoreNamesThanAFileSystemLinks) {
  std::vector<Node> nodes = {File("target", "")};
  for (int i = 0; i < 65'100; ++i) nodes.push_back(HardLink("h/" + Numbered(i), "target"));
  for (int i = 0; i < 20; ++i) nodes.push_back(File("e/" + Numbered(i), ""));
  Image image = Good({PlainLayer(nodes)});
  EXPECT_EQ(image.entries, 65'100u + 20 + 3 + 7);
  EXPECT_TRUE(Store().Verify("test:v1")->empty());
}

TEST_F(LayerTest, BoundsTheListOfWeakenings) {
  ImportOptions options;
  options.strip_setuid = true;
  std::vector<Node> nodes;
  for (int i = 0; i < 257; ++i) nodes.push_back(File(Numbered(i), "x", 04755));
  EXPECT_HOLDS(Refusal({PlainLayer(nodes)}, options).ToString(), "more than 256");
}

TEST_F(LayerTest, AGzipInAGzipIsNotUnpacked) {
  Layer layer = CompressedLayer({File("a", "1")}, ARCHIVE_FILTER_GZIP);
  archive* out = archive_write_new();
  std::string twice;
  archive_write_set_format_raw(out);
  archive_write_add_filter_gzip(out);
  archive_write_open2(out, &twice, nullptr, &AppendTo, nullptr, nullptr);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, S_IFREG);
  archive_write_header(out, entry);
  archive_write_data(out, layer.blob.data(), layer.blob.size());
  archive_entry_free(entry);
  archive_write_free(out);
  layer.blob = twice;
  EXPECT_HOLDS(Refusal({layer}).ToString(), "compressed more than once");
  layer.blob = layer.content;  // not compressed at all, though its type says so
  EXPECT_HOLDS(Refusal({layer}).ToString(), "is not gzip");
}

TEST_F(LayerTest, KeepsTimesOfFilesAndDirectories) {
  Node file = File("d/module.py", "x");
  file.mtime = 1'234'567'890;
  Node dir = Dir("d");
  dir.mtime = 1'111'111'111;
  Image image = Good({PlainLayer({dir, file})});
  EXPECT_EQ(Stat(image, "d/module.py").st_mtim.tv_sec, 1'234'567'890);
  EXPECT_EQ(Stat(image, "d").st_mtim.tv_sec, 1'111'111'111);
}

}  // namespace
}  // namespace carrel::image_test
