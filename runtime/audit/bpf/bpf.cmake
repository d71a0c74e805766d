# The BPF programs: compiled for the BPF machine, stripped to code and BTF, and embedded with their
# digest. The tables of syscall names come from the kernel's headers.
find_program(BPF_CLANG NAMES clang-14 clang REQUIRED)
find_program(BPF_STRIP NAMES llvm-strip-14 llvm-strip REQUIRED)
set(bpf_dir ${CMAKE_CURRENT_SOURCE_DIR}/audit/bpf)
set(bpf_out ${CMAKE_CURRENT_BINARY_DIR}/audit)
file(MAKE_DIRECTORY ${bpf_out})
set(newer_calls ${CMAKE_CURRENT_SOURCE_DIR}/audit/tables/newer_calls.h)
set(kernel_headers /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})

add_custom_command(OUTPUT ${bpf_out}/audit_object.cc
  COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Werror -D__TARGET_ARCH_x86
          -I${kernel_headers} -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -c ${bpf_dir}/audit.bpf.c
          -o ${bpf_out}/audit.bpf.o
  COMMAND ${BPF_STRIP} -g ${bpf_out}/audit.bpf.o
  COMMAND ${CMAKE_COMMAND} -DINPUT=${bpf_out}/audit.bpf.o -DOUTPUT=${bpf_out}/audit_object.cc
          -P ${bpf_dir}/embed.cmake
  DEPENDS ${bpf_dir}/audit.bpf.c ${bpf_dir}/kernel.h ${bpf_dir}/state.h ${bpf_dir}/data.h
          ${bpf_dir}/file.h ${bpf_dir}/task.h ${bpf_dir}/embed.cmake
          ${bpf_dir}/../raw_event.h ${bpf_dir}/../call_specs.h ${newer_calls}
  VERBATIM)

add_custom_command(OUTPUT ${bpf_out}/syscall_tables.inc
  COMMAND ${CMAKE_COMMAND} -DHEADERS=${kernel_headers}/asm -DNEWER=${newer_calls}
          -DOUTPUT=${bpf_out}/syscall_tables.inc -P ${bpf_dir}/syscalls.cmake
  DEPENDS ${bpf_dir}/syscalls.cmake ${newer_calls} ${kernel_headers}/asm/unistd_64.h
          ${kernel_headers}/asm/unistd_32.h
  VERBATIM)

target_sources(carrel_audit PRIVATE ${bpf_out}/audit_object.cc ${bpf_out}/syscall_tables.inc)
target_include_directories(carrel_audit PRIVATE ${bpf_out})
set_source_files_properties(${bpf_out}/audit_object.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
