#include "image/import.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "image/layer.h"
#include "image/layout.h"
#include "image/names.h"
#include "image/record.h"
#include "image/select.h"
#include "image/source.h"
#include "image/tree.h"
#include "image/verify.h"

namespace carrel {
namespace {

class Importer {
 public:
  Importer(int root, int work, const ImportOptions& options)
      : root_(root), work_(work), options_(options) {}

  Result<ImportedImage> Run(const std::string& path) {
    CARREL_ASSIGN(auto source, ImageSource::Open(path, work_, options_));
    CARREL_ASSIGN(selected_, SelectImage(*source, options_.ref));
    CARREL_ASSIGN(auto names, Names(source->where()));
    const std::string hex = selected_.manifest_digest.substr(7);
    if (::faccessat(root_, ("manifests/" + hex + ".json").c_str(), F_OK, 0) == 0) {
      CARREL_TRY(CheckAgain(*source, hex));
    } else {
      CARREL_TRY(Flatten(*source));
      CARREL_TRY(Commit(hex));
    }
    ImportedImage imported{hex, {}};
    for (const std::string& name : names) {
      const std::string before = RecordOfLink(root_, "names/" + NameToFile(name));
      CARREL_TRY(PointAtRecord(root_, work_, "names/" + NameToFile(name), hex));
      imported.given.push_back({name, before.empty() ? "" : "sha256:" + before});
    }
    return imported;
  }

 private:
  Result<std::vector<std::string>> Names(const std::string& where) {
    if (!options_.name.empty()) return std::vector<std::string>{options_.name};
    if (selected_.names.empty())
      return BadInput(where, "holds no image name", "Give one: --name NAME:TAG");
    for (const std::string& name : selected_.names) CARREL_TRY(CheckImageName(name));
    return selected_.names;
  }

  Result<void> Flatten(ImageSource& source) {
    if (::mkdirat(work_, "rootfs", 0755) != 0) return SysFault("tmp/rootfs", "mkdir");
    CARREL_ASSIGN(UniqueFd tree, OpenBeneath(work_, "rootfs", O_RDONLY | O_DIRECTORY));
    CARREL_ASSIGN(UniqueFd objects, OpenBeneath(root_, "objects", O_RDONLY | O_DIRECTORY));
    ObjectWriter writer(objects.get(), work_);
    LayerApplier applier(tree.get(), writer, options_);
    for (size_t i = 0; i < selected_.layers.size(); ++i) CARREL_TRY(ApplyLayer(source, applier, i));
    if (auto made = MakeMountPoints(tree.get()); !made) {
      Error error = std::move(made).error();
      error.where = source.where() + ": " + error.where;
      return error;
    }
    CARREL_TRY(SetDirectories(tree.get(), applier.directories()));
    CARREL_TRY(writer.RemoveUnused());
    return Describe(tree.get(), writer, applier);
  }

  // An image that is stored already: what is given is checked as if it were not, and so is the tree
  // that it gets its name for. Blobs that the disk has damaged are replaced by these.
  Result<void> CheckAgain(ImageSource& source, const std::string& hex) {
    for (size_t i = 0; i < selected_.layers.size(); ++i) {
      const std::string where = LayerPlace(source, i);
      CARREL_ASSIGN(FetchedLayer layer, FetchLayer(source, i));
      CARREL_ASSIGN(auto stream,
                    TarStream::Open(layer.fd.get(), layer.compression, options_.max_bytes, where));
      CARREL_ASSIGN(const std::string diff, stream->Finish());
      CARREL_TRY(CheckDiffId(diff, i, where));
    }
    CARREL_TRY(PlaceBlobs());
    const std::string file = "manifests/" + hex + ".json";
    CARREL_ASSIGN(UniqueFd fd, OpenBeneath(root_, file, O_RDONLY));
    CARREL_ASSIGN(const std::string text, ReadFd(fd.get(), 16u << 20));
    CARREL_ASSIGN(const Image stored, DecodeRecord(text, "images/" + file));
    CARREL_ASSIGN(const auto findings, VerifyTree(root_, stored));
    if (findings.empty()) return {};
    return Fault(
        selected_.manifest_digest, "the image is stored, and damaged: " + findings.front(),
        "Remove it (carrel image remove " + selected_.manifest_digest + ") and import it again");
  }

  static std::string LayerPlace(const ImageSource& source, size_t i) {
    return source.where() + ": layer " + std::to_string(i + 1);
  }

  struct FetchedLayer {
    UniqueFd fd;
    Compression compression = Compression::kNone;
  };

  // A layer's blob in the work directory; its digest is the descriptor's.
  Result<FetchedLayer> FetchLayer(ImageSource& source, size_t i) {
    const SelectedImage::Layer& layer = selected_.layers[i];
    const std::string where = LayerPlace(source, i);
    if (layer.descriptor.size > options_.max_bytes - blob_bytes_)
      return BadInput(
          where, "the layers are larger than " + std::to_string(options_.max_bytes) + " bytes");
    blob_bytes_ += layer.descriptor.size;
    CARREL_ASSIGN(SourceFile file, source.Fetch(layer.member, layer.descriptor.size));
    if (file.size != layer.descriptor.size)
      return BadInput(where, "is " + std::to_string(file.size) + " bytes, its descriptor says " +
                                 std::to_string(layer.descriptor.size));
    if (file.sha256 != layer.descriptor.Hex())
      return BadInput(where,
                      "its digest is sha256:" + file.sha256 + ", its descriptor says " +
                          layer.descriptor.digest,
                      "The input is damaged or was changed: fetch it again");
    FetchedLayer fetched;
    CARREL_ASSIGN(fetched.compression, LayerCompression(layer.descriptor));
    CARREL_ASSIGN(fetched.fd, OpenBeneath(work_, file.work_name, O_RDONLY));
    blobs_[file.sha256] = file.work_name;
    return fetched;
  }

