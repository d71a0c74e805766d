// Named places at which a test can kill or stop carrel. The program has an empty function here; the
// test program `carrel_faults` links tests/support/fault_point.cc in its stead.
#pragma once

namespace carrel {

/// `name`: "step-1" to "step-12" as a step begins, or another that the caller's code shows.
void FaultPoint(const char* name);

}  // namespace carrel
