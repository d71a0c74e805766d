#include "cli/command.h"

namespace carrel {

int DoctorCommand(int, char**) { return PrintError(Fault("doctor", "not there yet")); }

}  // namespace carrel
