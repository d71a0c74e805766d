# Tests that drive the carrel binary as root. A file tests/integration/X_test.cc or
# tests/escape/X_test.cc is one test program; tests/payloads/X.c is a static program for inside.
set(payload_dir ${CMAKE_CURRENT_BINARY_DIR}/payloads)
file(GLOB payloads CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/payloads/*.c)
foreach(source ${payloads})
  get_filename_component(name ${source} NAME_WE)
  add_executable(payload_${name} ${source})
  target_link_options(payload_${name} PRIVATE -static)
  set_target_properties(payload_${name} PROPERTIES OUTPUT_NAME ${name}
    RUNTIME_OUTPUT_DIRECTORY ${payload_dir} POSITION_INDEPENDENT_CODE OFF)
endforeach()

foreach(kind integration escape)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kind}/*_test.cc)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${kind}_${name} ${source})
    target_include_directories(${kind}_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${kind}_${name} PRIVATE carrel_audit GTest::gtest_main GTest::gmock)
    target_compile_definitions(${kind}_${name} PRIVATE CARREL_BINARY="$<TARGET_FILE:carrel>"
      CARREL_PAYLOADS="${payload_dir}" CARREL_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
      CARREL_BUILD_DIR="${CMAKE_BINARY_DIR}")
    add_dependencies(${kind}_${name} carrel)
    gtest_discover_tests(${kind}_${name} TEST_PREFIX "${kind}." PROPERTIES LABELS ${kind}
      TIMEOUT 300 DISCOVERY_TIMEOUT 60)
  endforeach()
endforeach()

# It compiles a profile, and asks the filter.
target_link_libraries(integration_audit_profile_test PRIVATE carrel_launch)
