#include "image/build_layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"

namespace carrel {
namespace {

constexpr char kOci[] = "application/vnd.oci.image.";

std::string Architecture() {
  struct utsname names;
  if (::uname(&names) < 0) return "unknown";
  const std::string machine = names.machine;
  return machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
}

std::string Created(int64_t epoch) {
  return Rfc3339(epoch * 1'000'000'000).substr(0, 19) + "Z";  // whole seconds
}

Json Descriptor(const std::string& kind, const std::string& digest, uint64_t size) {
  return {{"mediaType", kOci + kind}, {"digest", digest}, {"size", size}};
}

// Stores `text` under its digest and returns its descriptor.
Result<Json> WriteBlob(int blobs, const std::string& kind, const std::string& text) {
  const std::string hex = Sha256Hex(text);
  CARREL_TRY(WriteFileAtomic(blobs, hex, text, 0644));
  return Descriptor(kind, "sha256:" + hex, text.size());
}

}  // namespace

std::string ImageConfigJson(const Recipe& recipe, const Layer& layer) {
  const ImageConfig& config = recipe.config;
  std::vector<std::string> env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  for (const auto& [name, value] : config.env) env.push_back(name + "=" + value);
  std::map<std::string, std::string> labels = config.labels;
  labels["carrel.recipe"] = "sha256:" + recipe.digest;
  labels["org.opencontainers.image.title"] = recipe.name;
  Json process = {{"Env", env}, {"WorkingDir", config.working_dir}, {"Labels", labels}};
  if (!config.entrypoint.empty()) process["Entrypoint"] = config.entrypoint;
  if (!config.cmd.empty()) process["Cmd"] = config.cmd;
  const std::string created = Created(recipe.epoch);
  const Json whole = {
      {"architecture", Architecture()},
      {"os", "linux"},
      {"created", created},
      {"config", process},
      {"rootfs", {{"type", "layers"}, {"diff_ids", {layer.diff_id}}}},
      {"history", {{{"created", created}, {"created_by", "carrel image build " + recipe.name}}}}};
  return whole.dump();
}

Result<std::string> WriteLayout(int layout, const Recipe& recipe, const Layer& layer) {
  CARREL_ASSIGN(UniqueFd blobs, MakeDirsBeneath(layout, "blobs/sha256", 0755));
  if (::renameat(layout, "layer", blobs.get(), layer.digest.substr(7).c_str()) < 0)
    return SysFault("image layout", "rename of the layer");
  CARREL_ASSIGN(Json config,
                WriteBlob(blobs.get(), "config.v1+json", ImageConfigJson(recipe, layer)));
  const Json manifest = {
      {"schemaVersion", 2},
      {"mediaType", std::string(kOci) + "manifest.v1+json"},
      {"config", config},
      {"layers", Json::array({Descriptor("layer.v1.tar+zstd", layer.digest, layer.size)})}};
  CARREL_ASSIGN(Json entry, WriteBlob(blobs.get(), "manifest.v1+json", manifest.dump()));
  const std::string digest = entry["digest"];
  // Tools that read layouts look for the tag alone ("v1"); ours takes the whole name.
  entry["annotations"] = {{"org.opencontainers.image.ref.name", recipe.name}};
  const Json index = {{"schemaVersion", 2},
                      {"mediaType", std::string(kOci) + "index.v1+json"},
                      {"manifests", Json::array({entry})}};
  CARREL_TRY(WriteFileAtomic(layout, "index.json", index.dump(), 0644));
  CARREL_TRY(WriteFileAtomic(layout, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})", 0644));
  return digest;
}

}  // namespace carrel
