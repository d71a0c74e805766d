#include "gateway/credentials.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel::gateway {
namespace {

constexpr size_t kMaxBytes = 4000;
constexpr char kSystemd[] = "systemd:";

Result<UniqueFd> OpenSource(const std::string& source) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  if (source.starts_with('/')) return OpenPath(source, kFlags);
  if (!source.starts_with(kSystemd))
    return BadInput("credentials", "neither an absolute path nor systemd:NAME: " + source);
  const char* directory = ::secure_getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || directory[0] != '/')
    return BadInput("credentials", "CREDENTIALS_DIRECTORY is not set: " + source,
                    "Start carrel from a unit with LoadCredential=");
  const std::string name = source.substr(sizeof kSystemd - 1);
  if (!IsSafeComponent(name)) return BadInput("credentials", "not the name of a credential");
  CARREL_ASSIGN(const UniqueFd dir, OpenPath(directory, O_PATH | O_DIRECTORY));
  return OpenBeneath(dir.get(), name, kFlags);
}

}  // namespace

Result<Credentials> LoadCredentials(const std::string& source, const std::string& user) {
  auto fd = OpenSource(source);
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.code != 0) error.kind = ErrorKind::kBadInput;
    if (error.where.empty()) error.where = source;
    return error;
  }
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0) return SysFault(source, "fstat");
  if (!S_ISREG(info.st_mode)) return BadInput(source, "the credentials are no regular file");
  if (info.st_uid != 0 && info.st_uid != ::geteuid())
    return BadInput(source, "the credentials belong to another user", "chown root FILE");
  if ((info.st_mode & 077) != 0)
    return BadInput(source, "the credentials are open to group or others", "chmod 0400 FILE");
  auto bytes = Secret::Read(fd->get(), kMaxBytes);
  if (!bytes) {
    Error error = std::move(bytes).error();
    error.where = source;
    return error;
  }
  Credentials credentials;
  credentials.user = user;
  std::string_view password = bytes->view();
  if (user.empty()) {
    const size_t colon = password.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return BadInput(source,
                      "there is no USER:PASSWORD in it, and the configuration names no user");
    credentials.user = password.substr(0, colon);
    password.remove_prefix(colon + 1);
  }
  if (password.empty()) return BadInput(source, "there is no password in it");
  CARREL_ASSIGN(credentials.password, Secret::Of(password));
  return credentials;
}

}  // namespace carrel::gateway
