#include "image/select.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/fs.h"
#include "image/names.h"

namespace carrel {
namespace {

constexpr int kMaxIndexDepth = 4;

Result<std::string> ReadBlob(ImageSource& source, const Descriptor& descriptor) {
  if (descriptor.size > kMaxDocument)
    return BadInput(source.where() + ": " + descriptor.digest, "a document longer than 4 MiB");
  CARREL_ASSIGN(std::string text, source.ReadDocument(descriptor.BlobPath()));
  if (text.size() != descriptor.size)
    return BadInput(source.where() + ": " + descriptor.digest, "is " + std::to_string(text.size()) +
                                                                   " bytes, its descriptor says " +
                                                                   std::to_string(descriptor.size));
  if ("sha256:" + Sha256Hex(text) != descriptor.digest)
    return BadInput(source.where() + ": " + descriptor.digest, "has another digest",
                    "The input is damaged or was changed: fetch it again");
  return text;
}

// An image for other machines, or no image (an attestation says unknown/unknown).
bool IsOtherPlatform(const Descriptor& descriptor) {
  if (descriptor.os.empty() && descriptor.architecture.empty()) return false;
  return descriptor.os != "linux" || descriptor.architecture != "amd64";
}

std::string Listed(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (text.size() > 300) return text + ", ...";
    text += (text.empty() ? "" : ", ") + PrintableName(name);
  }
  return text;
}

class LayoutSelector {
 public:
  LayoutSelector(ImageSource& source, const std::string& ref) : source_(source), ref_(ref) {}

  Result<SelectedImage> Select() {
    CARREL_TRY(CheckLayoutFile());
    CARREL_ASSIGN(std::string text, source_.ReadDocument("index.json"));
    const std::string where = source_.where() + ": index.json";
    CARREL_ASSIGN(auto all, DecodeIndex(text, kOciIndex, where));
    CARREL_ASSIGN(auto chosen, Choose(all, where));
    for (int depth = 0; IsIndexType(chosen.front().media_type); ++depth) {
      if (depth == kMaxIndexDepth) return BadInput(where, "indexes nested deeper than 4");
      const std::string place = source_.where() + ": " + chosen.front().digest;
      CARREL_ASSIGN(std::string nested, ReadBlob(source_, chosen.front()));
      CARREL_ASSIGN(auto inner, DecodeIndex(nested, chosen.front().media_type, place));
      CARREL_ASSIGN(auto next, One(inner, place));
      chosen = {next};
    }
    return Load(chosen.front());
  }

 private:
  Result<void> CheckLayoutFile() {
    CARREL_ASSIGN(std::string text, source_.ReadDocument("oci-layout"));
    const std::string where = source_.where() + ": oci-layout";
    CARREL_ASSIGN(Json layout, ParseJson(text, where, kMaxDocument));
    if (!layout.is_object() || layout.value("imageLayoutVersion", Json()) != "1.0.0")
      return BadInput(where, "imageLayoutVersion must be \"1.0.0\"");
    return {};
  }

  // The names under which one image is listed at the top; all must mean the same one.
  Result<std::vector<Descriptor>> Choose(const std::vector<Descriptor>& all,
                                         const std::string& where) {
    std::vector<Descriptor> chosen;
    std::set<std::string> seen;
    for (const Descriptor& descriptor : all) {
      if (IsOtherPlatform(descriptor)) continue;
      if (!IsIndexType(descriptor.media_type) && !IsManifestType(descriptor.media_type)) continue;
      seen.insert(descriptor.ref_name);
      if (!descriptor.image_name.empty()) seen.insert(descriptor.image_name);
      if (ref_.empty() || ref_ == descriptor.ref_name || ref_ == descriptor.image_name)
        chosen.push_back(descriptor);
    }
    if (chosen.empty())
      return BadInput(where,
                      ref_.empty() ? "holds no image for linux/amd64"
                                   : "holds no image named " + PrintableName(ref_),
                      seen.empty() ? "" : "It holds: " + Listed(seen));
    for (const Descriptor& descriptor : chosen) {
      if (descriptor.digest != chosen.front().digest)
        return BadInput(where, "holds several images", "Choose one with --ref: " + Listed(seen));
      AddName(descriptor);
    }
    return chosen;
  }

