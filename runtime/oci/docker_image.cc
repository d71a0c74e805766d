#include "oci/docker_image.h"

#include "image/image_store.h"

namespace carrel {

Result<std::string> ResolveForDocker(const std::string& state_dir, const std::string& reference) {
  CARREL_ASSIGN(const ImageStore store, ImageStore::Open(state_dir));
  const size_t at = reference.find('@');
  const std::string named = at == std::string::npos ? reference : reference.substr(at + 1);
  for (const std::string& candidate :
       {named, named + ":latest", "sha256:" + named, "docker.io/library/" + named}) {
    auto image = store.Resolve(candidate);
    if (image) return image->digest;
    if (image.error().kind != ErrorKind::kBadInput) return std::move(image).error();
  }
  return BadInput("", "No such image: " + reference,
                  "carrel never pulls: `carrel image import` brings an image in");
}

std::map<std::string, std::string> ContainerLabels(const Image& image,
                                                   const std::map<std::string, std::string>& more) {
  std::map<std::string, std::string> labels = image.config.labels;
  for (const auto& [name, value] : more) labels[name] = value;
  return labels;
}

Result<OrderedJson> InspectImage(const std::string& state_dir, const std::string& reference) {
  CARREL_ASSIGN(const std::string digest, ResolveForDocker(state_dir, reference));
  CARREL_ASSIGN(const ImageStore store, ImageStore::Open(state_dir));
  CARREL_ASSIGN(const Image image, store.Resolve(digest));
  OrderedJson environment = OrderedJson::array(), repo_digests = OrderedJson::array();
  for (const auto& [name, value] : image.config.env) environment.push_back(name + "=" + value);
  for (const std::string& name : image.names)
    repo_digests.push_back(name.substr(0, name.rfind(':')) + "@" + image.digest);
  return OrderedJson{{"Id", image.config_digest},
                     {"RepoTags", image.names},
                     {"RepoDigests", repo_digests},
                     {"Created", image.config.created},
                     {"Architecture", "amd64"},
                     {"Os", "linux"},
                     {"Size", image.bytes},
                     {"Config",
                      {{"Env", environment},
                       {"Cmd", image.config.cmd},
                       {"Entrypoint", image.config.entrypoint},
                       {"WorkingDir", image.config.working_dir},
                       {"Labels", image.config.labels}}}};
}

}  // namespace carrel
