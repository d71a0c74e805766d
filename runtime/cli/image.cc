#include "cli/command.h"

namespace carrel {

int ImageCommand(int, char**) { return PrintError(Fault("image", "not there yet")); }

}  // namespace carrel
