// Images made in the test: tars of chosen entries, and OCI layouts of chosen layers, with every
// digest right unless a test spoils it.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "image/image_store.h"

namespace carrel::image_test {

struct Node {
  std::string name;
  mode_t type = S_IFREG;
  std::string content;  ///< of a file; target of a symbolic link
  mode_t mode = 0644;
  std::string hardlink;
  std::string xattr;  ///< name of an extended attribute
  int64_t mtime = 1'000'000'000;
};

inline Node File(std::string name, std::string content, mode_t mode = 0644) {
  return {std::move(name), S_IFREG, std::move(content), mode, "", ""};
}
inline Node Dir(std::string name, mode_t mode = 0755) {
  return {std::move(name), S_IFDIR, "", mode, "", ""};
}
inline Node Link(std::string name, std::string target) {
  return {std::move(name), S_IFLNK, std::move(target), 0777, "", ""};
}
inline Node HardLink(std::string name, std::string target) {
  return {std::move(name), S_IFREG, "", 0644, std::move(target), ""};
}

inline la_ssize_t AppendTo(archive*, void* text, const void* data, size_t size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(data), size);
  return static_cast<la_ssize_t>(size);
}

/// A tar of the nodes. `filter` is ARCHIVE_FILTER_NONE, _GZIP or _ZSTD.
inline std::string Tar(const std::vector<Node>& nodes, int filter = ARCHIVE_FILTER_NONE) {
  std::string text;
  archive* out = archive_write_new();
  archive_write_set_format_pax_restricted(out);
  archive_write_set_options(out, "hdrcharset=BINARY");
  archive_write_add_filter(out, filter);
  archive_write_set_bytes_in_last_block(out, 1);
  archive_write_open2(out, &text, nullptr, &AppendTo, nullptr, nullptr);
  for (const Node& node : nodes) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, node.name.c_str());
    archive_entry_set_filetype(entry, node.type);
    archive_entry_set_perm(entry, node.mode);
    archive_entry_set_mtime(entry, node.mtime, 0);
    archive_entry_set_size(entry, 0);
    if (!node.hardlink.empty())
      archive_entry_set_hardlink(entry, node.hardlink.c_str());
    else if (node.type == S_IFLNK)
      archive_entry_set_symlink(entry, node.content.c_str());
    else if (node.type == S_IFREG)
      archive_entry_set_size(entry, static_cast<la_int64_t>(node.content.size()));
    if (node.type == S_IFCHR || node.type == S_IFBLK) archive_entry_set_rdev(entry, 0x103);
    if (!node.xattr.empty())
      archive_entry_xattr_add_entry(entry, node.xattr.c_str(), "\x01\x02", 2);
    EXPECT_GE(archive_write_header(out, entry), ARCHIVE_WARN) << archive_error_string(out);
    if (node.type == S_IFREG && node.hardlink.empty())
      archive_write_data(out, node.content.data(), node.content.size());
    archive_entry_free(entry);
  }
  EXPECT_EQ(archive_write_close(out), ARCHIVE_OK) << archive_error_string(out);
  archive_write_free(out);
  return text;
}

struct Layer {
  std::string blob;     ///< as stored
  std::string content;  ///< uncompressed
  std::string type = "application/vnd.oci.image.layer.v1.tar";
};

inline Layer PlainLayer(const std::vector<Node>& nodes) {
  Layer layer;
  layer.blob = layer.content = Tar(nodes);
  return layer;
}

inline Layer CompressedLayer(const std::vector<Node>& nodes, int filter) {
  Layer layer{Tar(nodes, filter), Tar(nodes)};
  layer.type += filter == ARCHIVE_FILTER_GZIP ? "+gzip" : "+zstd";
  return layer;
}

/// "f7". (Not "f" + std::to_string: gcc 12 warns there of what cannot be.)
inline std::string Numbered(int i) {
  std::string name("f");
  name += std::to_string(i);
  return name;
}

inline std::string DigestOf(std::string_view text) { return "sha256:" + Sha256Hex(text); }