  Result<void> ApplyLayer(ImageSource& source, LayerApplier& applier, size_t i) {
    const std::string where = LayerPlace(source, i);
    CARREL_ASSIGN(FetchedLayer layer, FetchLayer(source, i));
    CARREL_ASSIGN(const std::string diff, applier.Apply(layer.fd.get(), layer.compression, where));
    return CheckDiffId(diff, i, where);
  }

  Result<void> CheckDiffId(const std::string& diff, size_t i, const std::string& where) {
    if ("sha256:" + diff != selected_.document.diff_ids[i])
      return BadInput(where,
                      "its content's digest is sha256:" + diff + ", the configuration says " +
                          selected_.document.diff_ids[i],
                      "The input is damaged or was changed: fetch it again");
    return {};
  }

  // Writes the listing, and fills in what the record says.
  Result<void> Describe(int tree, const ObjectWriter& writer, const LayerApplier& applier) {
    CARREL_ASSIGN(UniqueFd fd, OpenBeneath(work_, "tree", O_WRONLY | O_CREAT | O_EXCL, 0644));
    Sha256 hash;
    std::string buffer;
    auto flush = [&]() -> Result<void> {
      hash.Update(buffer);
      auto written = WriteAll(fd.get(), buffer);
      buffer.clear();
      return written;
    };
    auto line = [&](const std::string& text) -> Result<void> {
      buffer += text + "\n";
      return buffer.size() < (1u << 18) ? Result<void>() : flush();
    };
    ContentDigest digest = [&](int dir, const std::string& name,
                               const struct stat& info) -> Result<std::string> {
      const auto known = writer.contents().find(info.st_ino);
      return known != writer.contents().end() ? known->second : ReadContentDigest(dir, name);
    };
    CARREL_ASSIGN(TreeTotals totals, ListTree(tree, digest, line));
    CARREL_TRY(flush());
    image_.digest = selected_.manifest_digest;
    image_.config_digest = selected_.config_digest;
    image_.config = selected_.document.config;
    image_.layers = selected_.layers.size();
    image_.tree_digest = "sha256:" + hash.HexFinal();
    image_.bytes = totals.bytes;
    image_.entries = totals.entries;
    image_.weakened = applier.weakened();
    image_.imported = Rfc3339(NowNs());
    return {};
  }

  Result<void> WriteBlob(const std::string& text, const std::string& work_name,
                         const std::string& digest) {
    CARREL_ASSIGN(UniqueFd fd, OpenBeneath(work_, work_name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    CARREL_TRY(WriteAll(fd.get(), text));
    blobs_[digest.substr(7)] = work_name;
    return {};
  }

  // Renames `from` in the work directory to `to`, if that is not there yet: then somebody else
  // has imported the same.
  Result<void> Place(const std::string& from, const std::string& to) {
    if (::renameat2(work_, from.c_str(), root_, to.c_str(), RENAME_NOREPLACE) != 0 &&
        errno != EEXIST)
      return SysFault("images/" + to, "rename");
    return {};
  }

  // A blob that is there already is replaced by the same: if the disk has damaged it, that heals
  // it.
  Result<void> PlaceBlobs() {
    CARREL_TRY(WriteBlob(selected_.manifest, "manifest", selected_.manifest_digest));
    CARREL_TRY(WriteBlob(selected_.config, "config", selected_.config_digest));
    // One flush for tens of thousands of files, before any of them gets its final name.
    if (::syncfs(work_) != 0) return SysFault("images", "syncfs");
    for (const auto& [digest, work_name] : blobs_)
      if (::renameat(work_, work_name.c_str(), root_, ("blobs/sha256/" + digest).c_str()) != 0)
        return SysFault("images/blobs/sha256/" + digest, "rename");
    return {};
  }

  Result<void> Commit(const std::string& hex) {
    CARREL_TRY(PlaceBlobs());
    CARREL_TRY(Place("tree", "trees/" + hex));
    CARREL_TRY(Place("rootfs", "rootfs/" + hex));
    for (const char* name : {"blobs/sha256", "trees", "rootfs"}) {
      CARREL_ASSIGN(UniqueFd dir, OpenBeneath(root_, name, O_RDONLY | O_DIRECTORY));
      if (::fsync(dir.get()) != 0) return SysFault(name, "fsync");
    }
    CARREL_ASSIGN(UniqueFd manifests, OpenBeneath(root_, "manifests", O_RDONLY | O_DIRECTORY));
    CARREL_TRY(WriteFileAtomic(manifests.get(), hex + ".json", EncodeRecord(image_), 0644));
    return PointAtRecord(root_, work_, "configs/" + image_.config_digest.substr(7), hex);
  }

  int root_;
  int work_;
  const ImportOptions& options_;
  SelectedImage selected_;
  Image image_;
  uint64_t blob_bytes_ = 0;
  std::map<std::string, std::string> blobs_;  // hex digest, name in the work directory
};

}  // namespace

Result<ImportedImage> ImportImage(int root, const std::string& path, const ImportOptions& options) {
  if (!options.name.empty()) CARREL_TRY(CheckImageName(options.name));
  CARREL_ASSIGN(WorkDir work, WorkDir::Make(root));
  auto imported = Importer(root, work.fd(), options).Run(path);
  // What did not come to an end may have left objects that no tree uses.
  if (!imported) work.LeaveForSweep();
  return imported;
}

}  // namespace carrel
