// Any call with any arguments, as it is shown.
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "audit/render.h"
#include "audit/structures.h"
#include "audit/syscall_names.h"
#include "audit/tables/flag_names.h"
#include "audit/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace carrel;
  uint32_t nr = 0;
  std::array<uint64_t, 6> args{};
  if (size < sizeof nr + sizeof args) return 0;
  std::memcpy(&nr, data, sizeof nr);
  std::memcpy(args.data(), data + sizeof nr, sizeof args);
  nr %= 512;
  for (size_t i = 0; i < 7; ++i) (void)ArgumentText(nr, i, args);
  (void)AsksWritableExecutable(nr, args);
  (void)ArgumentCount(nr);
  (void)SyscallName(nr, (args[0] & 1) != 0);
  const std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (size_t i = 0; i < 6; ++i) (void)StructureText(nr, args, i, rest);
  (void)SocketAddress(rest);
  (void)Printable(rest);
  (void)Utf8(rest);
  return 0;
}
