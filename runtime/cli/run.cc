#include "cli/command.h"

namespace carrel {

int RunCommand(int, char**) { return PrintError(Fault("run", "not there yet")); }

}  // namespace carrel
