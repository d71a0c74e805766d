// Names of syscall numbers, from the kernel headers of the build and tables/newer_calls.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace carrel {

/// "openat"; "x32:openat" and "i386:open" for the foreign interfaces; "syscall_999" when the
/// headers do not know it.
std::string SyscallName(uint32_t nr, bool compat);

/// The x86-64 number of a name.
std::optional<uint32_t> SyscallNumber(std::string_view name);

}  // namespace carrel
