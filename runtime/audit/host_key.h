// The host's Ed25519 key, which seals audit logs: <state>/keys/audit.key (seed, 0600), and one
// public key for each key there ever was, <state>/keys/<id>.pub.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

struct Signature {
  std::string key_id;  ///< first 16 hexadecimal digits of the SHA-256 of the public key
  std::string hex;     ///< 128 hexadecimal digits
};

/// The private key. Signing is libsodium's, as it costs nothing at a start; OpenSSL, whose start
/// takes a millisecond and megabytes, checks: two implementations that must agree.
class HostKey {
 public:
  /// Makes the key on first use.
  static Result<HostKey> Open(const std::string& state_dir);
  Result<Signature> Sign(std::string_view text) const;

  HostKey(HostKey&&) = default;
  HostKey& operator=(HostKey&&) = default;
  ~HostKey();

 private:
  HostKey() = default;
  std::array<unsigned char, 64> secret_{};  ///< seed and public key
  std::string id_;
};

enum class SignatureCheck { kGood, kBad, kUnknownKey };

/// Checks against the public key `key_id` of `<state>/keys`.
Result<SignatureCheck> CheckSignature(const std::string& state_dir, std::string_view text,
                                      const Signature& signature);

}  // namespace carrel
