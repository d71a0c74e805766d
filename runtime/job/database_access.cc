#include "job/database_access.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"

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

}  // namespace

Result<DatabaseAccess> DescribeDatabase(const Decision& decision, const HostConfig& /*host*/) {
  DatabaseAccess access;
  if (!decision.database) return access;
  const DatabaseGrant& grant = *decision.database;
  if (grant.kind != "sqlite")
    return Fault("/databases/" + grant.name,
                 "this carrel cannot reach a database of the kind " + grant.kind);
  const std::string inside = "/database/" + grant.name + ".sqlite";
  access.binds.push_back({grant.path, inside});
  access.environment["DATABASE_URL"] = "sqlite://" + inside;
  return access;
}

Result<DatabaseAccess> OpenDatabase(const Decision& decision, const HostConfig& host) {
  CARREL_ASSIGN(DatabaseAccess access, DescribeDatabase(decision, host));
  if (decision.database) CARREL_TRY(CheckDatabaseFile(*decision.database));
  return access;
}

}  // namespace carrel
