# Tests on what production hosts have: pure cgroup v2 under systemd on Debian's stock kernel, in a
# virtual machine (tests/support/vm). tests/vm/*_test.cc run only there; programs of integration and
# escape tests that meet the kernel run there once more.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/vm/*_test.cc)
add_executable(vm_tests ${sources})
add_executable(vm_start_times ${CMAKE_CURRENT_SOURCE_DIR}/vm/start_times.cc)
foreach(target vm_tests vm_start_times)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE carrel_base)
  target_compile_definitions(${target} PRIVATE CARREL_BINARY="$<TARGET_FILE:carrel>"
    CARREL_PAYLOADS="${payload_dir}" CARREL_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_dependencies(${target} carrel)
endforeach()
target_link_libraries(vm_tests PRIVATE GTest::gtest_main GTest::gmock)

set(vm_image ${CMAKE_BINARY_DIR}/vm)
set(vm_programs tests/vm_tests)
foreach(name integration_audit_source_test escape_surface_test)
  list(APPEND vm_programs tests/${name})
  add_dependencies(vm_tests ${name})
endforeach()
list(APPEND vm_programs "tests/integration_audit_killed_test:AuditKilled.NoCall*")
add_dependencies(vm_tests integration_audit_killed_test)

# The image is made once for a kernel package; the machine then boots in seconds.
add_test(NAME vm.image COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/vm/make_image ${vm_image})
set_tests_properties(vm.image PROPERTIES LABELS vm TIMEOUT 600 FIXTURES_SETUP vm_image)
add_test(NAME vm.debian12 COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/vm/run
  ${vm_image} ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${vm_programs})
set_tests_properties(vm.debian12 PROPERTIES LABELS vm TIMEOUT 600 FIXTURES_REQUIRED vm_image)
