#include "gateway/credentials.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel::gateway {
namespace {

constexpr size_t kMaxBytes = 4000;

Result<UniqueFd> OpenSource(const std::string& file, const std::string& systemd_credential) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  if (!file.empty()) return OpenPath(file, kFlags);
  const char* directory = ::secure_getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || directory[0] != '/')
    return BadInput("credentials", "CREDENTIALS_DIRECTORY is not set",
                    "Start carrel from a unit with LoadCredential=");
  if (!IsSafeComponent(systemd_credential))
    return BadInput("credentials", "not the name of a credential: " + systemd_credential);
  CARREL_ASSIGN(const UniqueFd dir, OpenPath(directory, O_PATH | O_DIRECTORY));
  return OpenBeneath(dir.get(), systemd_credential, kFlags);
}

Result<Credentials> Load(int fd, const std::string& user) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SysFault("", "fstat");
  if (!S_ISREG(info.st_mode)) return BadInput("", "the credentials are no regular file");
  if (info.st_uid != 0 && info.st_uid != ::geteuid())
    return BadInput("", "the credentials belong to another user", "chown root FILE");
  if ((info.st_mode & 077) != 0)
    return BadInput("", "the credentials are open to group or others", "chmod 0400 FILE");
  CARREL_ASSIGN(const Secret bytes, Secret::Read(fd, kMaxBytes));
  Credentials credentials;
  credentials.user = user;
  std::string_view password = bytes.view();
  password = password.substr(0, password.find_last_not_of("\r\n") + 1);
  if (password.find('\0') != std::string_view::npos)
    return BadInput("", "there is a NUL byte in it");
  if (user.empty()) {
    const size_t colon = password.find(':');
    if (colon == 0 || colon == std::string_view::npos)
      return BadInput("", "there is no USER:PASSWORD in it, and the configuration names no user");
    credentials.user = password.substr(0, colon);
    password.remove_prefix(colon + 1);
  }
  if (password.empty()) return BadInput("", "there is no password in it");
  CARREL_ASSIGN(credentials.password, Secret::Of(password));
  return credentials;
}

}  // namespace

Result<Credentials> LoadCredentials(const std::string& file, const std::string& systemd_credential,
                                    const std::string& user) {
  const std::string where = file.empty() ? "credential " + systemd_credential : file;
  auto fd = OpenSource(file, systemd_credential);
  auto loaded = fd ? Load(fd->get(), user) : std::move(fd).error();
  if (loaded) return loaded;
  Error error = std::move(loaded).error();
  error.kind = ErrorKind::kBadInput;
  if (error.where != "credentials") error.where = where;
  return error;
}

}  // namespace carrel::gateway
