// System calls without libc: no errno, no cancellation point, no lock.
#pragma once

#include <sys/syscall.h>

#include <cstdint>
#include <type_traits>

namespace carrel::child {

inline long RawCall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}

template <typename T>
long Arg(T value) {
  if constexpr (std::is_null_pointer_v<T>)
    return 0;
  else if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<long>(value);
  else
    return static_cast<long>(value);
}

/// RawCall with arguments of any scalar type; a failure is -errno.
template <typename... Args>
long Call(long number, Args... args) {
  return RawCall(number, Arg(args)...);
}

}  // namespace carrel::child
