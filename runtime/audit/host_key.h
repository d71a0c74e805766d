// The host's Ed25519 key, which seals audit logs: <state>/keys/audit.key (seed, 0600), and one
// public key for each key there ever was, <state>/keys/<id>.pub.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

struct Signature {
  std::string key_id;  ///< first 16 hexadecimal digits of the SHA-256 of the public key
  std::string hex;     ///< 128 hexadecimal digits
};

/// Signs with the host's key, making it on first use.
Result<Signature> SignWithHostKey(const std::string& state_dir, std::string_view text);

enum class SignatureCheck { kGood, kBad, kUnknownKey };

/// Checks against the public key `key_id` of `<state>/keys`.
Result<SignatureCheck> CheckSignature(const std::string& state_dir, std::string_view text,
                                      const Signature& signature);

}  // namespace carrel
