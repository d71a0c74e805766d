#include "oci/docker_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cctype>
#include <cstdlib>

#include "base/fs.h"

namespace carrel {
namespace {

// The mount's source, beneath one of the permitted directories, with no link on the way.
Result<UniqueFd> OpenBindSource(const HostConfig& host, const std::string& source) {
  for (const std::string& prefix : host.docker.bind_prefixes) {
    if (source != prefix && !source.starts_with(prefix + "/")) continue;
    CARREL_ASSIGN(const UniqueFd root, OpenPath(prefix, O_PATH | O_DIRECTORY));
    const std::string below = source.size() > prefix.size() ? source.substr(prefix.size() + 1) : "";
    auto found = OpenBeneath(root.get(), below, O_PATH | O_NOFOLLOW);
    if (!found)
      return BadInput("--mount",
                      "invalid mount config: bind source path does not exist, or a link "
                      "is on the way: " +
                          source);
    return found;
  }
  return Refused("--mount", "the configuration permits no bind of " + source,
                 "List a directory above it in /docker/bind_prefixes");
}

}  // namespace

Result<std::pair<uint32_t, uint32_t>> ParseDockerUser(const std::string& text) {
  char* end = nullptr;
  const unsigned long uid = strtoul(text.c_str(), &end, 10);
  unsigned long gid = uid;
  const bool first = end != text.c_str() && std::isdigit(static_cast<unsigned char>(text[0])) != 0;
  if (first && *end == ':') {
    const char* second = end + 1;
    gid = std::isdigit(static_cast<unsigned char>(*second)) != 0 ? strtoul(second, &end, 10) : gid;
  }
  if (!first || *end != '\0' || uid > 0x7fffffff || gid > 0x7fffffff)
    return BadInput("--user", "must be UID or UID:GID, in numbers: " + text);
  return std::pair{static_cast<uint32_t>(uid), static_cast<uint32_t>(gid)};
}

// What is mounted is what was checked: another container that can write above the source could
// put a link in its place meanwhile.
Result<void> AddDockerMount(const HostConfig& host, const std::string& user,
                            const ContainerMount& mount, LaunchRequest& request,
                            std::vector<UniqueFd>& sources) {
  if (!IsAbsoluteNormalPath(mount.target) || mount.target == "/")
    return BadInput("--mount", "the target must be an absolute path: " + mount.target);
  CARREL_ASSIGN(UniqueFd opened, OpenBindSource(host, mount.source));
  const int source = sources.emplace_back(std::move(opened)).get();
  if (mount.read_only) {
    request.binds.push_back({mount.source, mount.target, source});
    return {};
  }
  struct stat info {};
  if (::fstat(source, &info) != 0) return SysFault(mount.source, "fstat");
  if (!S_ISDIR(info.st_mode))
    return BadInput("--mount", "a writable bind must be a directory: " + mount.source);
  std::pair<uint32_t, uint32_t> owner{info.st_uid, info.st_gid};
  if (!user.empty()) {
    CARREL_ASSIGN(owner, ParseDockerUser(user));
  }
  request.writable.push_back(
      {.target = mount.target, .upper = mount.source, .upper_fd = source, .disk_owner = owner});
  return {};
}

}  // namespace carrel
