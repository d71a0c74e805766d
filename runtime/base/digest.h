// SHA-256, the only digest carrel uses.
#pragma once

#include <openssl/sha.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

/// Streaming SHA-256. Uses OpenSSL's one-purpose functions: the EVP interface loads a provider,
/// which costs more than a whole sandbox start's hashing.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view data);
  /// 64 lower-case hexadecimal digits. The object must not be used afterwards.
  std::string HexFinal();

 private:
  SHA256_CTX context_;
};

/// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::string_view data);

/// Reads `fd` from its present offset to the end.
Result<std::string> Sha256HexOfFd(int fd);

/// True for "sha256:" followed by 64 lower-case hexadecimal digits.
bool IsSha256Digest(std::string_view text);

/// True when all characters are lower-case hexadecimal digits and there are `length` of them.
bool IsLowerHex(std::string_view text, size_t length);

}  // namespace carrel
