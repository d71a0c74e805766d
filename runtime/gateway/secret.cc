#include "gateway/secret.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstring>

namespace carrel::gateway {

Secret::~Secret() {
  if (pages_ == nullptr) return;
  OPENSSL_cleanse(pages_, mapped_);
  ::munmap(pages_, mapped_);
}

Result<Secret> Secret::Make(size_t capacity) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  Secret secret;
  const size_t bytes = (capacity / page + 1) * page;
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return SysFault("credentials", "mmap");
  secret.pages_ = static_cast<char*>(pages);
  secret.mapped_ = bytes;
  // Not mlock: under a sanitizer that one does nothing.
  if (::mlock2(pages, bytes, 0) != 0) return SysFault("credentials", "mlock2");
  if (::madvise(pages, bytes, MADV_DONTDUMP) != 0 || ::madvise(pages, bytes, MADV_DONTFORK) != 0)
    return SysFault("credentials", "madvise");
  return secret;
}

Result<Secret> Secret::Of(std::string_view bytes) {
  CARREL_ASSIGN(Secret secret, Make(bytes.size()));
  std::memcpy(secret.pages_, bytes.data(), bytes.size());
  secret.size_ = bytes.size();
  return secret;
}

Result<Secret> Secret::Read(int fd, size_t max_bytes) {
  CARREL_ASSIGN(Secret secret, Make(max_bytes + 1));
  for (;;) {
    const ssize_t n = ::read(fd, secret.pages_ + secret.size_, max_bytes + 1 - secret.size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("credentials", "read");
    if (n == 0) break;
    secret.size_ += static_cast<size_t>(n);
    if (secret.size_ > max_bytes)
      return BadInput("credentials", "longer than " + std::to_string(max_bytes) + " bytes");
  }
  return secret;
}

void Wipe(std::string& bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
  bytes.clear();
}

bool SameBytes(std::string_view left, std::string_view right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

Result<std::string> RandomHex(size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < bytes; ++i) {
    unsigned char byte = 0;
    if (::getrandom(&byte, 1, 0) != 1) return SysFault("credentials", "getrandom");
    hex += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return hex;
}

}  // namespace carrel::gateway
