// The documents of an OCI image, decoded: descriptors, indexes, manifests, configurations. Docker's
// schema 2 documents differ in media types only. Unknown members are allowed, as the specification
// demands; duplicate keys are not (base/json.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "image/image_store.h"
#include "image/tar_stream.h"

namespace carrel {

inline constexpr size_t kMaxDocument = 4u << 20;  ///< bytes of one JSON document
inline constexpr size_t kMaxLayers = 512;

inline constexpr const char* kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr const char* kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr const char* kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr const char* kOciLayer = "application/vnd.oci.image.layer.v1.tar";

struct Descriptor {
  std::string media_type;
  std::string digest;  ///< "sha256:..."
  uint64_t size = 0;
  std::string architecture, os, variant;  ///< of `platform`; empty when there is none
  std::string ref_name;                   ///< annotation org.opencontainers.image.ref.name
  std::string image_name;                 ///< annotation io.containerd.image.name

  std::string Hex() const { return digest.substr(7); }
  std::string BlobPath() const { return "blobs/sha256/" + Hex(); }
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;
};

struct ConfigDocument {
  ImageConfig config;
  std::vector<std::string> diff_ids;  ///< "sha256:..." of the uncompressed layers
};

bool IsIndexType(std::string_view media_type);
bool IsManifestType(std::string_view media_type);

/// kBadInput for a layer of an unknown type, or one that is not distributed with the image.
Result<Compression> LayerCompression(const Descriptor& layer);

/// "application/vnd.oci.image.layer.v1.tar", "...tar+gzip", "...tar+zstd".
std::string LayerMediaType(Compression compression);

/// `where` starts the place in errors. The document's own mediaType, if it has one, must be
/// `media_type` (if that is not empty), and it must not be two kinds of document at once
/// (CVE-2021-41190).
Result<std::vector<Descriptor>> DecodeIndex(const std::string& text, const std::string& media_type,
                                            const std::string& where);
Result<Manifest> DecodeManifest(const std::string& text, const std::string& media_type,
                                const std::string& where);
/// kBadInput unless the image is for linux on amd64.
Result<ConfigDocument> DecodeConfig(const std::string& text, const std::string& where);

}  // namespace carrel
