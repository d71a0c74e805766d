// The granted database as the gateway sees it, and the credentials of one job.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/secret.h"

namespace carrel::gateway {

/// How the connection to the database is protected.
enum class TlsMode {
  kDisable,     ///< plain
  kRequire,     ///< encrypted, the server's certificate not checked
  kVerifyCa,    ///< and its certificate chain
  kVerifyFull,  ///< and its name
};

/// How the action proves its credentials of one job to the gateway, over the job's own loopback.
enum class ClientLogin { kScramSha256, kMd5, kCleartext };

/// The one database that a job may reach. Resolved and loaded on the host before the start.
struct Upstream {
  std::string name;     ///< in the configuration
  std::string kind;     ///< "postgresql", "mssql" or "relay"
  std::string host;     ///< as configured: a name or an address; TLS checks it
  std::string scheme;   ///< relay: of DATABASE_URL
  std::string address;  ///< numeric; pinned
  uint16_t port = 0;
  std::string database;  ///< the only one that a client may ask for
  TlsMode tls = TlsMode::kVerifyFull;
  std::string ca_file;  ///< PEM; empty: the host's own store
  bool cleartext_password_without_tls = false;

  std::string user;  ///< the real credentials: never inside
  Secret password;

  ClientLogin client_login = ClientLogin::kScramSha256;
  uint32_t max_connections = 256;  ///< of one job at once
  uint32_t idle_seconds = 14'400;  ///< without a byte and without a statement that runs
  uint32_t connect_seconds = 10;   ///< for connecting to the database
  uint32_t login_seconds = 60;     ///< for all up to the end of the login
  /// The real credentials go into DATABASE_URL, for a protocol that carrel cannot read. Only where
  /// the policy names the database in permissions/plain-relay.json.
  bool inject_real_credentials = false;
};

/// What the action is given: valid for one job, one gateway and its lifetime.
struct JobLogin {
  std::string user;
  std::string password;
};

/// Random ones.
Result<JobLogin> MakeJobLogin();

/// The numeric address of `host`: itself, or what the host's resolver says first. kFault when it
/// cannot be resolved.
Result<std::string> ResolveAddress(const std::string& host);

}  // namespace carrel::gateway
