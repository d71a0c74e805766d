#include "launch/child/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>

namespace carrel::child {
namespace {

// What the running kernel knows and the headers of Debian 12 do not.
constexpr uint64_t kAccessFsTruncate = 1ull << 14, kAccessFsIoctlDev = 1ull << 15;
constexpr uint64_t kAccessNetBindTcp = 1, kAccessNetConnectTcp = 2;
constexpr int kRuleNetPort = 2;
struct NetPortAttr {
  uint64_t allowed_access, port;
};
struct RulesetAttr {
  uint64_t handled_access_fs, handled_access_net, scoped;
};

uint64_t LandlockWriteRights(int abi) {
  uint64_t rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  if (abi >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rights |= kAccessFsTruncate;
  if (abi >= 5) rights |= kAccessFsIoctlDev;
  return rights;
}

long AllowBeneath(Context& context, long ruleset, const char* path, uint64_t rights) {
  long fd = Do(context, SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fd;
  landlock_path_beneath_attr rule = {rights, static_cast<int>(fd)};
  long result = Do(context, SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  if (result == -EINVAL) {  // a file (a device) takes no rights of a directory
    rule.allowed_access = rights & (LANDLOCK_ACCESS_FS_WRITE_FILE | kAccessFsTruncate);
    result = Do(context, SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  }
  Call(SYS_close, fd);
  return result;
}

long AllowPort(Context& context, long ruleset, uint16_t port) {
  NetPortAttr rule = {kAccessNetConnectTcp, port};
  return Do(context, SYS_landlock_add_rule, ruleset, kRuleNetPort, &rule, 0);
}

}  // namespace

// Repeats the mounts' write rules and the network's, and keeps abstract sockets and signals inside,
// should a mount, the filter or a namespace ever be got around. Reading and executing are not
// handled: the mounts decide.
long ApplyLandlock(Context& context, const LandlockRules& rules) {
  const uint64_t rights = LandlockWriteRights(rules.abi);
  const bool network = rules.abi >= 4 && !rules.tcp;
  RulesetAttr attributes = {rights, network ? kAccessNetBindTcp | kAccessNetConnectTcp : 0,
                            rules.abi >= 6 ? 3u : 0u};
  const size_t size = rules.abi >= 6 ? sizeof attributes : (rules.abi >= 4 ? 16 : 8);
  long ruleset = Do(context, SYS_landlock_create_ruleset, &attributes, size, 0);
  if (ruleset < 0) return ruleset;
  for (size_t i = 0; i < rules.count; ++i)
    if (long result = AllowBeneath(context, ruleset, rules.writable[i], rights); result < 0)
      return result;
  if (network && rules.port != 0)
    if (long result = AllowPort(context, ruleset, rules.port); result < 0) return result;
  long result = Do(context, SYS_landlock_restrict_self, ruleset, 0);
  Call(SYS_close, ruleset);
  return result;
}

}  // namespace carrel::child
