#include "audit/tables/flag_names.h"

#include <linux/prctl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cstdio>

#include "audit/tables/call_arguments.h"
#include "audit/tables/flag_table.h"

extern "C" {
#define CARREL_FLAG_GROUP(name, kind) extern const carrel_flag carrel_flags_##name[];
#include "audit/tables/flag_groups.inc"
#undef CARREL_FLAG_GROUP
}

namespace carrel {
namespace {

using tables::CallArguments;

constexpr uint64_t kModeBits = 0xffff;  // umode_t

enum class GroupKind : uint8_t { bits, value };

struct Group {
  const carrel_flag* table;
  GroupKind kind;
};

const Group kGroups[] = {
#define CARREL_FLAG_GROUP(name, kind) {carrel_flags_##name, GroupKind::kind},
#include "audit/tables/flag_groups.inc"
#undef CARREL_FLAG_GROUP
};

std::string Hex(uint64_t value) {
  char text[20];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string Octal(uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "0%llo", static_cast<unsigned long long>(value));
  return text;
}

void Add(std::string& text, const std::string& part) {
  if (part.empty()) return;
  if (!text.empty()) text += '|';
  text += part;
}

std::string ValueText(const carrel_flag* table, uint64_t value) {
  // Arguments of this kind are ints: what lies above is not looked at by the kernel.
  for (; table->name != nullptr; ++table)
    if (static_cast<uint32_t>(table->value) == static_cast<uint32_t>(value)) return table->name;
  return "";
}

// Names for the bits of `value`, those of several bits first (O_SYNC before O_DSYNC); what is left
// in hexadecimal.
std::string BitsText(const carrel_flag* table, uint64_t value) {
  std::string text;
  for (int bits = 64; bits > 0 && value != 0; --bits)
    for (const carrel_flag* flag = table; flag->name != nullptr; ++flag)
      if (std::popcount(flag->value) == bits && (value & flag->value) == flag->value) {
        Add(text, flag->name);
        value &= ~flag->value;
      }
  if (value != 0) Add(text, Hex(value));
  if (!text.empty()) return text;
  for (; table->name != nullptr; ++table)
    if (table->value == 0) return table->name;
  return "0";
}

// The two low bits of open's flags are a number.
std::string OpenText(uint64_t value) {
  const carrel_flag* table = kGroups[static_cast<size_t>(FlagGroup::kOpenFlags)].table;
  std::string text;
  if ((value & 3) != 3) text = ValueText(table, value & 3);
  const uint64_t rest = (value & 3) != 3 ? value & ~uint64_t{3} : value;
  if (rest != 0) Add(text, BitsText(table, rest));
  return text;
}

std::string SignalText(uint64_t value) {
  constexpr int32_t kFirstRealTime = 32, kLast = 64;
  const auto number = static_cast<int32_t>(value);
  if (number >= kFirstRealTime && number <= kLast)
    return "SIGRT_" + std::to_string(number - kFirstRealTime);
  std::string name = FlagText(FlagGroup::kSignal, value);
  return name.empty() ? std::to_string(number) : name;
}

// With MAP_HUGETLB, six bits are the binary logarithm of a page's size.
std::string MapText(uint64_t value) {
  uint64_t size = 0;
  if ((value & MAP_HUGETLB) != 0) size = value >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
  std::string text = FlagText(FlagGroup::kMapFlags, value & ~(size << MAP_HUGE_SHIFT));
  if (size != 0) Add(text, std::to_string(size) + "<<MAP_HUGE_SHIFT");
  return text;
}

std::string CloneText(uint64_t value) {
  std::string text;
  if ((value & ~uint64_t{0xff}) != 0)
    text = FlagText(FlagGroup::kCloneFlags, value & ~uint64_t{0xff});
  if ((value & 0xff) != 0) Add(text, SignalText(value & 0xff));
  return text.empty() ? "0" : text;
}

std::string OrNumber(const std::string& name, uint64_t value) {
  return name.empty() ? std::to_string(value) : name;
}

std::string SocketTypeText(uint64_t value) {
  std::string text = OrNumber(FlagText(FlagGroup::kSocketKind, value & 0xf), value & 0xf);
  if ((value & ~uint64_t{0xf}) != 0)
    Add(text, FlagText(FlagGroup::kSocketFlags, value & ~uint64_t{0xf}));
  return text;
}

std::string FutexText(uint64_t value) {
  std::string text = OrNumber(FlagText(FlagGroup::kFutexOperation, value & 0x7f), value & 0x7f);
  if ((value & ~uint64_t{0x7f}) != 0)
    Add(text, FlagText(FlagGroup::kFutexFlags, value & ~uint64_t{0x7f}));
  return text;
}

std::string SocketLevelText(uint64_t level) {
  const std::string name = FlagText(FlagGroup::kSocketLevel, level);
  return name.empty() ? FlagText(FlagGroup::kProtocol, level) : name;
}

std::string SocketOptionText(uint64_t level, uint64_t option) {
  if (level == SOL_SOCKET) return FlagText(FlagGroup::kSocketOption, option);
  return level == IPPROTO_TCP ? FlagText(FlagGroup::kTcpOption, option) : "";
}

std::string ProtocolText(uint64_t family, uint64_t protocol) {
  if (family != AF_INET && family != AF_INET6) return "";
  return FlagText(FlagGroup::kProtocol, protocol);
}

std::string WithPermissions(FlagGroup group, uint64_t flags, uint64_t permissions) {
  std::string text = flags != 0 ? FlagText(group, flags) : "";
  Add(text, Octal(permissions));
  return text;
}

std::string FcntlText(uint64_t command, uint64_t value) {
  const std::string name = FlagText(FlagGroup::kFcntl, command);
  if (name == "F_SETFL") return OpenText(value);
  if (name == "F_SETFD") return FlagText(FlagGroup::kFdFlags, value);
  if (name == "F_ADD_SEALS") return FlagText(FlagGroup::kSeals, value);
  return name == "F_SETSIG" ? SignalText(value) : "";
}

std::string PrctlText(uint64_t option, uint64_t value) {
  const std::string name = FlagText(FlagGroup::kPrctl, option);
  if (name == "PR_CAPBSET_READ" || name == "PR_CAPBSET_DROP")
    return FlagText(FlagGroup::kCapability, value);
  if (name == "PR_CAP_AMBIENT") return FlagText(FlagGroup::kAmbientOperation, value);
  return name == "PR_SET_PDEATHSIG" ? SignalText(value) : "";
}

std::string AmbientText(uint64_t option, uint64_t operation, uint64_t value) {
  const bool names_one = option == PR_CAP_AMBIENT && operation != PR_CAP_AMBIENT_CLEAR_ALL;
  return names_one ? FlagText(FlagGroup::kCapability, value) : "";
}

// The kernel takes an int of most arguments of flags: what a caller leaves in the upper half of the
// register says nothing.
uint64_t AsKernelTakesIt(uint32_t nr, uint64_t value) {
  static constexpr uint32_t kWhole[] = {__NR_mmap,  __NR_mprotect, __NR_pkey_mprotect, __NR_mremap,
                                        __NR_mount, __NR_clone,    __NR_unshare};
  const bool whole = std::find(std::begin(kWhole), std::end(kWhole), nr) != std::end(kWhole);
  return whole ? value : static_cast<uint32_t>(value);
}

const CallArguments* Find(uint32_t nr) {
  const auto* end = std::end(tables::kCalls);
  const auto* found = std::find_if(std::begin(tables::kCalls), end,
                                   [nr](const CallArguments& call) { return call.nr == nr; });
  return found == end ? nullptr : found;
}

}  // namespace

std::string FlagText(FlagGroup group, uint64_t value) {
  const Group& entry = kGroups[static_cast<size_t>(group)];
  if (group == FlagGroup::kOpenFlags) return OpenText(value);
  return entry.kind == GroupKind::bits ? BitsText(entry.table, value)
                                       : ValueText(entry.table, value);
}

std::string ArgumentText(uint32_t nr, size_t i, const std::array<uint64_t, 6>& args) {
  const CallArguments* call = Find(nr);
  if (call == nullptr || i >= call->count) return "";
  const uint64_t value = AsKernelTakesIt(nr, args[i]);
  const uint8_t kind = call->kinds[i];
  switch (kind) {
    case tables::kPlain:
      return "";
    case tables::kOctal:
      return Octal(value & kModeBits);
    case tables::kTypeAndMode:
      return WithPermissions(FlagGroup::kFileType, value & 0170000, value & 0007777);
    case tables::kShmGet:
      return WithPermissions(FlagGroup::kIpcFlags, value & ~uint64_t{0777}, value & 0777);
    case tables::kCloneWord:
      return CloneText(value);
    case tables::kSocketType:
      return SocketTypeText(value);
    case tables::kFutexWord:
      return FutexText(value);
    case tables::kFcntlArgument:
      return FcntlText(args[i - 1], value);
    case tables::kPrctlArgument:
      return PrctlText(args[i - 1], value);
    case tables::kLogicalDescriptor: {
      std::string name = FlagText(FlagGroup::kDirFd, value);
      return name.empty() ? std::to_string(static_cast<int32_t>(value)) : name;
    }
    case tables::kMapFlags:
      return MapText(value);
    case tables::kSignal:
      return SignalText(value);
    case tables::kSocketProtocol:
      return ProtocolText(args[i - 2], value);
    case tables::kSocketLevel:
      return SocketLevelText(value);
    case tables::kSocketOption:
      return SocketOptionText(static_cast<uint32_t>(args[i - 1]), value);
    case tables::kAmbientCapability:
      return AmbientText(args[0], args[1], value);
    case tables::kId:
      return std::to_string(static_cast<int32_t>(value));
    default:
      return FlagText(static_cast<FlagGroup>(kind - 1), value);
  }
}

size_t ArgumentCount(uint32_t nr) {
  const CallArguments* call = Find(nr);
  return call == nullptr ? 6 : call->count;
}

bool AsksWritableExecutable(uint32_t nr, const std::array<uint64_t, 6>& args) {
  const bool protects = nr == __NR_mmap || nr == __NR_mprotect || nr == __NR_pkey_mprotect;
  // PROT_WRITE and PROT_EXEC; of shmat, SHM_EXEC without SHM_RDONLY.
  if (protects) return (args[2] & 6) == 6;
  return nr == __NR_shmat && (args[2] & 0100000) != 0 && (args[2] & 010000) == 0;
}

}  // namespace carrel
