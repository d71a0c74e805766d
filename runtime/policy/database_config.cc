#include "policy/database_config.h"

#include <algorithm>
#include <set>

#include "policy/config_decode.h"
#include "policy/names.h"

namespace carrel {
namespace {

using config_decode::DecodePath;

constexpr std::pair<const char*, DatabaseTls::Mode> kTlsModes[] = {
    {"off", DatabaseTls::Mode::kOff},
    {"require", DatabaseTls::Mode::kRequire},
    {"verify-ca", DatabaseTls::Mode::kVerifyCa},
    {"verify-full", DatabaseTls::Mode::kVerifyFull}};

constexpr std::pair<const char*, Maintenance> kMaintenance[] = {
    {"off", Maintenance::kOff}, {"wait", Maintenance::kWait}, {"refuse", Maintenance::kRefuse}};

// A member whose text is one of a few names.
template <typename Value, size_t n>
void DecodeChoice(JsonObject& in, const std::string& key,
                  const std::pair<const char*, Value> (&choices)[n], Value& value) {
  auto text = in.String(key, 32);
  if (!text) return;
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (*text == name) {
      value = choice;
      return;
    }
    names += (names.empty() ? "\"" : ", \"") + std::string(name) + "\"";
  }
  in.Problem(key, "must be one of " + names);
}

template <typename Value, size_t n>
std::string NameOf(const std::pair<const char*, Value> (&choices)[n], Value value) {
  for (const auto& [name, choice] : choices)
    if (choice == value) return name;
  return "";
}

void DecodeTls(JsonObject& in, DatabaseTls& tls) {
  const Json* value = in.Any("tls");
  if (value == nullptr) return;
  JsonObject members(*value, in.PointerTo("tls"));
  DecodeChoice(members, "mode", kTlsModes, tls.mode);
  DecodePath(members, "ca_file", tls.ca_file);
  const bool verifies =
      tls.mode == DatabaseTls::Mode::kVerifyCa || tls.mode == DatabaseTls::Mode::kVerifyFull;
  if (!verifies && members.Has("ca_file"))
    members.Problem("ca_file", "is given, but this mode verifies nothing");
  in.Merge(members.Finish());
}

void DecodeCredentials(JsonObject& in, const std::string& kind, CredentialSource& source) {
  const Json* value = in.Any("credentials");
  if (value == nullptr) {
    // What a relay's client says to its server is between the two.
    if (kind != "relay") in.Problem("credentials", "is required");
    return;
  }
  JsonObject members(*value, in.PointerTo("credentials"));
  DecodePath(members, "file", source.file);
  source.user = members.String("user", 128).value_or("");
  source.systemd_credential = members.String("systemd_credential", 128).value_or("");
  if (members.Has("systemd_credential") && !IsName(source.systemd_credential))
    members.Problem("systemd_credential", "is not a name");
  if (members.Has("file") == members.Has("systemd_credential"))
    members.Problem("file", "or systemd_credential is required, and not both");
  in.Merge(members.Finish());
}

bool IsScheme(const std::string& text) {
  return !text.empty() && text[0] >= 'a' && text[0] <= 'z' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+';
         });
}

bool IsHost(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':' || c == '_';
  });
}

