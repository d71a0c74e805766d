// Evaluates a seccomp filter in user space: the classic BPF instructions that the kernel permits
// there, on one call's data.
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace carrel::testing_support {

/// What the filter answers (SECCOMP_RET_*, with the errno in the low half). Throws on an
/// instruction that seccomp does not permit, and on a run past the end.
inline uint32_t EvaluateFilter(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0, index = 0;
  std::array<uint32_t, BPF_MEMWORDS> memory{};
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& code = program[at];
    switch (code.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (code.k + 4 > sizeof data || code.k % 4 != 0) throw std::out_of_range("load");
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + code.k, 4);
        break;
      case BPF_LD | BPF_IMM:
        accumulator = code.k;
        break;
      case BPF_LD | BPF_MEM:
        accumulator = memory.at(code.k);
        break;
      case BPF_ST:
        memory.at(code.k) = accumulator;
        break;
      case BPF_MISC | BPF_TAX:
        index = accumulator;
        break;
      case BPF_MISC | BPF_TXA:
        accumulator = index;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= code.k;
        break;
      case BPF_JMP | BPF_JA:
        at += code.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == code.k ? code.jt : code.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > code.k ? code.jt : code.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= code.k ? code.jt : code.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (accumulator & code.k) != 0 ? code.jt : code.jf;
        break;
      case BPF_RET | BPF_K:
        return code.k;
      default:
        throw std::invalid_argument("instruction " + std::to_string(code.code));
    }
  }
  throw std::out_of_range("end of the filter");
}

}  // namespace carrel::testing_support
