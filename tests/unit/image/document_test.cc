// Indexes, manifests, configurations: every digest and size, known types, no ambiguity.
#include "image/names.h"
#include "unit/image/fixture.h"

namespace carrel::image_test {
namespace {

#define EXPECT_HOLDS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

class DocumentTest : public StoreTest {
 protected:
  // Imports the layout that the test has written, and expects it to fail.
  std::string Why(ImportOptions options = {}) {
    if (options.name.empty()) options.name = "test:v1";
    auto image = Store().Import(path_ + "/layout", options);
    EXPECT_FALSE(image.has_value());
    if (image) return "";
    EXPECT_EQ(image.error().kind, ErrorKind::kBadInput) << image.error().ToString();
    ExpectEmptyStore();
    return image.error().ToString();
  }
  std::string BlobPath(const std::string& text) { return "layout/blobs/sha256/" + Sha256Hex(text); }
  const Layer layer_ = PlainLayer({File("bin/tool", "#!", 0755)});
};

TEST_F(DocumentTest, TakesAllCompressions) {
  auto image = Import({PlainLayer({File("a", "plain")}),
                       CompressedLayer({File("b", "gzip")}, ARCHIVE_FILTER_GZIP),
                       CompressedLayer({File("c", "zstd")}, ARCHIVE_FILTER_ZSTD)});
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(Read(*image, "a") + Read(*image, "b") + Read(*image, "c"), "plaingzipzstd");
  EXPECT_EQ(image->layers, 3u);
  EXPECT_EQ(image->bytes, 13u);
  EXPECT_TRUE(Store().Verify("test:v1")->empty());
}

TEST_F(DocumentTest, DecodesTheConfiguration) {
  auto image = Import({layer_});
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(image->config.entrypoint, std::vector<std::string>{"/bin/tool"});
  EXPECT_TRUE(image->config.cmd.empty());
  EXPECT_EQ(image->config.env.at("X"), "a=b");
  EXPECT_EQ(image->config.working_dir, "/workspace");
  EXPECT_EQ(Store().Resolve("test:v1")->config.labels.at("note"), "two\nlines");
}

TEST_F(DocumentTest, ChecksTheDigestOfEachBlob) {
  const std::string config = ConfigJson({layer_}).dump();
  for (const std::string& victim : {layer_.blob, config}) {
    Layout("layout", {layer_});
    std::string changed = victim;
    changed[changed.size() / 2] ^= 1;
    Write(BlobPath(victim), changed);
    EXPECT_HOLDS(Why(), "digest");
  }
}

TEST_F(DocumentTest, ChecksTheSizeOfEachBlob) {
  Json config = Blob("layout", ConfigJson({layer_}).dump(), kConfigType);
  Json layer = Blob("layout", layer_.blob, layer_.type);
  for (Json* descriptor : {&config, &layer}) {
    const Json right = *descriptor;
    for (int64_t wrong : {-1, 1}) {
      (*descriptor)["size"] = right["size"].get<int64_t>() + wrong;
      const Json manifest = {
          {"schemaVersion", 2}, {"config", config}, {"layers", Json::array({layer})}};
      WriteIndex("layout", Json::array({Blob("layout", manifest.dump(), kManifestType)}));
      EXPECT_HOLDS(Why(), "bytes");
    }
    *descriptor = right;
  }
}

TEST_F(DocumentTest, ChecksDiffIds) {
  Json config = ConfigJson({layer_});
  config["rootfs"]["diff_ids"][0] = DigestOf("something else");
  WriteIndex("layout", Json::array({ManifestOf("layout", {layer_}, config)}));
  EXPECT_HOLDS(Why(), "layer 1: its content's digest");
}

TEST_F(DocumentTest, ChecksTheNumberOfDiffIds) {
  WriteIndex("layout", Json::array({ManifestOf("layout", {layer_}, ConfigJson({}))}));
  EXPECT_HOLDS(Why(), "has 1 layers, its configuration says 0");
}

TEST_F(DocumentTest, RefusesDuplicateKeys) {
  const std::string good = ConfigJson({layer_}).dump();
  const std::string text = R"({"os":"windows",)" + good.substr(1);
  const Json manifest = {{"schemaVersion", 2},
                         {"config", Blob("layout", text, kConfigType)},
                         {"layers", Json::array({Blob("layout", layer_.blob, layer_.type)})}};
  WriteIndex("layout", Json::array({Blob("layout", manifest.dump(), kManifestType)}));
  EXPECT_HOLDS(Why(), "\"os\" appears twice");
}

TEST_F(DocumentTest, RefusesUnknownTypes) {
  Layer layer = layer_;
  layer.type = "application/vnd.oci.image.layer.nondistributable.v1.tar";
  Layout("layout", {layer});
  EXPECT_HOLDS(Why(), "unknown type");
  layer.type = "application/vnd.oci.image.layer.v1.tar+xz";
  Layout("layout", {layer});
  EXPECT_HOLDS(Why(), "unknown type");
  Json manifest = ManifestOf("layout", {layer_}, ConfigJson({layer_}));
  manifest["mediaType"] = "application/json";
  WriteIndex("layout", Json::array({manifest}));
  EXPECT_HOLDS(Why(), "holds no image");
}

TEST_F(DocumentTest, RefusesADocumentOfTwoKinds) {
  Json both = {{"schemaVersion", 2},
               {"config", Blob("layout", ConfigJson({layer_}).dump(), kConfigType)},
               {"layers", Json::array({Blob("layout", layer_.blob, layer_.type)})},
               {"manifests", Json::array()}};
  WriteIndex("layout", Json::array({Blob("layout", both.dump(), kManifestType)}));
  EXPECT_HOLDS(Why(), "an index and a manifest at once");
  both.erase("manifests");
  both["mediaType"] = kIndexType;
  WriteIndex("layout", Json::array({Blob("layout", both.dump(), kManifestType)}));
  EXPECT_HOLDS(Why(), "mediaType differs");
}

TEST_F(DocumentTest, RefusesOtherMachines) {
  Json config = ConfigJson({layer_});
  config["architecture"] = "arm64";
  WriteIndex("layout", Json::array({ManifestOf("layout", {layer_}, config)}));
  EXPECT_HOLDS(Why(), "linux/arm64");
}

TEST_F(DocumentTest, FollowsNestedIndexesToAmd64) {
  Json amd64 = ManifestOf("layout", {layer_}, ConfigJson({layer_}));
  amd64["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
  Json arm64 = amd64;
  arm64["digest"] = DigestOf("elsewhere");
  arm64["platform"]["architecture"] = "arm64";
  Json attestation = arm64;
  attestation["platform"] = {{"os", "unknown"}, {"architecture", "unknown"}};
  const Json index = {{"schemaVersion", 2},
                      {"mediaType", kIndexType},
                      {"manifests", Json::array({arm64, attestation, amd64})}};
  WriteIndex("layout", Json::array({Blob("layout", index.dump(), kIndexType)}));
  auto image = Store().Import(path_ + "/layout", "test:v1");
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(image->digest, amd64["digest"]);
}

TEST_F(DocumentTest, BoundsTheNestingOfIndexes) {
  Json inner = ManifestOf("layout", {layer_}, ConfigJson({layer_}));
  for (int depth = 0; depth < 5; ++depth) {
    const Json index = {{"schemaVersion", 2}, {"manifests", Json::array({inner})}};
    inner = Blob("layout", index.dump(), kIndexType);
  }
  WriteIndex("layout", Json::array({inner}));
  EXPECT_HOLDS(Why(), "deeper than 4");
}

TEST_F(DocumentTest, AsksWhichOfSeveralImages) {
  const Layer other = PlainLayer({File("other", "x")});
  Json one = ManifestOf("layout", {layer_}, ConfigJson({layer_}));
  Json two = ManifestOf("layout", {other}, ConfigJson({other}));
  one["annotations"] = {{"org.opencontainers.image.ref.name", "one"}};
  two["annotations"] = {{"org.opencontainers.image.ref.name", "two"}};
  WriteIndex("layout", Json::array({one, two}));
  EXPECT_HOLDS(Why(), "Choose one with --ref: one, two");
  ImportOptions options;
  options.ref = "three";
  EXPECT_HOLDS(Why(options), "no image named three");
  options.ref = "two";
  options.name = "test:v1";
  auto image = Store().Import(path_ + "/layout", options);
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(image->digest, two["digest"]);
}

TEST_F(DocumentTest, KeepsTheNamesInTheLayout) {
  Json manifest = ManifestOf("layout", {layer_}, ConfigJson({layer_}));
  Json again = manifest;
  manifest["annotations"] = {{"org.opencontainers.image.ref.name", "tool:v1"}};
  again["annotations"] = {{"io.containerd.image.name", "example.org/tool:v2"},
                          {"org.opencontainers.image.ref.name", "v2"}};
  WriteIndex("layout", Json::array({manifest, again}));
  auto image = Store().Import(path_ + "/layout", "");
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(image->names, (std::vector<std::string>{"example.org/tool:v2", "tool:v1"}));
}

TEST_F(DocumentTest, WantsAName) {
  Layout("layout", {layer_});
  auto image = Store().Import(path_ + "/layout", "");
  ASSERT_FALSE(image.has_value());
  EXPECT_HOLDS(image.error().ToString(), "--name");
  ExpectEmptyStore();
}

TEST_F(DocumentTest, ABlobThatIsALinkIsNotFollowed) {
  Layout("layout", {layer_});
  const std::string blob = path_ + "/" + BlobPath(layer_.blob);
  Write("elsewhere", layer_.blob);
  ASSERT_EQ(::unlink(blob.c_str()), 0);
  ASSERT_EQ(::symlink((path_ + "/elsewhere").c_str(), blob.c_str()), 0);
  EXPECT_HOLDS(Why(), "cannot be opened: ELOOP");
}

TEST_F(DocumentTest, ABlobThatIsAFifoDoesNotHang) {
  Layout("layout", {layer_});
  const std::string blob = path_ + "/" + BlobPath(layer_.blob);
  ASSERT_EQ(::unlink(blob.c_str()), 0);
  ASSERT_EQ(::mkfifo(blob.c_str(), 0644), 0);
  EXPECT_HOLDS(Why(), "no regular file");
}

TEST_F(DocumentTest, SaysWhatIsMissing) {
  EXPECT_HOLDS(Why(), "cannot be opened: ENOENT");
  Write("layout/readme", "x");
  EXPECT_HOLDS(Why(), "neither an OCI layout nor a docker-archive");
  // As `skopeo copy IMAGE dir:layout` writes it.
  Write("layout/version", "Directory Transport Version: 1.1\n");
  Write("layout/manifest.json", R"({"schemaVersion": 2, "config": {}, "layers": []})");
  EXPECT_HOLDS(Why(), "skopeo copy dir:");
  Layout("layout", {layer_});
  ASSERT_EQ(::unlink((path_ + "/" + BlobPath(layer_.blob)).c_str()), 0);
  EXPECT_HOLDS(Why(), Sha256Hex(layer_.blob));
}

TEST_F(DocumentTest, TruncatedLayersAreRefused) {
  for (int filter : {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD}) {
    Layer layer = CompressedLayer({File("a", std::string(100'000, 'a'))}, filter);
    layer.blob.resize(layer.blob.size() - 8);
    Layout("layout", {layer});
    EXPECT_HOLDS(Why(), "layer 1");
  }
  Layer plain = layer_;
  plain.blob.resize(600);
  plain.content = plain.blob;
  Layout("layout", {plain});
  EXPECT_HOLDS(Why(), "layer 1");
}

TEST_F(DocumentTest, DockerArchives) {
  const std::string config = ConfigJson({layer_}).dump();
  const std::string config_name = Sha256Hex(config) + ".json";
  auto manifest = [&](const std::string& layer_name) {
    return Json::array({{{"Config", config_name},
                         {"RepoTags", Json::array({"tool:v1"})},
                         {"Layers", Json::array({layer_name})}}})
        .dump();
  };
  Write("good.tar", Tar({File("manifest.json", manifest("a/layer.tar")), File(config_name, config),
                         Link("a/layer.tar", "../b.tar"), File("b.tar", layer_.blob)}));
  auto image = Store().Import(path_ + "/good.tar", "");
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(image->names, std::vector<std::string>{"tool:v1"});
  EXPECT_EQ(image->config_digest, DigestOf(config));
  EXPECT_EQ(Read(*image, "bin/tool"), "#!");
  EXPECT_TRUE(Store().Verify("tool:v1")->empty());
  ASSERT_TRUE(Store().Remove("tool:v1").has_value());

  const std::vector<std::pair<std::string, std::vector<Node>>> bad = {
      {"b.tar: is missing", {File("manifest.json", manifest("b.tar")), File(config_name, config)}},
      {"has another digest",
       {File("manifest.json", manifest("b.tar")), File(config_name, config + " "),
        File("b.tar", layer_.blob)}},
      {"its content's digest",
       {File("manifest.json", manifest("b.tar")), File(config_name, config),
        File("b.tar", Tar({File("evil", "x")}))}},
      {"comes twice", {File("manifest.json", manifest("b.tar")), File("manifest.json", "[]")}},
      {"\"..\" in a name", {File("../manifest.json", "[]")}},
      {"no regular file", {HardLink("manifest.json", "/etc/passwd")}},
      {"is missing",
       {File("manifest.json", manifest("l")), File(config_name, config),
        Link("l", "../../../etc/passwd")}},
  };
  for (const auto& [why, nodes] : bad) {
    Write("bad.tar", Tar(nodes));
    auto refused = Store().Import(path_ + "/bad.tar", "");
    ASSERT_FALSE(refused.has_value()) << why;
    EXPECT_EQ(refused.error().kind, ErrorKind::kBadInput);
    EXPECT_HOLDS(refused.error().ToString(), why);
    ExpectEmptyStore();
  }
}

TEST(ImageNames, Alphabet) {
  for (const char* good :
       {"python:v2", "registry.example/opensafely-core/python:v2.1", "a:A_.-", "0/1:x"})
    EXPECT_TRUE(CheckImageName(good).has_value()) << good;
  for (const char* bad :
       {"python", "Python:v2", "p\xd1\x83thon:v2", "python:", ":v2", "a:b:c", "/a:v", "a/:v",
        "a//b:v", "../a:v", "a..b:v", "-a:v", "a-:v", ".:v", "a:v/1", "a b:v", "a%b:v", "a:v\n",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000"})
    EXPECT_FALSE(CheckImageName(bad).has_value()) << bad;
  EXPECT_TRUE(CheckImageName(std::string(120, 'a') + ":" + std::string(128, 'b')).has_value());
  EXPECT_FALSE(CheckImageName(std::string(121, 'a') + ":v").has_value());
  EXPECT_FALSE(CheckImageName("a:" + std::string(129, 'b')).has_value());
}

TEST(ImageNames, Printable) { EXPECT_EQ(PrintableName("a\\\x1b\xff b"), "a\\x5c\\x1b\\xff b"); }

}  // namespace
}  // namespace carrel::image_test
