#include "audit/structures.h"

#include <fmt/format.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "audit/tables/flag_names.h"
#include "audit/tables/newer_calls.h"
#include "audit/text.h"

namespace carrel {
namespace {

using Args = std::array<uint64_t, 6>;

// The number at `offset`; what is beyond the end is zero.
template <typename T>
T At(std::string_view bytes, size_t offset) {
  T value = 0;
  if (offset < bytes.size())
    std::memcpy(&value, bytes.data() + offset, std::min(sizeof value, bytes.size() - offset));
  return value;
}

std::string Openat2(std::string_view how) {
  return fmt::format("{{flags={}, mode=0{:o}, resolve={}}}",
                     FlagText(FlagGroup::kOpenFlags, At<uint64_t>(how, 0)), At<uint64_t>(how, 8),
                     FlagText(FlagGroup::kResolveFlags, At<uint64_t>(how, 16)));
}

std::string Clone3(std::string_view clone) {
  const auto signal = At<uint64_t>(clone, 32);
  const std::string name = FlagText(FlagGroup::kSignal, signal);
  return fmt::format("{{flags={}, exit_signal={}}}",
                     FlagText(FlagGroup::kCloneFlags, At<uint64_t>(clone, 0)),
                     name.empty() ? std::to_string(signal) : name);
}

std::string Limit(uint64_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

std::string Limits(std::string_view limits) {
  return fmt::format("{{cur={}, max={}}}", Limit(At<uint64_t>(limits, 0)),
                     Limit(At<uint64_t>(limits, 8)));
}

std::string Capabilities(uint64_t set) {
  std::string text;
  for (uint64_t bit = 0; bit < 64; ++bit) {
    if ((set >> bit & 1) == 0) continue;
    const std::string name = FlagText(FlagGroup::kCapability, bit);
    text += (text.empty() ? "" : "|") + (name.empty() ? std::to_string(bit) : name);
  }
  return text.empty() ? "0" : text;
}

// Two structures of 32 bits each: the low and the high half of the sets.
std::string Capset(std::string_view data) {
  const auto set = [&](size_t at) {
    return At<uint32_t>(data, at) | uint64_t{At<uint32_t>(data, at + 12)} << 32;
  };
  return fmt::format("{{effective={}, permitted={}, inheritable={}}}", Capabilities(set(0)),
                     Capabilities(set(4)), Capabilities(set(8)));
}

std::string SocketValue(const Args& args, std::string_view value) {
  const bool of_socket = static_cast<int>(args[1]) == SOL_SOCKET;
  if (of_socket && static_cast<int>(args[2]) == SO_BINDTODEVICE)
    return Quoted(value.substr(0, value.find('\0')));
  return value.size() == 4 ? fmt::format("{{{}}}", At<int32_t>(value, 0)) : "";
}

std::string MountAttributes(std::string_view attributes) {
  // Of none: what is worth nothing has a name in that group (MOUNT_ATTR_RELATIME).
  const auto set = [&](size_t at) {
    const auto bits = At<uint64_t>(attributes, at);
    return bits == 0 ? "0" : FlagText(FlagGroup::kMountAttributes, bits);
  };
  return fmt::format("{{attr_set={}, attr_clr={}, propagation={}}}", set(0), set(8),
                     FlagText(FlagGroup::kMountFlags, At<uint64_t>(attributes, 16)));
}

std::string Ruleset(std::string_view ruleset) {
  return fmt::format("{{handled_access_fs={}, handled_access_net={:#x}}}",
                     FlagText(FlagGroup::kLandlockAccess, At<uint64_t>(ruleset, 0)),
                     At<uint64_t>(ruleset, 8));
}

std::string LandlockRule(const Args& args, std::string_view rule) {
  if (static_cast<uint32_t>(args[1]) != LANDLOCK_RULE_PATH_BENEATH)
    return fmt::format("{{allowed_access={:#x}, port={}}}", At<uint64_t>(rule, 0),
                       At<uint32_t>(rule, 8));
  return fmt::format("{{allowed_access={}, parent_fd={}}}",
                     FlagText(FlagGroup::kLandlockAccess, At<uint64_t>(rule, 0)),
                     At<int32_t>(rule, 8));
}

}  // namespace

std::string StructureText(uint32_t nr, const Args& args, size_t arg, std::string_view bytes) {
  switch (nr) {
    case __NR_openat2:
      return arg == 2 ? Openat2(bytes) : "";
    case __NR_clone3:
      return Clone3(bytes);
    case __NR_setrlimit:
    case __NR_prlimit64:
      return Limits(bytes);
    case __NR_capset:
      return Capset(bytes);
    case __NR_setsockopt:
      return SocketValue(args, bytes);
    case __NR_mount_setattr:
      return MountAttributes(bytes);
    case __NR_landlock_create_ruleset:
      return Ruleset(bytes);
    case __NR_landlock_add_rule:
      return LandlockRule(args, bytes);
    case __NR_seccomp:
      if (static_cast<uint32_t>(args[0]) != SECCOMP_SET_MODE_FILTER) return "";
      return fmt::format("{{{} instructions}}", At<uint16_t>(bytes, 0));
    default:
      return "";
  }
}

}  // namespace carrel
