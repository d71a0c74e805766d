// A password in memory: locked, not in core files, not in child processes, wiped at the end.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace carrel::gateway {

/// The bytes live in pages of their own that are never swapped (mlock), never dumped
/// (MADV_DONTDUMP) and not there in a forked child (MADV_DONTFORK): the sandbox's init is a clone
/// of carrel until it executes.
class Secret {
 public:
  Secret() = default;
  Secret(Secret&& other) noexcept { *this = std::move(other); }
  Secret& operator=(Secret&& other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(mapped_, other.mapped_);
    std::swap(size_, other.size_);
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  /// Copies `bytes`; the caller wipes its own copy. kFault when the pages cannot be locked.
  static Result<Secret> Of(std::string_view bytes);
  /// Reads `fd` from its present offset to the end, without a copy elsewhere. More than `max_bytes`
  /// is kBadInput.
  static Result<Secret> Read(int fd, size_t max_bytes);

  std::string_view view() const { return {pages_, size_}; }
  bool empty() const { return size_ == 0; }

 private:
  static Result<Secret> Make(size_t capacity);

  char* pages_ = nullptr;
  size_t mapped_ = 0;
  size_t size_ = 0;
};

/// Overwrites the bytes, also where the compiler sees no use of them.
void Wipe(std::string& bytes);

/// True when equal; the time taken depends on the lengths alone.
bool SameBytes(std::string_view left, std::string_view right);

/// `bytes` random bytes of the kernel's, as lower-case hexadecimal digits.
Result<std::string> RandomHex(size_t bytes);

}  // namespace carrel::gateway
