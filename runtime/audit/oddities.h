// What an auditor would want to be shown of single events.
#pragma once

#include <string>
#include <vector>

#include "audit/event.h"

namespace carrel {

inline constexpr const char* kOddName = "odd-name";            ///< controls, or not UTF-8
inline constexpr const char* kOddMemory = "writable-code";     ///< memory writable and executable
inline constexpr const char* kOddForeign = "foreign-abi";      ///< 32-bit or x32 numbers
inline constexpr const char* kOddProgram = "written-program";  ///< runs from where jobs can write
inline constexpr const char* kOddOutside = "outside";          ///< a file not below the job's root
inline constexpr const char* kOddPlace = "sensitive-place";    ///< a name that tells what is sought
inline constexpr const char* kOddMemoryOut = "memory-out";  ///< chosen by the kernel's OOM killer
inline constexpr const char* kOddNotHeld = "not-held";      ///< killed, for the log to stay whole

struct Oddity {
  const char* kind;
  std::string what;
};

/// Mostly none.
std::vector<Oddity> OdditiesOf(const AuditEvent& event);

}  // namespace carrel
