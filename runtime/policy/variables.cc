#include "policy/variables.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "policy/names.h"

namespace carrel {

bool IsReservedVariable(const std::string& name) {
  static const std::set<std::string> kReserved = {"DATABASE_URL",
                                                  "TEMP_DATABASE_NAME",
                                                  "PRESTO_TLS_CERT",
                                                  "PRESTO_TLS_KEY",
                                                  "HOME",
                                                  "PATH",
                                                  "EMIS_ORGANISATION_HASH",
                                                  "EHRQL_ISOLATE_USER_CODE",
                                                  "GCONV_PATH",
                                                  "LOCPATH",
                                                  "GLIBC_TUNABLES",
                                                  "MALLOC_TRACE",
                                                  "RESOLV_HOST_CONF"};
  return kReserved.contains(name) || name.starts_with("LD_") || name.starts_with("CARREL_");
}

bool IsReservedBesideADatabase(const std::string& name) {
  static const std::set<std::string> kHarmless = {"PYTHONUNBUFFERED", "PYTHONHASHSEED"};
  static const std::set<std::string> kNames = {"BASH_ENV", "SHELLOPTS", "BASHOPTS"};
  // Of interpreters, of database clients, and of the TLS libraries below them.
  constexpr const char* kPrefixes[] = {"EHRQL_", "PYTHON", "PERL5", "RUBY",   "JAVA", "_JAVA",
                                       "JDK_",   "NODE_",  "R_",    "PG",     "ODBC", "FREETDS",
                                       "TDS",    "SQLITE", "SSL",   "OPENSSL"};
  if (kHarmless.contains(name)) return false;
  return kNames.contains(name) || Lower(name).ends_with("_proxy") ||
         std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](const char* prefix) { return name.starts_with(prefix); });
}

bool IsReservedForTools(const std::string& name, const std::string& value) {
  return name == "DATABASE_URL" || name == "EHRQL_PERMISSIONS" ||
         (name == "EHRQL_ISOLATE_USER_CODE" && value != "always") || name.starts_with("CARREL_") ||
         name.starts_with("LD_");
}

}  // namespace carrel