void DecodeServer(JsonObject& in, DatabaseConfig& database) {
  database.host = in.RequiredString("host", 255);
  if (in.Has("host") && !IsHost(database.host))
    in.Problem("host", "must be the name or the address of a host");
  int64_t usual = database.kind == "postgresql" ? 5432 : 1433;
  if (database.kind == "relay") {
    if (!in.Has("port")) in.Problem("port", "is required");
    database.scheme = in.RequiredString("scheme", 32);
    if (in.Has("scheme") && !IsScheme(database.scheme))
      in.Problem("scheme", "must be the beginning of a URL such as \"trino\"");
  } else {
    DecodeTls(in, database.tls);
  }
  database.port = static_cast<uint16_t>(in.Int("port", 1, 65535).value_or(usual));
  database.database = in.String("database", 128).value_or("");
  DecodeCredentials(in, database.kind, database.credentials);
  if (const Json* value = in.Any("limits")) {
    JsonObject limits(*value, in.PointerTo("limits"));
    auto take = [&](const char* key, int64_t most, int64_t& number) {
      number = limits.Int(key, 1, most).value_or(number);
    };
    take("connections", 16'384, database.max_connections);
    take("idle_seconds", 31ll * 86'400, database.idle_seconds);
    take("login_seconds", 600, database.login_seconds);
    in.Merge(limits.Finish());
  }
}

// What carrel, the sandbox or the loader inside decide is not a database's to set.
bool IsDatabaseVariable(const std::string& name) {
  static const std::set<std::string> kOthers = {"DATABASE_URL",
                                                "TEMP_DATABASE_NAME",
                                                "EHRQL_PERMISSIONS",
                                                "EHRQL_ISOLATE_USER_CODE",
                                                "HOME",
                                                "PATH",
                                                "GCONV_PATH",
                                                "LOCPATH",
                                                "GLIBC_TUNABLES",
                                                "MALLOC_TRACE",
                                                "RESOLV_HOST_CONF",
                                                "OPENSAFELY_BACKEND"};
  return IsEnvironmentName(name) && !kOthers.contains(name) && !name.starts_with("LD_") &&
         !name.starts_with("CARREL_");
}

}  // namespace

bool IsServedKind(const std::string& kind) {
  // A kind joins when the gateway can serve it.
  static const std::set<std::string> kServed = {"sqlite", "postgresql", "mssql", "relay"};
  return kServed.contains(kind);
}

Result<DatabaseConfig> DecodeDatabaseConfig(const Json& value, const std::string& pointer) {
  JsonObject in(value, pointer);
  DatabaseConfig database;
  database.kind = in.RequiredString("kind", 32);
  if (database.kind == "sqlite") {
    if (!in.Has("path")) in.Problem("path", "is required");
    DecodePath(in, "path", database.path);
  } else if (database.kind == "postgresql" || database.kind == "mssql" ||
             database.kind == "relay") {
    DecodeServer(in, database);
  } else if (in.Has("kind")) {
    in.Problem("kind", "must be \"sqlite\", \"postgresql\", \"mssql\" or \"relay\"");
  }
  database.temporary_database = in.String("temporary_database", 128).value_or("");
  if (in.Has("temporary_database") && !IsName(database.temporary_database))
    in.Problem("temporary_database", "is not a name");
  database.environment = in.StringMap("environment").value_or(database.environment);
  for (const auto& [name, text] : database.environment)
    if (!IsDatabaseVariable(name))
      in.Problem("environment", "\"" + name + "\" is not a variable for a database to set");
  database.max_jobs = in.Int("max_jobs", 1, 100'000).value_or(0);
  DecodeChoice(in, "maintenance", kMaintenance, database.maintenance);
  CARREL_TRY(in.Finish());
  return database;
}

namespace {

void AddServer(const DatabaseConfig& database, OrderedJson& json) {
  json["host"] = database.host;
  json["port"] = database.port;
  json["database"] = database.database;
  if (database.kind == "relay") {
    json["scheme"] = database.scheme;
  } else {
    OrderedJson tls = {{"mode", NameOf(kTlsModes, database.tls.mode)}};
    if (!database.tls.ca_file.empty()) tls["ca_file"] = database.tls.ca_file;
    json["tls"] = std::move(tls);
  }
  const CredentialSource& source = database.credentials;
  if (!source.file.empty()) json["credentials"] = {{"file", source.file}};
  if (!source.systemd_credential.empty())
    json["credentials"] = {{"systemd_credential", source.systemd_credential}};
  if (!source.user.empty()) json["credentials"]["user"] = source.user;
  json["limits"] = {{"connections", database.max_connections},
                    {"idle_seconds", database.idle_seconds},
                    {"login_seconds", database.login_seconds}};
}

}  // namespace

OrderedJson ToJson(const DatabaseConfig& database) {
  OrderedJson json;
  json["kind"] = database.kind;
  if (database.kind == "sqlite")
    json["path"] = database.path;
  else
    AddServer(database, json);
  if (!database.temporary_database.empty())
    json["temporary_database"] = database.temporary_database;
  if (!database.environment.empty()) json["environment"] = database.environment;
  if (database.max_jobs > 0) json["max_jobs"] = database.max_jobs;
  json["maintenance"] = NameOf(kMaintenance, database.maintenance);
  return json;
}

}  // namespace carrel
