#include "cli/command.h"

namespace carrel {

int AuditCommand(int, char**) { return PrintError(Fault("audit", "not there yet")); }

}  // namespace carrel
