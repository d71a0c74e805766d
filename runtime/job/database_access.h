// How the one database that a job was granted appears inside: mounts, environment, and the gateway.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "audit/audit_log.h"
#include "base/result.h"
#include "gateway/gateway.h"
#include "job/sandbox.h"
#include "plan/launch_plan.h"
#include "policy/decide.h"
#include "policy/host_config.h"

namespace carrel {

/// Nothing, when no database is granted.
struct DatabaseAccess {
  std::vector<BindSpec> binds;
  std::map<std::string, std::string> environment;  ///< DATABASE_URL and what belongs to it
  std::unique_ptr<gateway::Gateway> gateway;       ///< to a server; none for a file
  uint16_t port = 0;                               ///< where a gateway listens inside; 0: a file
};

/// What the plan needs for the decision's grant; touches nothing. kFault for a kind that this
/// carrel does not serve.
Result<DatabaseAccess> DescribeDatabase(const Decision& decision, const HostConfig& host);

/// Step 6, before the plan: the granted database is there and the action will reach it; the error
/// says what to do. For a server: its real credentials are read, its address is resolved and the
/// job's own login is made. The job keeps the result as long as its action runs.
Result<DatabaseAccess> OpenDatabase(const Decision& decision, const HostConfig& host);

/// As OpenDatabase, for nobody: whether a job that is granted the database can have it. Nothing is
/// contacted but the resolver.
Result<void> CheckDatabase(const std::string& name, const DatabaseConfig& config);

/// What serves the action while it runs: the gateway, whose records go to `log`. Empty without one.
Companion ServeDatabase(const DatabaseAccess& access, AuditLog& log);

}  // namespace carrel
