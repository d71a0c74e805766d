// Waiting for a database: for the end of its maintenance, and for a place among the jobs that may
// have it at once.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/host_config.h"

namespace carrel {

/// One of `max_jobs` places of a database, held as long as the descriptor is open, whatever becomes
/// of its holder; empty when all are taken.
Result<UniqueFd> TryDatabasePlace(const std::string& state, const std::string& name,
                                  int64_t max_jobs);

/// Returns when the job may have the database `name`: with a place of it, or with none where any
/// number may. The configuration is read again while it waits, so that an operator's switch is
/// seen; each time `waiting` is told why, a second apart. kRefused (code EAGAIN) when the database
/// is switched to refusing; kFault (ECANCELED) when a signal cancels the wait.
Result<UniqueFd> AwaitDatabase(const HostConfig& host, const std::string& name,
                               const std::function<void(const std::string& why)>& waiting);

}  // namespace carrel
