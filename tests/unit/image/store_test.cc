// The store: one tree an image, content once, removal, verification, leftovers.
#include <sys/file.h>

#include "image/layout.h"
#include "image/record.h"
#include "unit/image/fixture.h"

namespace carrel::image_test {
namespace {

#define EXPECT_HOLDS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

class ImageStoreTest : public StoreTest {
 protected:
  Image Make(const std::string& name, const std::vector<Layer>& layers) {
    auto image = Import(layers, name);
    EXPECT_TRUE(image.has_value()) << (image ? "" : image.error().ToString());
    return image ? *image : Image{};
  }
  // The same size, and the same inode: damage by the disk.
  static void Overwrite(const std::string& path, const std::string& text) {
    auto fd = OpenPath(path, O_WRONLY);
    ASSERT_TRUE(fd.has_value()) << path;
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
  }
  std::string ReadTree(const Image& image) {
    auto text = ReadFile(path_ + "/state/images/trees/" + image.digest.substr(7));
    return text ? *text : "";
  }
};

TEST_F(ImageStoreTest, ThirtyLayersAndOneGiveTheSameTree) {
  std::vector<Layer> many;
  std::vector<Node> all;
  for (int i = 0; i < 30; ++i) {
    const Node node = File(Numbered(i), std::to_string(i));
    many.push_back(CompressedLayer({node}, ARCHIVE_FILTER_GZIP));
    all.push_back(node);
  }
  const Image thirty = Make("thirty:v1", many);
  const Image one = Make("one:v1", {PlainLayer(all)});
  EXPECT_EQ(thirty.layers, 30u);
  EXPECT_EQ(one.layers, 1u);
  EXPECT_EQ(thirty.tree_digest, one.tree_digest);
  EXPECT_EQ(ReadTree(thirty), ReadTree(one));
  // One plain directory each, on the store's own file system: a start binds it as it is.
  struct stat state {};
  ASSERT_EQ(::stat((path_ + "/state").c_str(), &state), 0);
  for (const Image& image : {thirty, one}) {
    EXPECT_EQ(Stat(image, "").st_dev, state.st_dev);
    EXPECT_EQ(Stat(image, "f7").st_dev, state.st_dev);
  }
}

TEST_F(ImageStoreTest, SharedContentIsStoredOnce) {
  const Image one = Make("one:v1", {PlainLayer({File("a", "shared"), File("b", "one")})});
  const Image two = Make("two:v1", {PlainLayer({File("c", "shared"), File("d", "shared", 0755)})});
  EXPECT_EQ(Stat(one, "a").st_ino, Stat(two, "c").st_ino);
  // Another mode is another inode: one image must not change the other's.
  EXPECT_NE(Stat(one, "a").st_ino, Stat(two, "d").st_ino);
  EXPECT_EQ(Stat(one, "a").st_mode & 07777, 0644u);
  EXPECT_EQ(Stat(two, "d").st_mode & 07777, 0755u);
  EXPECT_EQ(CountObjects(), 3u);
}

TEST_F(ImageStoreTest, AnotherTimeIsAnotherInode) {
  Node late = File("a", "shared");
  late.mtime = 1'500'000'000;
  const Image one = Make("one:v1", {PlainLayer({File("a", "shared")})});
  const Image two = Make("two:v1", {PlainLayer({late})});
  EXPECT_EQ(Stat(one, "a").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(Stat(two, "a").st_mtim.tv_sec, 1'500'000'000);
}

TEST_F(ImageStoreTest, ResolvesByNameTagAndBothDigests) {
  const Image image = Make("python:v2", {PlainLayer({File("a", "1")})});
  for (const std::string& reference :
       {std::string("python:v2"), std::string("python"), image.digest, image.config_digest}) {
    auto found = Store().Resolve(reference);
    ASSERT_TRUE(found.has_value()) << found.error().ToString();
    EXPECT_EQ(found->digest, image.digest);
    EXPECT_EQ(found->names, std::vector<std::string>{"python:v2"});
    EXPECT_EQ(found->rootfs, path_ + "/state/images/rootfs/" + image.digest.substr(7));
  }
  for (const std::string& reference :
       {std::string("python:v3"), std::string("pytho"), DigestOf("x"), std::string("../../etc"),
        std::string("Python:v2"), std::string("")}) {
    auto found = Store().Resolve(reference);
    ASSERT_FALSE(found.has_value()) << reference;
    EXPECT_EQ(found.error().kind, ErrorKind::kBadInput) << reference;
  }
}

TEST_F(ImageStoreTest, ANameWithoutTagListsTheTags) {
  Make("python:v1", {PlainLayer({File("a", "1")})});
  Make("python:v2", {PlainLayer({File("a", "2")})});
  auto found = Store().Resolve("python");
  ASSERT_FALSE(found.has_value());
  EXPECT_HOLDS(found.error().ToString(), "python:v1, python:v2");
}

TEST_F(ImageStoreTest, ATagMovesToTheNewImage) {
  const Image old = Make("python:v1", {PlainLayer({File("a", "1")})});
  const Image now = Make("python:v1", {PlainLayer({File("a", "2")})});
  EXPECT_EQ(Store().Resolve("python:v1")->digest, now.digest);
  EXPECT_TRUE(Store().Resolve(old.digest)->names.empty());
  EXPECT_EQ(Store().List()->size(), 2u);
}

TEST_F(ImageStoreTest, RemoveTakesTheLastNameAndWhatOnlyItUsed) {
  const Layer shared = PlainLayer({File("s", "shared")});
  const Image one = Make("one:v1", {shared, PlainLayer({File("a", "only one")})});
  const Image two = Make("two:v1", {shared, PlainLayer({File("b", "only two")})});
  ASSERT_TRUE(Store().Tag("one:v1", "one:also").has_value());
  ASSERT_TRUE(Store().Remove("one:v1").has_value());
  EXPECT_EQ(Store().Resolve(one.digest)->names, std::vector<std::string>{"one:also"});
  ASSERT_TRUE(Store().Remove("one:also").has_value());
  EXPECT_FALSE(Store().Resolve(one.digest).has_value());
  EXPECT_FALSE(Store().Resolve(one.config_digest).has_value());
  EXPECT_EQ(Read(two, "s") + Read(two, "b"), "sharedonly two");
  EXPECT_TRUE(Store().Verify("two:v1")->empty());
  EXPECT_EQ(CountObjects(), 2u);
  EXPECT_EQ(Names("state/images/blobs/sha256").size(), 4u);
  ASSERT_TRUE(Store().Remove(two.digest).has_value());
  ExpectEmptyStore();
}

TEST_F(ImageStoreTest, RemoveKeepsAConfigurationThatAnotherImageHas) {
  const std::vector<Node> nodes = {File("a", "1")};
  const Image plain = Make("plain:v1", {PlainLayer(nodes)});
  const Image gzip = Make("gzip:v1", {CompressedLayer(nodes, ARCHIVE_FILTER_GZIP)});
  ASSERT_EQ(plain.config_digest, gzip.config_digest);
  ASSERT_NE(plain.digest, gzip.digest);
  ASSERT_TRUE(Store().Remove("gzip:v1").has_value());
  EXPECT_EQ(Store().Resolve(gzip.config_digest)->digest, plain.digest);
  EXPECT_TRUE(Store().Verify("plain:v1")->empty());
}

TEST_F(ImageStoreTest, AnImageInUseIsNotRemoved) {
  const Image image = Make("python:v1", {PlainLayer({File("a", "1")})});
  {
    auto held = Store().Hold(image);
    ASSERT_TRUE(held.has_value()) << held.error().ToString();
    auto removed = Store().Remove("python:v1");
    ASSERT_FALSE(removed.has_value());
    EXPECT_EQ(removed.error().kind, ErrorKind::kRefused);
    EXPECT_EQ(Read(image, "a"), "1");
    EXPECT_TRUE(Store().Resolve("python:v1").has_value());
  }
  EXPECT_TRUE(Store().Remove("python:v1").has_value());
  EXPECT_FALSE(Store().Hold(image).has_value());
}

TEST_F(ImageStoreTest, VerifyFindsEveryChange) {
  const Image image =
      Make("v:1", {PlainLayer({File("content", "aaaa"), File("mode", "m"), File("gone", "g"),
                               Link("link", "content"), Dir("dir"), File("dir/kind", "k")})});
  EXPECT_TRUE(Store().Verify("v:1")->empty());
  const std::string root = image.rootfs + "/";
  struct stat before {};
  ASSERT_EQ(::stat((root + "content").c_str(), &before), 0);
  {  // the same size, and the time put back: only the digest can tell
    auto fd = OpenPath(root + "content", O_WRONLY);
    ASSERT_TRUE(WriteAll(fd->get(), "aaab").has_value());
    const timespec times[2] = {before.st_mtim, before.st_mtim};
    ASSERT_EQ(::futimens(fd->get(), times), 0);
  }
  ASSERT_EQ(::chmod((root + "mode").c_str(), 0755), 0);
  ASSERT_EQ(::unlink((root + "gone").c_str()), 0);
  ASSERT_EQ(::unlink((root + "link").c_str()), 0);
  ASSERT_EQ(::symlink("mode", (root + "link").c_str()), 0);
  ASSERT_EQ(::unlink((root + "dir/kind").c_str()), 0);
  ASSERT_EQ(::mkdir((root + "dir/kind").c_str(), 0755), 0);
  ASSERT_EQ(::mkfifo((root + "added").c_str(), 0644), 0);
  auto findings = Store().Verify("v:1");
  ASSERT_TRUE(findings.has_value());
  std::string all;
  for (const std::string& finding : *findings) all += finding + "\n";
  for (const char* path : {"content: is", "mode: is", "gone: is missing", "link: is",
                           "dir/kind: is", "added: was added"})
    EXPECT_HOLDS(all, "rootfs/" + std::string(path));
  EXPECT_EQ(findings->size(), 6u) << all;
}

TEST_F(ImageStoreTest, VerifyFindsChangedBlobsAndListing) {
  const Layer layer = CompressedLayer({File("a", "1")}, ARCHIVE_FILTER_GZIP);
  const Image image = Make("v:1", {layer});
  const std::string blobs = "state/images/blobs/sha256/";
  for (const std::string& name :
       {blobs + Sha256Hex(layer.blob), blobs + image.digest.substr(7),
        blobs + image.config_digest.substr(7), "state/images/trees/" + image.digest.substr(7)}) {
    const std::string good = *ReadFile(path_ + "/" + name);
    std::string bad = good;
    bad[bad.size() / 2] ^= 1;
    Write(name, bad);
    EXPECT_EQ(Store().Verify("v:1")->size(), 1u) << name;
    Write(name, good);
  }
  EXPECT_TRUE(Store().Verify("v:1")->empty());
}

TEST_F(ImageStoreTest, AnImportHealsADamagedBlob) {
  const Layer shared = PlainLayer({File("s", "shared")});
  Make("one:v1", {shared});
  Write("state/images/blobs/sha256/" + Sha256Hex(shared.blob), "damaged");
  EXPECT_FALSE(Store().Verify("one:v1")->empty());
  Make("two:v1", {shared, PlainLayer({File("a", "1")})});
  EXPECT_TRUE(Store().Verify("one:v1")->empty());
}

TEST_F(ImageStoreTest, AStoredImageIsCheckedLikeAnyOther) {
  const Layer layer = CompressedLayer({File("a", "1")}, ARCHIVE_FILTER_GZIP);
  const Image image = Make("one:v1", {layer});
  const std::string layout = Layout("layout", {layer});
  ImportOptions options;
  options.name = "two:v1";
  ASSERT_TRUE(Store().Import(layout, options).has_value());
  std::string bad = layer.blob;
  bad[bad.size() / 2] ^= 1;
  Write("layout/blobs/sha256/" + Sha256Hex(layer.blob), bad);
  options.name = "three:v1";
  auto again = Store().Import(layout, options);
  ASSERT_FALSE(again.has_value());
  EXPECT_HOLDS(again.error().ToString(), "its digest is sha256:" + Sha256Hex(bad));
  EXPECT_FALSE(Store().Resolve("three:v1").has_value());
  EXPECT_TRUE(Store().Verify("one:v1")->empty());
}

TEST_F(ImageStoreTest, AStoredImageThatIsDamagedGetsNoNewName) {
  const Layer layer = PlainLayer({File("a", "right")});
  const Image image = Make("one:v1", {layer});
  Overwrite(image.rootfs + "/a", "wrong");
  auto again = Import({layer}, "two:v1");
  ASSERT_FALSE(again.has_value());
  EXPECT_HOLDS(again.error().ToString(), "is stored, and damaged: rootfs/a");
  ASSERT_TRUE(Store().Remove(image.digest).has_value());
  Make("two:v1", {layer});
  EXPECT_TRUE(Store().Verify("two:v1")->empty());
}

TEST_F(ImageStoreTest, AnObjectIsReadBeforeATreeGetsIt) {
  const Image one = Make("one:v1", {PlainLayer({File("a", "right")})});
  Overwrite(one.rootfs + "/a", "wrong");
  const std::vector<Layer> other = {PlainLayer({File("b", "right")})};
  auto shared = Import(other, "two:v1");
  ASSERT_FALSE(shared.has_value());
  EXPECT_HOLDS(shared.error().ToString(), "a stored object is damaged");
  // Without a tree that has it, it is replaced.
  ASSERT_EQ(::unlink((one.rootfs + "/a").c_str()), 0);
  EXPECT_EQ(Read(Make("two:v1", other), "b"), "right");
  EXPECT_TRUE(Store().Verify("two:v1")->empty());
}

TEST_F(ImageStoreTest, NothingIsKeptThatNoTreeHas) {
  std::vector<Layer> layers;
  for (int i = 0; i < 30; ++i)
    layers.push_back(PlainLayer({File("status", Numbered(i)), File(Numbered(i), "own")}));
  const Image image = Make("thirty:v1", layers);
  EXPECT_EQ(CountObjects(), 2u);
  ASSERT_TRUE(Store().Tag("thirty:v1", "thirty:v2").has_value());
  Write("state/images/objects/ab/ab00", "of an import long ago");
  ASSERT_TRUE(Store().Remove("thirty:v1").has_value());
  EXPECT_EQ(CountObjects(), 2u);
  EXPECT_TRUE(Store().Verify("thirty:v2")->empty());
  ASSERT_TRUE(Store().Remove("thirty:v2").has_value());
  ExpectEmptyStore();
}

TEST_F(ImageStoreTest, TheSameLayerTwice) {
  const Layer layer = PlainLayer({File("a", "1")});
  Make("v:1", {layer, layer});
  EXPECT_TRUE(Store().Verify("v:1")->empty());
}

TEST_F(ImageStoreTest, LeftoversOfADeadImportVanish) {
  Store();
  Make("keep:v1", {PlainLayer({File("a", "kept")})});
  // As a crash between any two steps may leave it.
  const std::string hex(64, 'a'), images = "state/images/";
  Write(images + "tmp/123-456/rootfs/file", "x");
  Write(images + "objects/ab/ab00", "x");
  Write(images + "rootfs/" + hex + "/file", "x");
  Write(images + "trees/" + hex, "x");
  Write(images + "blobs/sha256/" + hex, "x");
  Write(images + "manifests/." + hex + ".json.tmp.1", "x");
  for (const char* link : {"/names/dead:v1", "/configs/dead"})
    ASSERT_EQ(::symlink(("../manifests/" + hex + ".json").c_str(),
                        (path_ + "/state/images" + link).c_str()),
              0);
  ImageStore store = Store();
  EXPECT_TRUE(Names(images + "tmp").empty());
  EXPECT_EQ(CountObjects(), 1u);
  for (const char* name : {"rootfs", "trees", "manifests", "configs", "names"})
    EXPECT_EQ(Names(images + name).size(), 1u) << name;
  EXPECT_EQ(Names(images + "blobs/sha256").size(), 3u);
  EXPECT_TRUE(store.Verify("keep:v1")->empty());
}

TEST_F(ImageStoreTest, ALivingImportIsNoLeftover) {
  Store();
  auto root = OpenPath(path_ + "/state/images", O_RDONLY | O_DIRECTORY);
  auto lock = LockStore(root->get(), LockKind::kShared);
  auto work = WorkDir::Make(root->get());
  ASSERT_TRUE(work.has_value());
  EXPECT_FALSE(*HasLeftovers(root->get()));
  Store();
  EXPECT_EQ(Names("state/images/tmp").size(), 1u);
}

TEST_F(ImageStoreTest, ADamagedRecordIsAFault) {
  const Image image = Make("v:1", {PlainLayer({File("a", "1")})});
  Write("state/images/manifests/" + image.digest.substr(7) + ".json", "{\"version\": 1}");
  auto found = Store().Resolve("v:1");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().kind, ErrorKind::kFault);
}

TEST_F(ImageStoreTest, TheRecordIsComplete) {
  const Image image = Make("v:1", {PlainLayer({File("a", "1")})});
  auto again = DecodeRecord(EncodeRecord(image), "record");
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_EQ(EncodeRecord(*again), EncodeRecord(image));
  EXPECT_EQ(again->config.env, image.config.env);
  EXPECT_EQ(again->config.labels, image.config.labels);
}

}  // namespace
}  // namespace carrel::image_test
