#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/digest.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

namespace carrel {

Sha256::Sha256() { SHA256_Init(&context_); }

void Sha256::Update(std::string_view data) { SHA256_Update(&context_, data.data(), data.size()); }

std::string Sha256::HexFinal() {
  unsigned char raw[SHA256_DIGEST_LENGTH];
  SHA256_Final(raw, &context_);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * sizeof raw);
  for (unsigned char byte : raw) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Update(data);
  return hash.HexFinal();
}

Result<std::string> Sha256HexOfFd(int fd) {
  Sha256 hash;
  std::vector<char> buffer(1u << 17);
  for (;;) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n == 0) return hash.HexFinal();
    if (n > 0) {
      hash.Update({buffer.data(), static_cast<size_t>(n)});
    } else if (errno != EINTR) {
      return SysFault("", "read");
    }
  }
}

bool IsLowerHex(std::string_view text, size_t length) {
  return text.size() == length && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool IsSha256Digest(std::string_view text) {
  return text.starts_with("sha256:") && IsLowerHex(text.substr(7), 64);
}

}  // namespace carrel
