// From an input to the one image in it that is meant: index, manifest, configuration and the list
// of layers, with every digest of them checked but the layers' own.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/import_options.h"
#include "image/oci.h"
#include "image/source.h"

namespace carrel {

struct SelectedImage {
  std::vector<std::string> names;  ///< as the input has them, unchecked
  std::string manifest;            ///< the bytes; their digest is the image's identity
  std::string manifest_digest;     ///< "sha256:..."
  std::string config;
  std::string config_digest;
  ConfigDocument document;
  struct Layer {
    Descriptor descriptor;
    std::string member;  ///< its name in the source
  };
  std::vector<Layer> layers;  ///< as many as document.diff_ids
};

/// Takes an OCI layout where there is one, else docker's manifest.json. `ref` chooses by reference
/// name (or by docker's tag) when there are several images. Nested indexes are followed four deep,
/// to the image for linux/amd64.
///
/// A docker-archive has no manifest: one is written for it, the same for the same archive.
Result<SelectedImage> SelectImage(ImageSource& source, const std::string& ref);

}  // namespace carrel
