// System calls without libc: no errno, no cancellation point, no lock.
#pragma once

#include <sys/syscall.h>

#include <cstddef>
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

/// clone3 of a process that has a stack of its own: the child calls `entry(argument)` there, which
/// must not return. (A function cannot return twice on two stacks.)
inline long RawClone(void* args, size_t size, void (*entry)(void*), void* argument) {
  long result;
  register void (*r12)(void*) asm("r12") = entry;
  register void* r13 asm("r13") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r13, %%rdi\n\t"
      "call *%%r12\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(args), "S"(size), "r"(r12), "r"(r13)
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