/// A temporary directory with a store, and layouts beside it.
class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/carrel-image-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    path_ = name;
    dir_ = *OpenPath(path_, O_RDONLY | O_DIRECTORY);
  }
  void TearDown() override {
    auto tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(RemoveTree(tmp->get(), path_.substr(5)).has_value());
  }

  void Write(const std::string& name, const std::string& text) {
    const size_t slash = name.rfind('/');
    auto dir =
        MakeDirsBeneath(dir_.get(), slash == std::string::npos ? "" : name.substr(0, slash), 0755);
    ASSERT_TRUE(dir.has_value());
    auto fd = OpenBeneath(dir->get(), name.substr(slash + 1), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
    ASSERT_TRUE(WriteAll(fd->get(), text).has_value());
  }

  /// Writes a blob of the layout and returns its descriptor.
  Json Blob(const std::string& layout, const std::string& text, const std::string& type) {
    Write(layout + "/blobs/sha256/" + Sha256Hex(text), text);
    return {{"mediaType", type}, {"digest", DigestOf(text)}, {"size", text.size()}};
  }

  static Json ConfigJson(const std::vector<Layer>& layers) {
    Json diff_ids = Json::array();
    for (const Layer& layer : layers) diff_ids.push_back(DigestOf(layer.content));
    return {{"architecture", "amd64"},
            {"os", "linux"},
            {"config",
             {{"Entrypoint", {"/bin/tool"}},
              {"Cmd", nullptr},
              {"Env", {"PATH=/bin", "X=a=b"}},
              {"WorkingDir", "/workspace"},
              {"Labels", {{"note", "two\nlines"}}}}},
            {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}};
  }

  /// Returns the manifest's descriptor.
  Json ManifestOf(const std::string& layout, const std::vector<Layer>& layers, const Json& config) {
    Json manifest = {{"schemaVersion", 2},
                     {"config", Blob(layout, config.dump(), kConfigType)},
                     {"layers", Json::array()}};
    for (const Layer& layer : layers)
      manifest["layers"].push_back(Blob(layout, layer.blob, layer.type));
    return Blob(layout, manifest.dump(), kManifestType);
  }

  void WriteIndex(const std::string& layout, const Json& manifests) {
    Write(layout + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    Write(layout + "/index.json", Json{{"schemaVersion", 2}, {"manifests", manifests}}.dump());
  }

  /// A whole layout; returns its path.
  std::string Layout(const std::string& layout, const std::vector<Layer>& layers) {
    WriteIndex(layout, Json::array({ManifestOf(layout, layers, ConfigJson(layers))}));
    return path_ + "/" + layout;
  }

  ImageStore Store() {
    auto store = ImageStore::Open(path_ + "/state");
    EXPECT_TRUE(store.has_value()) << store.error().ToString();
    return std::move(*store);
  }

  Result<Image> Import(const std::vector<Layer>& layers, const std::string& name = "test:v1",
                       ImportOptions options = {}) {
    options.name = name;
    return Store().Import(Layout("layout", layers), options);
  }

  /// The error of an import that must fail, and must leave nothing behind.
  Error Refusal(const std::vector<Layer>& layers, ImportOptions options = {}) {
    auto image = Import(layers, "test:v1", std::move(options));
    EXPECT_FALSE(image.has_value());
    ExpectEmptyStore();
    return image ? Error{} : image.error();
  }

  std::vector<std::string> Names(const std::string& path) {
    auto dir = OpenPath(path_ + "/" + path, O_RDONLY | O_DIRECTORY);
    if (!dir) return {"missing"};
    return *ListDir(dir->get());
  }

  size_t CountObjects() {
    size_t count = 0;
    for (const std::string& fan : Names("state/images/objects"))
      count += Names("state/images/objects/" + fan).size();
    return count;
  }

  void ExpectEmptyStore() {
    for (const char* name :
         {"tmp", "blobs/sha256", "objects", "rootfs", "trees", "manifests", "configs", "names"})
      EXPECT_TRUE(Names(std::string("state/images/") + name).empty()) << name;
  }

  static std::string Read(const Image& image, const std::string& path) {
    auto text = ReadFile(image.rootfs + "/" + path);
    return text ? *text : "(" + ErrnoName(text.error().code) + ")";
  }

  static struct stat Stat(const Image& image, const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::lstat((image.rootfs + "/" + path).c_str(), &info), 0) << path;
    return info;
  }

  static bool Exists(const Image& image, const std::string& path) {
    struct stat info {};
    return ::lstat((image.rootfs + "/" + path).c_str(), &info) == 0;
  }

  static constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
  static constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";
  static constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";

  std::string path_;
  UniqueFd dir_;
};

}  // namespace carrel::image_test
