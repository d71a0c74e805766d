// `databases` of the host configuration: where a database that a grant names is, and how carrel
// reaches it. Who may reach it is policy (permissions/databases.json).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// How the server proves who it is.
struct DatabaseTls {
  enum class Mode {
    kOff,         ///< plain text: the network between host and server is trusted
    kRequire,     ///< encrypted, and whoever answers is believed
    kVerifyCa,    ///< a certificate of the CA
    kVerifyFull,  ///< ... that names the server (the default)
  };
  Mode mode = Mode::kVerifyFull;
  std::string ca_file;  ///< PEM; empty: the host's own list
};

/// Where the real user and password are: USER:PASSWORD, or the password alone when `user` is given,
/// in a file that only root can read or in a systemd credential. Exactly one is named, or none.
struct CredentialSource {
  std::string user;
  std::string file;                ///< absolute path, owned by root, no access for others
  std::string systemd_credential;  ///< a name in CREDENTIALS_DIRECTORY
  bool empty() const { return file.empty() && systemd_credential.empty(); }
};

enum class Maintenance {
  kOff,
  kWait,    ///< jobs that want the database wait until it is off
  kRefuse,  ///< they are refused, with Decision::try_again
};

struct DatabaseConfig {
  std::string kind;  ///< "sqlite", "postgresql", "mssql" or "relay"
  std::string path;  ///< sqlite: absolute host path of the file
  // The others, which are reached through the gateway:
  std::string host;  ///< name or address; resolved on the host, never inside
  uint16_t port = 0;
  std::string database;  ///< at the server; may be empty for relay
  std::string scheme;    ///< relay: of DATABASE_URL ("trino")
  DatabaseTls tls;       ///< postgresql, mssql
  CredentialSource credentials;
  int64_t max_connections = 256;  ///< of one job, at once
  int64_t idle_seconds = 14'400;  ///< without a byte and without a statement that runs
  int64_t login_seconds = 60;     ///< for connecting and logging in
  // All kinds:
  std::string temporary_database;                  ///< TEMP_DATABASE_NAME of jobs, or empty
  std::map<std::string, std::string> environment;  ///< more variables of jobs that are granted it
  int64_t max_jobs = 0;                            ///< that have it at once; 0: any number
  Maintenance maintenance = Maintenance::kOff;
};

/// The kinds that this carrel can serve. A job that is granted a database of another kind is
/// refused.
bool IsServedKind(const std::string& kind);

/// One member of `databases`. All problems at once (kBadInput).
Result<DatabaseConfig> DecodeDatabaseConfig(const Json& value, const std::string& pointer);

OrderedJson ToJson(const DatabaseConfig& database);

}  // namespace carrel
