#include "cli/command.h"

namespace carrel {

int ExecCommand(int, char**) { return PrintError(Fault("exec", "not there yet")); }

}  // namespace carrel