  void AddName(const Descriptor& descriptor) {
    for (const std::string& name : {descriptor.image_name, descriptor.ref_name}) {
      if (name.empty() || !CheckImageName(name)) continue;
      if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
      return;
    }
  }

  Result<Descriptor> One(const std::vector<Descriptor>& all, const std::string& where) {
    const Descriptor* found = nullptr;
    for (const Descriptor& descriptor : all) {
      if (IsOtherPlatform(descriptor)) continue;
      if (!IsIndexType(descriptor.media_type) && !IsManifestType(descriptor.media_type)) continue;
      if (found != nullptr && found->digest != descriptor.digest)
        return BadInput(where, "holds several images for linux/amd64");
      found = &descriptor;
    }
    if (found == nullptr) return BadInput(where, "holds no image for linux/amd64");
    return *found;
  }

  Result<SelectedImage> Load(const Descriptor& descriptor) {
    SelectedImage image;
    image.names = names_;
    const std::string where = source_.where() + ": " + descriptor.digest;
    CARREL_ASSIGN(image.manifest, ReadBlob(source_, descriptor));
    image.manifest_digest = descriptor.digest;
    CARREL_ASSIGN(Manifest manifest, DecodeManifest(image.manifest, descriptor.media_type, where));
    CARREL_ASSIGN(image.config, ReadBlob(source_, manifest.config));
    image.config_digest = manifest.config.digest;
    CARREL_ASSIGN(image.document,
                  DecodeConfig(image.config, source_.where() + ": " + image.config_digest));
    for (Descriptor& layer : manifest.layers) image.layers.push_back({layer, layer.BlobPath()});
    return image;
  }

  ImageSource& source_;
  const std::string& ref_;
  std::vector<std::string> names_;
};

// One image of docker's manifest.json.
struct DockerEntry {
  std::string config;
  std::vector<std::string> tags;
  std::vector<std::string> layers;
};

Result<DockerEntry> DecodeDockerEntry(const Json& value, const std::string& where) {
  JsonObject in(value, where);
  DockerEntry entry;
  entry.config = in.RequiredString("Config", 512);
  if (!value.is_object() || !value.contains("RepoTags") || !value["RepoTags"].is_null())
    entry.tags = in.Strings("RepoTags", 512).value_or(std::vector<std::string>());
  entry.layers = in.Strings("Layers", 512).value_or(std::vector<std::string>());
  if (value.is_object())
    for (const auto& [key, unused] : value.items()) (void)in.Any(key);
  if (entry.layers.size() > kMaxLayers) in.Problem("Layers", "more than 512 layers");
  CARREL_TRY(in.Finish());
  return entry;
}

Result<DockerEntry> ChooseDockerEntry(ImageSource& source, const std::string& ref) {
  const std::string where = source.where() + ": manifest.json";
  CARREL_ASSIGN(std::string text, source.ReadDocument("manifest.json"));
  CARREL_ASSIGN(Json list, ParseJson(text, where, kMaxDocument));
  if (list.is_object() && list.contains("schemaVersion"))
    return BadInput(source.where(), "is a `dir:` directory of skopeo's, not an OCI layout",
                    "Convert it: skopeo copy dir:" + source.where() + " oci:LAYOUT:TAG, and give " +
                        "the directory LAYOUT");
  if (!list.is_array() || list.empty()) return BadInput(where, "must be a list of images");
  std::set<std::string> seen;
  std::vector<DockerEntry> chosen;
  for (size_t i = 0; i < list.size(); ++i) {
    CARREL_ASSIGN(auto entry, DecodeDockerEntry(list[i], where + "/" + std::to_string(i)));
    seen.insert(entry.tags.begin(), entry.tags.end());
    if (ref.empty() || std::find(entry.tags.begin(), entry.tags.end(), ref) != entry.tags.end())
      chosen.push_back(std::move(entry));
  }
  if (chosen.empty())
    return BadInput(where, "holds no image named " + PrintableName(ref),
                    "It holds: " + Listed(seen));
  if (chosen.size() > 1)
    return BadInput(where, "holds several images", "Choose one with --ref: " + Listed(seen));
  return std::move(chosen.front());
}

// docker names the configuration by its digest: "<hex>.json" or "blobs/sha256/<hex>".
Result<void> CheckConfigName(const std::string& name, const std::string& hex,
                             const std::string& where) {
  std::string base = name.substr(name.rfind('/') + 1);
  if (base.ends_with(".json")) base.resize(base.size() - 5);
  if (IsLowerHex(base, 64) && base != hex)
    return BadInput(where + ": " + PrintableName(name), "has another digest than its name says",
                    "The input is damaged or was changed: fetch it again");
  return {};
}

Result<SelectedImage::Layer> DockerLayer(ImageSource& source, int work, const std::string& member) {
  CARREL_ASSIGN(SourceFile file, source.Fetch(member, INT64_MAX));
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(work, file.work_name, O_RDONLY));
  CARREL_ASSIGN(Compression compression, DetectCompression(fd.get()));
  SelectedImage::Layer layer;
  layer.descriptor.media_type = LayerMediaType(compression);
  layer.descriptor.digest = "sha256:" + file.sha256;
  layer.descriptor.size = file.size;
  layer.member = member;
  return layer;
}

