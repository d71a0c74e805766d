#include "audit/syscall_names.h"

#include <algorithm>
#include <iterator>

namespace carrel {
namespace {

struct SyscallEntry {
  uint32_t nr;
  const char* name;
};

#include "syscall_tables.inc"

constexpr uint32_t kX32Bit = 0x40000000;

template <size_t N>
const char* Find(const SyscallEntry (&names)[N], uint32_t nr) {
  for (const SyscallEntry& entry : names)
    if (entry.nr == nr) return entry.name;
  return nullptr;
}

}  // namespace

std::string SyscallName(uint32_t nr, bool compat) {
  // Of a negative number the bit says nothing.
  const bool x32 = !compat && (nr & kX32Bit) != 0 && static_cast<int32_t>(nr) >= 0;
  if (x32) nr &= ~kX32Bit;
  const char* name = compat ? Find(kNames32, nr) : Find(kNames64, nr);
  std::string prefix = compat ? "i386:" : x32 ? "x32:" : "";
  if (name != nullptr) return prefix + name;
  return prefix + "syscall_" + std::to_string(static_cast<int32_t>(nr));
}

std::optional<uint32_t> SyscallNumber(std::string_view name) {
  for (const auto& entry : kNames64)
    if (name == entry.name) return entry.nr;
  return std::nullopt;
}

}  // namespace carrel
