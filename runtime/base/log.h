// Operational messages of carrel itself, to stderr (journald reads the priority prefix). Not the
// audit log, and not an action's log.
#pragma once

#include <spdlog/spdlog.h>

namespace carrel {

/// Sends spdlog's default logger to stderr; `verbose` shows debug messages. Call once, in main.
void InitLog(bool verbose);

}  // namespace carrel
