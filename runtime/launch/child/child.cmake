# The code between clone and exec: no exception, no run-time type, no libc that locks or allocates.
# ci/check_child looks at its undefined symbols.
add_library(carrel_child OBJECT launch/child/execute.cc launch/child/landlock.cc)
set_target_properties(carrel_child PROPERTIES UNITY_BUILD OFF)
target_include_directories(carrel_child PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(carrel_child PRIVATE -O2 -fno-exceptions -fno-rtti -fno-stack-protector
  -U_FORTIFY_SOURCE -fno-sanitize=all -fno-builtin)
target_sources(carrel_launch PRIVATE $<TARGET_OBJECTS:carrel_child>)

# The init is a program of its own, embedded as bytes.
set(init_elf ${CMAKE_CURRENT_BINARY_DIR}/carrel-init)
set(init_source ${CMAKE_CURRENT_SOURCE_DIR}/launch/child/init.c)
add_custom_command(OUTPUT ${init_elf}
  COMMAND ${CMAKE_C_COMPILER} -O2 -static -nostdlib -nostartfiles -ffreestanding -fno-builtin
          -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pie -no-pie -Wall -Wextra
          -mno-sse -Wl,-z,noexecstack -Wl,--build-id=none -Wl,-s -Wl,-z,max-page-size=4096
          -o ${init_elf} ${init_source}
  DEPENDS ${init_source} ${CMAKE_CURRENT_SOURCE_DIR}/launch/child/init_report.h VERBATIM)
set(embed_init ${CMAKE_CURRENT_BINARY_DIR}/embedded_init.S)
file(CONFIGURE OUTPUT ${embed_init} CONTENT [[
.section .rodata
.globl carrel_init_begin
.globl carrel_init_end
.balign 16
carrel_init_begin:
.incbin "@init_elf@"
carrel_init_end:
.section .note.GNU-stack,"",@progbits
]] @ONLY)
file(READ ${embed_init} embed_text)
string(REPLACE "@progbits" "%progbits" embed_text "${embed_text}")
string(REPLACE "%progbits" "@progbits" embed_text "${embed_text}")
enable_language(ASM)
set_source_files_properties(${embed_init} PROPERTIES OBJECT_DEPENDS ${init_elf})
target_sources(carrel_launch PRIVATE ${embed_init})

# The seccomp profiles are in the program: no file on the host can weaken them.
set(profile_header ${CMAKE_CURRENT_BINARY_DIR}/generated/embedded_profiles.h)
set(profile_text "#pragma once\n")
foreach(profile base isolated gateway loopback)
  set(file ${CMAKE_SOURCE_DIR}/seccomp/${profile}.json)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  string(SUBSTRING ${profile} 0 1 initial)
  string(TOUPPER ${initial} initial)
  string(SUBSTRING ${profile} 1 -1 rest)
  # A string literal has a limit; parts that stand together are joined by the compiler.
  string(REGEX REPLACE "\n    }," "\n    },)json\"\n    R\"json(" text "${text}")
  string(APPEND profile_text
    "inline constexpr char kSeccomp${initial}${rest}[] =\n    R\"json(${text})json\";\n")
endforeach()
file(CONFIGURE OUTPUT ${profile_header} CONTENT "${profile_text}" @ONLY)
target_include_directories(carrel_launch PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
