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

/// Reads `file` (an absolute path) or, when that is empty, `systemd_credential`, a name in
/// $CREDENTIALS_DIRECTORY. It holds the password alone when `user` is given, and USER:PASSWORD when
/// that is empty; line ends at its end don't count. kBadInput when it's no regular file, is
/// another's than root's (or this process's user's), is open to group or others in any way, or
/// holds something else. The password is never copied outside locked memory, and no message holds
/// any of the content.
Result<Credentials> LoadCredentials(const std::string& file, const std::string& systemd_credential,
                                    const std::string& user);

}  // namespace carrel::gateway
