// Docker's commands on images and volumes, and the few about itself.
#include "base/clock.h"
#include "cli/docker_commands.h"
#include "cli/docker_output.h"
#include "image/image_store.h"
#include "oci/docker_flags.h"
#include "oci/docker_image.h"

namespace carrel {

// Nothing is ever fetched: an image that was imported is "pulled", another is an error.
Result<int> DockerPull(const HostConfig& host, const DockerArguments& arguments) {
  bool quiet = false;
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"quiet", SwitchFlag(quiet)}, {"q", SwitchFlag(quiet)}}, false));
  if (names.size() != 1) return BadInput("", "\"docker pull\" requires exactly 1 argument.");
  CARREL_TRY(ResolveForDocker(host.state, names[0]));
  printf("%s\n", names[0].c_str());
  return 0;
}

Result<int> DockerImageInspect(const HostConfig& host, const DockerArguments& arguments) {
  std::string format;
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"format", TextFlag(format)}, {"f", TextFlag(format)}}, false));
  return InspectEach(names, format,
                     [&](const std::string& name) { return InspectImage(host.state, name); });
}

Result<int> DockerTag(const HostConfig& host, const DockerArguments& arguments) {
  CARREL_ASSIGN(const DockerArguments names, ParseDockerFlags(arguments, {}, false));
  if (names.size() != 2) return BadInput("", "\"docker tag\" requires exactly 2 arguments.");
  CARREL_ASSIGN(const std::string digest, ResolveForDocker(host.state, names[0]));
  CARREL_ASSIGN(ImageStore store, ImageStore::Open(host.state));
  const bool tagged = names[1].rfind(':') != std::string::npos &&
                      names[1].find('/', names[1].rfind(':')) == std::string::npos;
  CARREL_TRY(store.Tag(digest, tagged ? names[1] : names[1] + ":latest"));
  return 0;
}

namespace {

OrderedJson ImageRow(const Image& image, const std::string& name, bool truncate) {
  const size_t colon = name.rfind(':');
  const std::string& digest = image.config_digest;
  char size[32];
  snprintf(size, sizeof size, "%.3gMB", static_cast<double>(image.bytes) / 1e6);
  return {{"ID", truncate ? digest.substr(7, 12) : digest},
          {"Repository", name.empty() ? "<none>" : name.substr(0, colon)},
          {"Tag", name.empty() ? "<none>" : name.substr(colon + 1)},
          {"Digest", image.digest},
          {"CreatedAt", image.config.created},
          {"CreatedSince", image.config.created.substr(0, 10)},
          {"Size", size}};
}

}  // namespace

Result<int> DockerImages(const HostConfig& host, const DockerArguments& arguments) {
  bool quiet = false, no_trunc = false, all = false;
  std::string format;
  CARREL_ASSIGN(const DockerArguments names, ParseDockerFlags(arguments,
                                                              {{"quiet", SwitchFlag(quiet)},
                                                               {"q", SwitchFlag(quiet)},
                                                               {"all", SwitchFlag(all)},
                                                               {"a", SwitchFlag(all)},
                                                               {"no-trunc", SwitchFlag(no_trunc)},
                                                               {"format", TextFlag(format)}},
                                                              false));
  CARREL_ASSIGN(const ImageStore store, ImageStore::Open(host.state));
  CARREL_ASSIGN(const std::vector<Image> images, store.List());
  std::vector<OrderedJson> rows;
  for (const Image& image : images) {
    std::vector<std::string> listed = image.names;
    if (listed.empty()) listed.emplace_back();
    for (const std::string& name : listed) {
      const bool wanted = names.empty() || name == names[0] || name.starts_with(names[0] + ":");
      if (wanted) rows.push_back(ImageRow(image, name, !no_trunc));
    }
  }
  return PrintRows(rows, quiet ? "{{.ID}}" : format,
                   {"Repository", "Tag", "ID", "CreatedSince", "Size"},
                   {{"ID", "IMAGE ID"},
                    {"Repository", "REPOSITORY"},
                    {"Tag", "TAG"},
                    {"Digest", "DIGEST"},
                    {"CreatedAt", "CREATED AT"},
                    {"CreatedSince", "CREATED"},
                    {"Size", "SIZE"}});
}

Result<int> DockerRemoveImage(const HostConfig& host, const DockerArguments& arguments) {
  bool force = false;
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"force", SwitchFlag(force)}, {"f", SwitchFlag(force)}}, false));
  if (names.empty()) return BadInput("", "\"docker rmi\" requires at least 1 argument.");
  CARREL_ASSIGN(ImageStore store, ImageStore::Open(host.state));
  for (const std::string& name : names) {
    CARREL_ASSIGN(const std::string digest, ResolveForDocker(host.state, name));
    // A name loses that name; an id goes with all of its names.
    const bool by_name = store.Resolve(name).has_value() && !name.starts_with("sha256:");
    CARREL_TRY(store.Remove(by_name ? name : digest));
    printf("%s: %s\n", by_name ? "Untagged" : "Deleted", name.c_str());
  }
  return 0;
}

// carrel has no volumes: the workspace is a directory of the agent's, bound.
Result<int> DockerVolumes(const HostConfig&, const DockerArguments& arguments) {
  bool quiet = false;
  std::string format, filter;
  CARREL_TRY(ParseDockerFlags(arguments,
                              {{"quiet", SwitchFlag(quiet)},
                               {"q", SwitchFlag(quiet)},
                               {"format", TextFlag(format)},
                               {"filter", TextFlag(filter)},
                               {"f", TextFlag(filter)}},
                              false));
  return PrintRows({}, quiet ? "{{.Name}}" : format, {"Driver", "Name"},
                   {{"Driver", "DRIVER"},
                    {"Labels", "LABELS"},
                    {"Links", "LINKS"},
                    {"Mountpoint", "MOUNTPOINT"},
                    {"Name", "VOLUME NAME"},
                    {"Scope", "SCOPE"},
                    {"Size", "SIZE"}});
}

Result<int> DockerRemoveVolume(const HostConfig&, const DockerArguments& arguments) {
  bool force = false;
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"force", SwitchFlag(force)}, {"f", SwitchFlag(force)}}, false));
  if (names.empty()) return BadInput("", "\"docker volume rm\" requires at least 1 argument.");
  if (force) return 0;
  return BadInput("", "get " + names[0] + ": no such volume");
}

Result<int> DockerVersion(const HostConfig&, const DockerArguments&) {
  printf("carrel %s, answering as docker\n", CARREL_VERSION);
  return 0;
}

}  // namespace carrel
