// The image store: what was imported, by digest, each as one read-only root filesystem.
//
//   auto store = ImageStore::Open("/var/lib/carrel");
//   auto image = store->Resolve("python:v2");
//   auto rootfs = store->Hold(*image);   // keep it open while a job runs in it
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/import_options.h"

namespace carrel {

/// The part of the OCI image configuration that a start needs.
struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::map<std::string, std::string> env;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string created;  ///< RFC 3339, or empty
};

/// A name that an import gave to an image.
struct GivenName {
  std::string name;
  std::string digest_before;  ///< of the image that had the name until then; "" when none
};

struct Image {
  std::string digest;              ///< "sha256:..." of the OCI manifest: the identity of the image
  std::string config_digest;       ///< "sha256:..." of the configuration: docker's image id
  std::vector<std::string> names;  ///< "python:v2"
  ImageConfig config;
  std::string rootfs;       ///< host path of the flattened tree; never written after import
  std::string tree_digest;  ///< "sha256:..." of the listing of the tree (tree.h)
  uint64_t bytes = 0;       ///< apparent size of the tree
  uint64_t entries = 0;     ///< paths in the tree
  size_t layers = 0;
  std::string imported;          ///< RFC 3339
  Weakened weakened;             ///< what the import was told to take away
  std::vector<GivenName> given;  ///< by Import only: the names of this import
};

class ImageStore {
 public:
  /// Opens (and makes, when missing) the store under `<state_dir>/images`. Removes what
  /// half-finished imports have left. Cheap: reads no image.
  static Result<ImageStore> Open(const std::string& state_dir);

  /// The same for whoever only looks: makes nothing. kBadInput when there is no store.
  static Result<ImageStore> OpenExisting(const std::string& state_dir);

  /// Imports an OCI layout (directory or tar) or a docker-archive under `name` ("" keeps the names
  /// in it). Safe to call from several processes at once. kBadInput for a corrupt or hostile image.
  /// A name that another image has moves to this one.
  Result<Image> Import(const std::string& path, const std::string& name);
  Result<Image> Import(const std::string& path, const ImportOptions& options);

  /// By "name:tag", "name" (":latest" is not assumed: the one tag, or an error that lists them),
  /// manifest digest or config digest ("sha256:..."). kBadInput when there is none; a name is taken
  /// as it is written, but the error says which longer names end in it ("docker.io/library/x:v1"
  /// for "x:v1"). Fast: one small file is read; the tree is not verified (see Verify).
  Result<Image> Resolve(const std::string& reference) const;

  /// Opens the image's rootfs and keeps it from Remove while the descriptor is open.
  Result<UniqueFd> Hold(const Image& image) const;

  Result<std::vector<Image>> List() const;

  /// Recomputes every digest, from the blobs and from the flattened tree. Each finding is a line;
  /// none is a whole image.
  Result<std::vector<std::string>> Verify(const std::string& reference) const;

  Result<void> Tag(const std::string& reference, const std::string& name);

  /// Removes a name; with the last name, or a digest, the image and what only it used. kRefused
  /// while a job holds it.
  Result<void> Remove(const std::string& reference);

 private:
  explicit ImageStore(std::string root) : root_(std::move(root)) {}

  Result<Image> ReadImage(int root, const std::string& hex) const;
  Result<std::string> FindHex(int root, const std::string& reference) const;
  Result<std::string> FindByBareName(int root, const std::string& name) const;
  Result<void> RemoveImage(int root, const Image& image);

  std::string root_;  // "<state>/images"
};

}  // namespace carrel
