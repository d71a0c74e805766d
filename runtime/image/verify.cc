#include "image/verify.h"

#include <fcntl.h>

#include <set>

#include "base/digest.h"
#include "base/fs.h"
#include "image/oci.h"
#include "image/tree.h"

namespace carrel {
namespace {

constexpr size_t kMaxFindings = 100;
constexpr size_t kMaxListing = size_t{1} << 30;

class Verifier {
 public:
  Verifier(int root, const Image& image) : root_(root), image_(image) {}

  Result<std::vector<std::string>> Run() {
    CARREL_TRY(CheckBlobs());
    return RunTree();
  }

  Result<std::vector<std::string>> RunTree() {
    CARREL_TRY(CheckTree());
    return std::move(findings_);
  }

 private:
  void Find(const std::string& what) { findings_.push_back(what); }

  // The text of a small blob, or a finding and "".
  std::string Document(const std::string& digest, const std::string& what) {
    auto fd = OpenBeneath(root_, "blobs/sha256/" + digest.substr(7), O_RDONLY | O_NOFOLLOW);
    if (!fd) {
      Find(what + " " + digest + ": " + ErrnoName(fd.error().code));
      return "";
    }
    auto text = ReadFd(fd->get(), kMaxDocument);
    if (text && "sha256:" + Sha256Hex(*text) == digest) return *text;
    Find(what + " " + digest + ": its content has another digest");
    return "";
  }

  Result<void> CheckBlobs() {
    const std::string manifest_text = Document(image_.digest, "manifest");
    const std::string config_text = Document(image_.config_digest, "configuration");
    if (manifest_text.empty() || config_text.empty()) return {};
    auto manifest = DecodeManifest(manifest_text, "", "manifest");
    auto config = DecodeConfig(config_text, "configuration");
    if (!manifest || !config || manifest->config.digest != image_.config_digest ||
        manifest->layers.size() != config->diff_ids.size()) {
      Find("manifest and configuration do not belong together");
      return {};
    }
    for (size_t i = 0; i < manifest->layers.size(); ++i)
      CheckLayer(manifest->layers[i], config->diff_ids[i]);
    return {};
  }

  void CheckLayer(const Descriptor& layer, const std::string& diff_id) {
    const std::string what = "layer " + layer.digest;
    auto fd = OpenBeneath(root_, layer.BlobPath(), O_RDONLY | O_NOFOLLOW);
    if (!fd) return Find(what + ": " + ErrnoName(fd.error().code));
    auto digest = Sha256HexOfFd(fd->get());
    if (!digest || *digest != layer.Hex()) return Find(what + ": its content has another digest");
    auto compression = LayerCompression(layer);
    if (!compression) return Find(what + ": " + compression.error().what);
    if (::lseek(fd->get(), 0, SEEK_SET) != 0) return Find(what + ": cannot be read twice");
    auto stream = TarStream::Open(fd->get(), *compression, UINT64_MAX, what);
    auto content = stream ? (*stream)->Finish() : Result<std::string>(stream.error());
    if (!content || "sha256:" + *content != diff_id)
      Find(what + ": unpacked, its digest is not " + diff_id);
  }

  Result<void> CheckTree() {
    const std::string hex = image_.digest.substr(7);
    auto fd = OpenBeneath(root_, "trees/" + hex, O_RDONLY | O_NOFOLLOW);
    auto listing = fd ? ReadFd(fd->get(), kMaxListing) : Result<std::string>(fd.error());
    if (!listing || "sha256:" + Sha256Hex(*listing) != image_.tree_digest) {
      Find("trees/" + hex + ": the listing is missing or has another digest");
      return {};
    }
    auto tree = OpenBeneath(root_, "rootfs/" + hex, O_RDONLY | O_DIRECTORY);
    if (!tree) {
      Find("rootfs/" + hex + ": " + ErrnoName(tree.error().code));
      return {};
    }
    CARREL_ASSIGN(auto differences, CompareTree(tree->get(), *listing, kMaxFindings));
    findings_.insert(findings_.end(), differences.begin(), differences.end());
    return {};
  }

  int root_;
  const Image& image_;
  std::vector<std::string> findings_;
};

}  // namespace

Result<std::vector<std::string>> VerifyImage(int root, const Image& image) {
  return Verifier(root, image).Run();
}

Result<std::vector<std::string>> VerifyTree(int root, const Image& image) {
  return Verifier(root, image).RunTree();
}

}  // namespace carrel
