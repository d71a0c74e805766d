#include "image/oci.h"

#include <algorithm>

#include "base/digest.h"

namespace carrel {
namespace {

constexpr size_t kMaxDescriptors = 1000;
constexpr const char* kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr const char* kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr const char* kDockerConfig = "application/vnd.docker.container.image.v1+json";
constexpr const char* kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip";

// Members that we don't use are other tools' business.
void AllowOthers(JsonObject& in, const Json& value) {
  if (!value.is_object()) return;
  for (const auto& [key, unused] : value.items()) (void)in.Any(key);
}

// A member that is absent, or null as docker writes it.
const Json* Member(const Json& value, const char* key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(key);
  return found == value.end() || found->is_null() ? nullptr : &*found;
}

// Text that goes into an execve or a record: anything but NUL.
Result<std::string> TextOf(const Json& value, const std::string& where) {
  if (!value.is_string()) return BadInput(where, "must be a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) return BadInput(where, "holds a NUL character");
  return text;
}

Result<std::vector<std::string>> TextsOf(const Json* value, const std::string& where) {
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (!value->is_array()) return BadInput(where, "must be a list of strings");
  for (const Json& item : *value) {
    CARREL_ASSIGN(std::string text, TextOf(item, where));
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<Descriptor> DecodeDescriptor(const Json& value, const std::string& where) {
  JsonObject in(value, where);
  Descriptor descriptor;
  descriptor.media_type = in.RequiredString("mediaType", 255);
  descriptor.digest = in.RequiredString("digest", 255);
  descriptor.size = static_cast<uint64_t>(in.RequiredInt("size", 0, INT64_MAX));
  if (!descriptor.digest.empty() && !IsSha256Digest(descriptor.digest))
    in.Problem("digest", "must be sha256: and 64 lower-case hexadecimal digits");
  if (const Json* platform = Member(value, "platform")) {
    JsonObject of(*platform, where + "/platform");
    descriptor.architecture = of.RequiredString("architecture", 64);
    descriptor.os = of.RequiredString("os", 64);
    descriptor.variant = of.String("variant", 64).value_or("");
    AllowOthers(of, *platform);
    in.Merge(of.Finish());
  }
  if (const Json* annotations = Member(value, "annotations")) {
    JsonObject of(*annotations, where + "/annotations");
    descriptor.ref_name = of.String("org.opencontainers.image.ref.name", 300).value_or("");
    descriptor.image_name = of.String("io.containerd.image.name", 300).value_or("");
    AllowOthers(of, *annotations);
    in.Merge(of.Finish());
  }
  AllowOthers(in, value);
  CARREL_TRY(in.Finish());
  return descriptor;
}

// The checks that an index and a manifest share.
Result<Json> DecodeDocument(const std::string& text, const std::string& media_type,
                            const std::string& where, const char* forbidden) {
  CARREL_ASSIGN(Json document, ParseJson(text, where, kMaxDocument));
  if (!document.is_object()) return BadInput(where, "must be an object");
  const Json* version = Member(document, "schemaVersion");
  if (version == nullptr || !version->is_number_integer() || *version != 2)
    return BadInput(where, "/schemaVersion must be 2");
  const Json* own = Member(document, "mediaType");
  if (own != nullptr && !media_type.empty() && *own != media_type)
    return BadInput(where, "its mediaType differs from the one of its descriptor");
  if (document.contains(forbidden) || document.contains("fsLayers"))
    return BadInput(where, "an index and a manifest at once");
  return document;
}

Result<void> DecodeEnvironment(const Json& config, const std::string& where, ImageConfig& out) {
  CARREL_ASSIGN(auto lines, TextsOf(Member(config, "Env"), where + "/config/Env"));
  for (const std::string& line : lines) {
    const size_t equals = line.find('=');
    if (equals == 0 || equals == std::string::npos)
      return BadInput(where + "/config/Env", "must hold NAME=VALUE strings");
    out.env[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return {};
}

Result<void> DecodeImageConfig(const Json& config, const std::string& where, ImageConfig& out) {
  CARREL_ASSIGN(out.entrypoint,
                TextsOf(Member(config, "Entrypoint"), where + "/config/Entrypoint"));
  CARREL_ASSIGN(out.cmd, TextsOf(Member(config, "Cmd"), where + "/config/Cmd"));
  CARREL_TRY(DecodeEnvironment(config, where, out));
  if (const Json* directory = Member(config, "WorkingDir")) {
    CARREL_ASSIGN(out.working_dir, TextOf(*directory, where + "/config/WorkingDir"));
  }
  const Json* labels = Member(config, "Labels");
  if (labels == nullptr) return {};
  if (!labels->is_object()) return BadInput(where + "/config/Labels", "must be an object");
  for (const auto& [key, value] : labels->items()) {
    CARREL_ASSIGN(out.labels[key], TextOf(value, where + "/config/Labels"));
  }
  return {};
}

}  // namespace

bool IsIndexType(std::string_view media_type) {
  return media_type == kOciIndex || media_type == kDockerIndex;
}

bool IsManifestType(std::string_view media_type) {
  return media_type == kOciManifest || media_type == kDockerManifest;
}

std::string LayerMediaType(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return std::string(kOciLayer) + "+gzip";
    case Compression::kZstd:
      return std::string(kOciLayer) + "+zstd";
    case Compression::kNone:
      break;
  }
  return kOciLayer;
}

Result<Compression> LayerCompression(const Descriptor& layer) {
  if (layer.media_type == kDockerLayer) return Compression::kGzip;
  for (Compression c : {Compression::kNone, Compression::kGzip, Compression::kZstd})
    if (layer.media_type == LayerMediaType(c)) return c;
  return BadInput(layer.digest, "a layer of the unknown type " + layer.media_type,
                  "Known are tar, tar+gzip and tar+zstd that come with the image");
}

Result<std::vector<Descriptor>> DecodeIndex(const std::string& text, const std::string& media_type,
                                            const std::string& where) {
  CARREL_ASSIGN(Json document, DecodeDocument(text, media_type, where, "layers"));
  const Json* manifests = Member(document, "manifests");
  if (manifests == nullptr || !manifests->is_array() || manifests->size() > kMaxDescriptors)
    return BadInput(where, "/manifests must be a list of at most 1000");
  std::vector<Descriptor> descriptors;
  for (size_t i = 0; i < manifests->size(); ++i) {
    CARREL_ASSIGN(auto descriptor,
                  DecodeDescriptor((*manifests)[i], where + "/manifests/" + std::to_string(i)));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

Result<Manifest> DecodeManifest(const std::string& text, const std::string& media_type,
                                const std::string& where) {
  CARREL_ASSIGN(Json document, DecodeDocument(text, media_type, where, "manifests"));
  const Json* config = Member(document, "config");
  const Json* layers = Member(document, "layers");
  if (config == nullptr) return BadInput(where, "/config is required");
  if (layers == nullptr || !layers->is_array() || layers->size() > kMaxLayers)
    return BadInput(where, "/layers must be a list of at most 512");
  Manifest manifest;
  CARREL_ASSIGN(manifest.config, DecodeDescriptor(*config, where + "/config"));
  if (manifest.config.media_type != kOciConfig && manifest.config.media_type != kDockerConfig)
    return BadInput(where, "/config has the unknown type " + manifest.config.media_type,
                    "It is an artifact of another kind, not a container image");
  for (size_t i = 0; i < layers->size(); ++i) {
    CARREL_ASSIGN(auto layer,
                  DecodeDescriptor((*layers)[i], where + "/layers/" + std::to_string(i)));
    CARREL_TRY(LayerCompression(layer));
    manifest.layers.push_back(std::move(layer));
  }
  return manifest;
}

Result<ConfigDocument> DecodeConfig(const std::string& text, const std::string& where) {
  CARREL_ASSIGN(Json document, ParseJson(text, where, kMaxDocument));
  JsonObject in(document, where);
  ConfigDocument out;
  const std::string architecture = in.RequiredString("architecture", 64);
  const std::string os = in.RequiredString("os", 64);
  if (const Json* created = Member(document, "created")) {
    CARREL_ASSIGN(out.config.created, TextOf(*created, where + "/created"));
    if (out.config.created.size() > 64) in.Problem("created", "longer than 64 bytes");
  }
  AllowOthers(in, document);
  CARREL_TRY(in.Finish());
  if (os != "linux" || architecture != "amd64")
    return BadInput(where, "the image is for " + os + "/" + architecture + ", not linux/amd64");
  const Json* rootfs = Member(document, "rootfs");
  const Json* type = rootfs == nullptr ? nullptr : Member(*rootfs, "type");
  if (type == nullptr || *type != "layers") return BadInput(where, "/rootfs/type must be layers");
  CARREL_ASSIGN(out.diff_ids, TextsOf(Member(*rootfs, "diff_ids"), where + "/rootfs/diff_ids"));
  for (const std::string& id : out.diff_ids)
    if (!IsSha256Digest(id)) return BadInput(where, "/rootfs/diff_ids: not a sha256 digest");
  if (const Json* config = Member(document, "config")) {
    if (!config->is_object()) return BadInput(where, "/config must be an object");
    CARREL_TRY(DecodeImageConfig(*config, where, out.config));
  }
  return out;
}

}  // namespace carrel
