// Where the static program begins. Its relocation, right behind, writes to every page of the tables
// of addresses (OpenSSL has half a megabyte of them), and each would be a fault of its own: one call
// brings them all in, in a fifth of the time. A kernel that does not know it (before 5.14) says so,
// and they come one by one.
#include <sys/syscall.h>

#define MADV_POPULATE_WRITE 23

.section .text.carrel_start, "ax", @progbits
.globl carrel_start
.hidden carrel_start
.type carrel_start, @function
carrel_start:
  lea __init_array_start(%rip), %rdi
  and $-4096, %rdi
  lea _edata(%rip), %rsi
  sub %rdi, %rsi
  mov $MADV_POPULATE_WRITE, %edx
  mov $SYS_madvise, %eax
  syscall
  xor %edx, %edx  // no function to call at the exit, as the kernel had it
  jmp _start
.size carrel_start, . - carrel_start
.section .note.GNU-stack, "", @progbits