OrderedJson DescriptorJson(const std::string& type, const std::string& digest, uint64_t size) {
  return {{"mediaType", type}, {"digest", digest}, {"size", size}};
}

Result<SelectedImage> SelectDocker(ImageSource& source, int work, const std::string& ref) {
  CARREL_ASSIGN(DockerEntry entry, ChooseDockerEntry(source, ref));
  SelectedImage image;
  image.names = entry.tags;
  CARREL_ASSIGN(image.config, source.ReadDocument(entry.config));
  const std::string hex = Sha256Hex(image.config);
  CARREL_TRY(CheckConfigName(entry.config, hex, source.where()));
  image.config_digest = "sha256:" + hex;
  CARREL_ASSIGN(image.document,
                DecodeConfig(image.config, source.where() + ": " + PrintableName(entry.config)));
  OrderedJson manifest = {
      {"schemaVersion", 2},
      {"mediaType", kOciManifest},
      {"config", DescriptorJson(kOciConfig, image.config_digest, image.config.size())},
      {"layers", OrderedJson::array()}};
  for (const std::string& member : entry.layers) {
    CARREL_ASSIGN(auto layer, DockerLayer(source, work, member));
    manifest["layers"].push_back(DescriptorJson(layer.descriptor.media_type,
                                                layer.descriptor.digest, layer.descriptor.size));
    image.layers.push_back(std::move(layer));
  }
  image.manifest = manifest.dump();
  image.manifest_digest = "sha256:" + Sha256Hex(image.manifest);
  return image;
}

}  // namespace

Result<SelectedImage> SelectImage(ImageSource& source, const std::string& ref) {
  Result<SelectedImage> image = Error{};
  if (source.Has("oci-layout") && source.Has("index.json"))
    image = LayoutSelector(source, ref).Select();
  else if (source.Has("manifest.json"))
    image = SelectDocker(source, source.work(), ref);
  else
    return BadInput(source.where(), "is neither an OCI layout nor a docker-archive",
                    "It has neither oci-layout and index.json nor manifest.json");
  if (!image) return image;
  if (image->layers.size() != image->document.diff_ids.size())
    return BadInput(source.where(), "has " + std::to_string(image->layers.size()) +
                                        " layers, its configuration " + "says " +
                                        std::to_string(image->document.diff_ids.size()));
  return image;
}

}  // namespace carrel
