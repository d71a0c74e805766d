// The URL of a database server, as testers write it on a command line.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace carrel {

struct DatabaseUrl {
  std::string user, password, host, database;
  int64_t port = 5432;
  std::string tls_mode = "verify-full";  ///< of the configuration
};

/// postgresql://USER:PASSWORD@HOST[:PORT]/NAME[?sslmode=MODE]; percent-encoded as libpq has it, and
/// an IPv6 address in brackets. Anything else is kBadInput, without a word of the URL in it.
Result<DatabaseUrl> ParseDatabaseUrl(const std::string& url);

}  // namespace carrel
