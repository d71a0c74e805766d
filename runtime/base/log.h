// Operational messages of carrel itself, to stderr (journald reads the priority prefix). Not the
// audit log, and not an action's log.
#pragma once

#include <string>

namespace carrel {

/// Sends spdlog's default logger to stderr; `verbose` shows debug messages. Call once, in main.
void InitLog(bool verbose);

/// What went wrong besides the answer that a command prints.
void LogError(const std::string& message);

}  // namespace carrel
