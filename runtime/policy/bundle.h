// A policy in one signed file, for hosts whose configuration demands it.
//
//   {"payload": TEXT, "signatures": {KEY ID: SIGNATURE}}
//   TEXT = {"format", "serial", "expires", "commit", "files": {path: content}}
//
// Signed is TEXT itself, after a line that names the purpose: what was signed is what is read, and
// a signature for another purpose is none here.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/host_config.h"
#include "policy/policy.h"

namespace carrel {

struct PolicyBundle {
  int64_t serial = 0;    ///< grows with every bundle that is published
  int64_t until_ns = 0;  ///< from this instant on it is expired
  std::string commit;    ///< of the checkout that it was made from, or empty
  PolicyFiles files;
  std::set<std::string> signers;  ///< ids of the keys whose signatures are good
};

struct BundleContent {
  PolicyFiles files;
  std::string commit;
  int64_t serial = 0;   ///< 1 to 2^53
  std::string expires;  ///< the last day, "2027-01-31"
};

/// The text of an unsigned bundle. kBadInput when the policy is not valid or a file is not UTF-8.
Result<std::string> MakeBundle(const BundleContent& content);

/// A new Ed25519 key: the seed as 64 hexadecimal digits.
Result<std::string> MakeSigningSeed();
/// Its public key, 64 lower-case hexadecimal digits: what `policy_bundle/keys` lists.
Result<std::string> PublicKeyOf(const std::string& seed);
/// The first 16 digits of the SHA-256 of the public key.
std::string SigningKeyId(const std::string& public_key);

/// The text of the same bundle with one signature more.
Result<std::string> SignBundle(const std::string& text, const std::string& seed);

/// Reads a bundle and checks those signatures that `keys` (public keys) can check; what others
/// signed counts as unsigned. kBadInput when it is no bundle.
Result<PolicyBundle> ReadBundle(const std::string& text, const std::vector<std::string>& keys);

/// ReadBundle, and kRefused for too few signatures, an expired bundle or a serial below the least
/// that `rules` name.
Result<PolicyBundle> VerifyBundle(const std::string& text, const BundleRules& rules,
                                  int64_t now_ns);

}  // namespace carrel
