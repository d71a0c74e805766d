#include "rows.h"

namespace sqlrunner {

Outcome<std::unique_ptr<Rows>> Query(const std::string& dsn, const std::string& sql) {
  const size_t end = dsn.find("://");
  if (end == std::string::npos) return Fail(Exit::kArguments, "the data source name is not a URL");
  const std::string scheme = dsn.substr(0, std::min(end, dsn.find('+')));
  std::string rest = dsn.substr(end + 3);
  if (scheme == "sqlite") {
    const size_t slashes = rest.find_first_not_of('/');
    if (slashes == 0 || slashes == std::string::npos)
      return Fail(Exit::kArguments, "a SQLite data source is sqlite:///PATH");
    return QuerySqlite(rest.substr(slashes - 1), sql);
  }
  if (scheme == "postgresql" || scheme == "postgres")
    return QueryPostgres("postgresql://" + rest, sql);
  return Fail(Exit::kArguments, "databases of the kind \"" + scheme + "\" are not supported");
}

}  // namespace sqlrunner
