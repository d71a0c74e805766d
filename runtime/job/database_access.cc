#include "job/database_access.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "gateway/credentials.h"

namespace carrel {
namespace {

// The file is there and the action will be able to read it.
Result<void> CheckDatabaseFile(const DatabaseGrant& grant) {
  const std::string where = "/databases/" + grant.name + "/path";
  auto file = OpenPath(grant.path, O_PATH | O_NOFOLLOW);
  if (!file) return SysFault(where, "the database file cannot be opened", file.error().code);
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) return SysFault(where, "fstat");
  if (!S_ISREG(info.st_mode)) return Fault(where, "is not a regular file");
  if ((info.st_mode & 0004) == 0)
    return Fault(where, "the action's unprivileged id cannot read the file",
                 "Give the file mode 0644, in a directory that only root can enter");
  return {};
}

gateway::TlsMode TlsModeOf(DatabaseTls::Mode mode) {
  switch (mode) {
    case DatabaseTls::Mode::kOff:
      return gateway::TlsMode::kDisable;
    case DatabaseTls::Mode::kRequire:
      return gateway::TlsMode::kRequire;
    case DatabaseTls::Mode::kVerifyCa:
      return gateway::TlsMode::kVerifyCa;
    case DatabaseTls::Mode::kVerifyFull:
      break;
  }
  return gateway::TlsMode::kVerifyFull;
}

Result<gateway::Upstream> UpstreamOf(const DatabaseGrant& grant, const DatabaseConfig& config) {
  gateway::Upstream upstream;
  upstream.name = grant.name;
  upstream.kind = config.kind;
  upstream.host = config.host;
  upstream.port = config.port;
  upstream.database = config.database;
  upstream.scheme = config.scheme;
  upstream.tls = TlsModeOf(config.tls.mode);
  upstream.ca_file = config.tls.ca_file;
  upstream.max_connections = static_cast<uint32_t>(config.max_connections);
  upstream.idle_seconds = static_cast<uint32_t>(config.idle_seconds);
  upstream.login_seconds = static_cast<uint32_t>(config.login_seconds);
  if (config.credentials.empty()) return upstream;
  CARREL_ASSIGN(
      gateway::Credentials credentials,
      gateway::LoadCredentials(config.credentials.file, config.credentials.systemd_credential,
                               config.credentials.user));
  upstream.user = std::move(credentials.user);
  upstream.password = std::move(credentials.password);
  // A relay is decided for only where permissions/plain-relay.json names the database.
  upstream.inject_real_credentials = config.kind == "relay";
  return upstream;
}

}  // namespace

Result<DatabaseAccess> DescribeDatabase(const Decision& decision, const HostConfig& /*host*/) {
  DatabaseAccess access;
  if (!decision.database) return access;
  const DatabaseGrant& grant = *decision.database;
  if (grant.kind != "sqlite") {
    access.environment["DATABASE_URL"] = grant.kind + "://127.0.0.1";  // the login is made later
    access.port = gateway::PortInside(grant.kind);
    return access;
  }
  const std::string inside = "/database/" + grant.name + ".sqlite";
  access.binds.push_back({grant.path, inside});
  access.environment["DATABASE_URL"] = "sqlite://" + inside;
  return access;
}

Result<DatabaseAccess> OpenDatabase(const Decision& decision, const HostConfig& host) {
  CARREL_ASSIGN(DatabaseAccess access, DescribeDatabase(decision, host));
  if (!decision.database) return access;
  const DatabaseGrant& grant = *decision.database;
  if (grant.kind == "sqlite") {
    CARREL_TRY(CheckDatabaseFile(grant));
    return access;
  }
  const auto configured = host.databases.find(grant.name);
  if (configured == host.databases.end())
    return Fault("/databases/" + grant.name, "is not in the configuration");
  CARREL_ASSIGN(gateway::Upstream upstream, UpstreamOf(grant, configured->second));
  CARREL_ASSIGN(access.gateway, gateway::Gateway::Prepare(std::move(upstream)));
  access.environment = access.gateway->environment();
  return access;
}

Result<void> CheckDatabase(const std::string& name, const DatabaseConfig& config) {
  DatabaseGrant grant;
  grant.name = name;
  grant.kind = config.kind;
  grant.path = config.path;
  if (grant.kind == "sqlite") return CheckDatabaseFile(grant);
  CARREL_ASSIGN(gateway::Upstream upstream, UpstreamOf(grant, config));
  CARREL_TRY(gateway::Gateway::Prepare(std::move(upstream)));
  return {};
}

Companion ServeDatabase(const DatabaseAccess& access, AuditLog& log) {
  Companion companion;
  gateway::Gateway* gateway = access.gateway.get();
  if (gateway == nullptr) return companion;
  const auto redactor = gateway->redactor();
  if (redactor != nullptr) log.Redact(redactor);
  const gateway::AppendRecord append = [&log, redactor](const std::string& kind,
                                                        const Json& members) {
    if (redactor == nullptr) return log.Append(kind, members);
    Json redacted = members;
    for (Json& member : redacted)
      if (member.is_string()) member = redactor->Redacted(member.get<std::string>());
    return log.Append(kind, redacted);
  };
  companion.open = [gateway](int pidfd, const std::string& processes) {
    return gateway->Open(pidfd, processes);
  };
  companion.poll_fd = gateway->poll_fd();
  companion.service = [gateway, append] { return gateway->Service(append); };
  companion.close = [gateway, append] { return gateway->Close(append); };
  return companion;
}

}  // namespace carrel
