# Tables of flag names, made from the headers: the preprocessor lists their macros, groups.txt says
# which belong together, and the C compiler gives the values.
set(tables_dir ${CMAKE_CURRENT_SOURCE_DIR}/audit/tables)
set(tables_out ${CMAKE_CURRENT_BINARY_DIR}/audit/tables)
set(tables_made ${tables_out}/flag_groups.inc ${tables_out}/flags_kernel.c
    ${tables_out}/flags_libc.c)
file(MAKE_DIRECTORY ${tables_out})
add_custom_command(OUTPUT ${tables_made}
  COMMAND ${CMAKE_COMMAND} -DCOMPILER=${CMAKE_C_COMPILER} -DINPUT=${tables_dir}
          -DOUTPUT=${tables_out} -P ${tables_dir}/generate.cmake
  DEPENDS ${tables_dir}/generate.cmake ${tables_dir}/groups.txt ${tables_dir}/kernel_headers.h
          ${tables_dir}/libc_headers.h
  VERBATIM)
# A library of its own: it is C, and the module's precompiled header is C++.
add_library(carrel_tables OBJECT ${tables_made})
set_target_properties(carrel_tables PROPERTIES UNITY_BUILD OFF)
target_include_directories(carrel_tables PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
file(GLOB tables_sources CONFIGURE_DEPENDS ${tables_dir}/*.cc)
target_sources(carrel_audit PRIVATE ${tables_sources} $<TARGET_OBJECTS:carrel_tables>)
target_include_directories(carrel_audit PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
add_dependencies(carrel_audit carrel_tables)
