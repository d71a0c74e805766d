#include "policy/host_policy.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/fs.h"
#include "policy/bundle.h"

namespace carrel {
namespace {

constexpr const char* kSerialFile = "policy-bundle.json";

struct Accepted {
  int64_t serial = 0;
  std::string digest;
};

Result<Accepted> ReadAccepted(const std::string& state) {
  auto text = ReadFile(state + "/" + kSerialFile, 4096);
  if (!text && text.error().code == ENOENT) return Accepted{};
  if (!text) return std::move(text).error();
  const std::string place = state + "/" + kSerialFile;
  auto document = ParseJson(*text, place);
  // A damaged file must not open the door to older bundles.
  if (!document) return Fault(place, "cannot be read: " + document.error().what);
  JsonObject in(*document, "");
  Accepted accepted{in.RequiredInt("serial", 0, INT64_MAX), in.RequiredString("digest", 64)};
  auto whole = in.Finish();
  if (!whole) return Fault(place, whole.error().ToString());
  return accepted;
}

Result<void> CheckNotRolledBack(const Accepted& accepted, int64_t serial,
                                const std::string& digest) {
  if (serial < accepted.serial)
    return Refused("policy",
                   "the bundle has the serial " + std::to_string(serial) +
                       "; this host has run under " + std::to_string(accepted.serial) + " already",
                   "An older bundle was put back: install the present one");
  if (serial == accepted.serial && digest != accepted.digest)
    return Refused(
        "policy",
        "another bundle with the same serial " + std::to_string(serial) + " was used on this host",
        "Every bundle that is published needs a serial of its own");
  return {};
}

}  // namespace

Result<Policy> LoadHostPolicy(const HostConfig& host, int64_t now_ns) {
  if (!host.policy_bundle) {
    auto policy = LoadPolicy(host.policies);
    if (!policy && host.file.empty())
      policy.error().hint = std::string("There is no configuration ") + kDefaultConfigFile +
                            ": write it, or name another with --config";
    return policy;
  }
  const BundleRules& rules = *host.policy_bundle;
  CARREL_ASSIGN(const std::string text, ReadFile(rules.file, 64u << 20));
  CARREL_ASSIGN(PolicyBundle bundle, VerifyBundle(text, rules, now_ns));
  auto policy = DecodePolicy(bundle.files);
  if (!policy) {
    policy.error().where = rules.file;
    return policy;
  }
  CARREL_ASSIGN(const Accepted accepted, ReadAccepted(host.state));
  CARREL_TRY(CheckNotRolledBack(accepted, bundle.serial, policy->digest));
  policy->commit = bundle.commit;
  policy->bundle_serial = bundle.serial;
  return policy;
}

// Runs may start at the same moment, before and after a new bundle: the lock keeps the larger.
Result<void> RememberPolicy(const HostConfig& host, int64_t serial, const std::string& digest) {
  if (serial == 0) return {};
  const std::string& state = host.state;
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(state, 0700));
  CARREL_ASSIGN(UniqueFd lock, OpenBeneath(dir.get(), std::string(kSerialFile) + ".lock",
                                           O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX) != 0) return SysFault(state, "flock");
  CARREL_ASSIGN(const Accepted accepted, ReadAccepted(state));
  CARREL_TRY(CheckNotRolledBack(accepted, serial, digest));
  if (serial == accepted.serial) return {};
  const Json now = {{"serial", serial}, {"digest", digest}};
  return WriteFileAtomic(dir.get(), kSerialFile, now.dump() + "\n", 0600);
}

}  // namespace carrel
