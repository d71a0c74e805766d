// Where the real credentials of a database come from: a file that only root can read, or systemd's
// CREDENTIALS_DIRECTORY.
#pragma once

#include <string>

#include "base/result.h"
#include "gateway/secret.h"

namespace carrel::gateway {

struct Credentials {
  std::string user;
  Secret password;
};

/// `source` is an absolute path, or "systemd:NAME" for NAME in $CREDENTIALS_DIRECTORY. The file
/// holds the password alone (then `user` must be given), or "USER:PASSWORD" when `user` is empty.
/// Refused when it's no regular file, is another's than this process's user or root, or is open to
/// group or others in any way. No message holds any of its content.
Result<Credentials> LoadCredentials(const std::string& source, const std::string& user);

}  // namespace carrel::gateway
