// Structures that arguments point to (data of kind kDataBytes), in words.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace carrel {

/// "{flags=O_RDONLY|O_CLOEXEC, mode=00, resolve=RESOLVE_BENEATH}": what `bytes`, the structure at
/// argument `arg` of call `nr`, say. "" where nothing is known of it. Missing members are zero, as
/// the kernel takes them. Safe to print.
std::string StructureText(uint32_t nr, const std::array<uint64_t, 6>& args, size_t arg,
                          std::string_view bytes);

}  // namespace carrel
