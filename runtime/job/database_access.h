// How the one database that a job was granted appears inside: mounts and environment.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/launch_plan.h"
#include "policy/decide.h"
#include "policy/host_config.h"

namespace carrel {

/// Nothing, when no database is granted.
struct DatabaseAccess {
  std::vector<BindSpec> binds;
  std::map<std::string, std::string> environment;  ///< DATABASE_URL and what belongs to it
};

/// What the plan needs for the decision's grant; touches nothing. kFault for a kind that this
/// carrel does not serve.
Result<DatabaseAccess> DescribeDatabase(const Decision& decision, const HostConfig& host);

/// Step 6, before the plan: the granted database is there and the action will reach it; the error
/// says what to do. The place at which a gateway to a server is opened.
Result<DatabaseAccess> OpenDatabase(const Decision& decision, const HostConfig& host);

}  // namespace carrel
