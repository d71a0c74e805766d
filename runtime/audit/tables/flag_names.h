// Names of flags and constants, from tables that the build makes of the kernel's headers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace carrel {

/// The groups of tables/groups.txt: kOpenFlags, kProtection, kSignal...
enum class FlagGroup : uint8_t {
#define CARREL_FLAG_GROUP(name, kind) k##name,
#include "audit/tables/flag_groups.inc"
#undef CARREL_FLAG_GROUP
};

/// "O_WRONLY|O_CREAT", "SEEK_END". Bits without a name are added in hexadecimal ("O_CREAT|0x8");
/// of a group of single values, a value without a name is "".
std::string FlagText(FlagGroup group, uint64_t value);

/// What argument `i` (0 to 5) of an x86-64 call says: flags and constants by name, modes in octal,
/// signals, descriptors that have a name ("AT_FDCWD"). "" for an argument that is a plain number, a
/// pointer, or that the call does not have; show that one as a number. Some arguments mean what
/// others make of them (fcntl), so all are given.
std::string ArgumentText(uint32_t nr, size_t i, const std::array<uint64_t, 6>& args);

/// How many arguments the call has, or 6 when that is not known.
size_t ArgumentCount(uint32_t nr);

/// Does the call (mmap, mprotect, pkey_mprotect, shmat) make memory writable and executable at a
/// time?
bool AsksWritableExecutable(uint32_t nr, const std::array<uint64_t, 6>& args);

}  // namespace carrel
