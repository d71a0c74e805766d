#include "image/image_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/digest.h"
#include "base/fs.h"
#include "image/import.h"
#include "image/layout.h"
#include "image/names.h"
#include "image/record.h"
#include "image/verify.h"

namespace carrel {
namespace {

Result<UniqueFd> OpenRoot(const std::string& path) {
  return OpenPath(path, O_RDONLY | O_DIRECTORY);
}

Error NoSuchImage(const std::string& reference) {
  return BadInput(
      PrintableName(reference), "no such image",
      "`carrel image list` shows what there is; `carrel image import` and `build` add one");
}

// All names, as file names, with the record each leads to.
Result<std::vector<std::pair<std::string, std::string>>> AllNames(int root) {
  CARREL_ASSIGN(UniqueFd dir, OpenBeneath(root, "names", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(auto files, ListDir(dir.get()));
  std::vector<std::pair<std::string, std::string>> names;
  for (const std::string& file : files)
    names.emplace_back(FileToName(file), RecordOfLink(dir.get(), file));
  return names;
}

// A name is taken as it is written: "x:v1" never means "docker.io/library/x:v1" by itself, because
// a policy that names an image must not get another one. But tools write the long form, so the
// error says which names end in what was asked for.
Error NoSuchName(const std::vector<std::pair<std::string, std::string>>& names,
                 const std::string& reference) {
  Error error = NoSuchImage(reference);
  std::string longer, first;
  for (const auto& [name, hex] : names) {
    const std::string_view bare = std::string_view(name).substr(0, name.find(':'));
    if (!name.ends_with("/" + reference) && !bare.ends_with("/" + reference)) continue;
    longer += (longer.empty() ? "" : ", ") + name;
    if (first.empty()) first = name;
  }
  if (longer.empty()) return error;
  error.hint = "There is " + longer + "; `carrel image tag " + first + " " +
               (reference.find(':') == std::string::npos ? reference + first.substr(first.find(':'))
                                                         : reference) +
               "` gives it the short name";
  return error;
}

bool HasRecord(int root, const std::string& hex) {
  return !hex.empty() && ::faccessat(root, ("manifests/" + hex + ".json").c_str(), F_OK, 0) == 0;
}

}  // namespace

Result<ImageStore> ImageStore::Open(const std::string& state_dir) {
  ImageStore store(state_dir + "/images");
  CARREL_ASSIGN(UniqueFd root, OpenStoreRoot(store.root_));
  CARREL_TRY(SweepLeftovers(root.get(), false));
  return store;
}

Result<ImageStore> ImageStore::OpenExisting(const std::string& state_dir) {
  auto root = OpenRoot(state_dir + "/images");
  if (root) return Open(state_dir);
  if (root.error().code != ENOENT) return std::move(root).error();
  return BadInput(
      state_dir, "there are no images in this state directory",
      "`carrel image build` and `carrel image import` make them; --state names another");
}

Result<Image> ImageStore::Import(const std::string& path, const std::string& name) {
  ImportOptions options;
  options.name = name;
  return Import(path, options);
}

Result<Image> ImageStore::Import(const std::string& path, const ImportOptions& options) {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  // After a power failure an object may have its name and not its content: before anything is
  // linked to objects, those of dead imports go.
  CARREL_TRY(SweepLeftovers(root.get(), true));
  CARREL_ASSIGN(UniqueFd lock, LockStore(root.get(), LockKind::kShared));
  auto imported = ImportImage(root.get(), path, options);
  if (imported) {
    CARREL_ASSIGN(Image image, ReadImage(root.get(), imported->hex));
    image.given = std::move(imported->given);
    return image;
  }
  lock.reset();
  (void)SweepLeftovers(root.get(), false);  // the import's own error is the one to tell
  return std::move(imported).error();
}

Result<Image> ImageStore::ReadImage(int root, const std::string& hex) const {
  const std::string file = "manifests/" + hex + ".json";
  auto fd = OpenBeneath(root, file, O_RDONLY);
  if (!fd) {
    if (fd.error().code == ENOENT) return NoSuchImage("sha256:" + hex);
    return std::move(fd).error();
  }
  CARREL_ASSIGN(std::string text, ReadFd(fd->get(), 16u << 20));
  CARREL_ASSIGN(Image image, DecodeRecord(text, root_ + "/" + file));
  if (image.digest != "sha256:" + hex)
    return Fault(root_ + "/" + file, "the record is another image's");
  image.rootfs = root_ + "/rootfs/" + hex;
  CARREL_ASSIGN(auto names, AllNames(root));
  for (auto& [name, record] : names)
    if (record == hex) image.names.push_back(std::move(name));
  return image;
}

Result<std::string> ImageStore::FindByBareName(int root, const std::string& name) const {
  CARREL_ASSIGN(auto names, AllNames(root));
  std::string found, all;
  for (const auto& [full, hex] : names) {
    if (!full.starts_with(name + ":") || !HasRecord(root, hex)) continue;
    all += (all.empty() ? "" : ", ") + full;
    if (!found.empty() && found != hex) found = "several";
    if (found.empty()) found = hex;
  }
  if (found == "several")
    return BadInput(name, "several images have this name", "Choose one: " + all);
  if (found.empty()) return NoSuchName(names, name);
  return found;
}

Result<std::string> ImageStore::FindHex(int root, const std::string& reference) const {
  if (IsSha256Digest(reference)) {
    const std::string hex = reference.substr(7);
    if (HasRecord(root, hex)) return hex;
    const std::string by_config = RecordOfLink(root, "configs/" + hex);
    if (HasRecord(root, by_config)) return by_config;
    return NoSuchImage(reference);
  }
  if (IsImageNameWithoutTag(reference)) return FindByBareName(root, reference);
  CARREL_TRY(CheckImageName(reference));
  const std::string hex = RecordOfLink(root, "names/" + NameToFile(reference));
  if (HasRecord(root, hex)) return hex;
  CARREL_ASSIGN(const auto names, AllNames(root));
  return NoSuchName(names, reference);
}

Result<Image> ImageStore::Resolve(const std::string& reference) const {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  CARREL_ASSIGN(std::string hex, FindHex(root.get(), reference));
  return ReadImage(root.get(), hex);
}

Result<UniqueFd> ImageStore::Hold(const Image& image) const {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  const std::string path =
      "rootfs/" + image.digest.substr(std::min<size_t>(7, image.digest.size()));
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(root.get(), path, O_RDONLY | O_DIRECTORY));
  struct stat info {};
  // Whoever removes the image holds the lock until the tree is gone.
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 || ::fstat(fd.get(), &info) != 0 ||
      info.st_nlink == 0)
    return BadInput(image.digest, "the image is being removed");
  return fd;
}

Result<std::vector<Image>> ImageStore::List() const {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  CARREL_ASSIGN(UniqueFd dir, OpenBeneath(root.get(), "manifests", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(auto records, ListDir(dir.get()));
  std::vector<Image> images;
  for (const std::string& record : records) {
    if (!record.ends_with(".json") || !IsLowerHex(record.substr(0, 64), 64)) continue;
    auto image = ReadImage(root.get(), record.substr(0, 64));
    if (image)
      images.push_back(std::move(*image));
    else if (image.error().kind != ErrorKind::kBadInput)  // else removed meanwhile
      return std::move(image).error();
  }
  std::sort(images.begin(), images.end(), [](const Image& a, const Image& b) {
    return std::tie(a.names, a.digest) < std::tie(b.names, b.digest);
  });
  return images;
}

Result<std::vector<std::string>> ImageStore::Verify(const std::string& reference) const {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  CARREL_ASSIGN(UniqueFd lock, LockStore(root.get(), LockKind::kShared));
  CARREL_ASSIGN(std::string hex, FindHex(root.get(), reference));
  CARREL_ASSIGN(Image image, ReadImage(root.get(), hex));
  return VerifyImage(root.get(), image);
}

Result<void> ImageStore::Tag(const std::string& reference, const std::string& name) {
  CARREL_TRY(CheckImageName(name));
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  CARREL_ASSIGN(UniqueFd lock, LockStore(root.get(), LockKind::kShared));
  CARREL_ASSIGN(std::string hex, FindHex(root.get(), reference));
  CARREL_ASSIGN(WorkDir work, WorkDir::Make(root.get()));
  return PointAtRecord(root.get(), work.fd(), "names/" + NameToFile(name), hex);
}

Result<void> ImageStore::Remove(const std::string& reference) {
  CARREL_ASSIGN(UniqueFd root, OpenRoot(root_));
  CARREL_ASSIGN(UniqueFd lock, LockStore(root.get(), LockKind::kExclusive));
  CARREL_ASSIGN(std::string hex, FindHex(root.get(), reference));
  CARREL_ASSIGN(Image image, ReadImage(root.get(), hex));
  const bool named = !IsSha256Digest(reference);
  if (named && image.names.size() > 1) {
    if (reference.find(':') == std::string::npos)
      return BadInput(reference, "the image has several names", "Say which, with its tag");
    if (::unlinkat(root.get(), ("names/" + NameToFile(reference)).c_str(), 0) != 0)
      return SysFault(reference, "unlink");
    return Sweep(root.get());
  }
  return RemoveImage(root.get(), image);
}

Result<void> ImageStore::RemoveImage(int root, const Image& image) {
  const std::string hex = image.digest.substr(7);
  auto tree = OpenBeneath(root, "rootfs/" + hex, O_RDONLY | O_DIRECTORY);
  if (tree && ::flock(tree->get(), LOCK_EX | LOCK_NB) != 0)
    return Refused(image.digest, "a job runs in this image", "Remove it when the job has ended");
  // The record first: from here on the image does not exist, and the rest is a sweep's work, this
  // one's or, after a crash, the next one's (the work directory tells it).
  CARREL_ASSIGN(WorkDir work, WorkDir::Make(root));
  work.LeaveForSweep();
  if (::unlinkat(root, ("manifests/" + hex + ".json").c_str(), 0) != 0)
    return SysFault(image.digest, "unlink");
  const std::string config = "configs/" + image.config_digest.substr(7);
  if (RecordOfLink(root, config) == hex) {
    // Another image may have the same configuration (its layers compressed otherwise).
    CARREL_ASSIGN(auto others, List());
    for (const Image& other : others)
      if (other.config_digest == image.config_digest)
        CARREL_TRY(PointAtRecord(root, work.fd(), config, other.digest.substr(7)));
  }
  return Sweep(root);
}

}  // namespace carrel
