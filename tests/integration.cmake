# Tests that drive the carrel binary as root. A file tests/integration/X_test.cc or
# tests/escape/X_test.cc is one test program; tests/payloads/X.c is a static program for inside.
set(payload_dir ${CMAKE_CURRENT_BINARY_DIR}/payloads)
file(GLOB payloads CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/payloads/*.c)
foreach(source ${payloads})
  get_filename_component(name ${source} NAME_WE)
  add_executable(payload_${name} ${source})
  target_link_options(payload_${name} PRIVATE -static)
  if(CARREL_SANITIZE)  # not of a static program
    target_compile_options(payload_${name} PRIVATE -fno-sanitize=all)
    target_link_options(payload_${name} PRIVATE -fno-sanitize=all)
  endif()
  set_target_properties(payload_${name} PROPERTIES OUTPUT_NAME ${name}
    RUNTIME_OUTPUT_DIRECTORY ${payload_dir} POSITION_INDEPENDENT_CODE OFF)
endforeach()

# The agent's verbs with fault points that kill: a program for tests only.
add_executable(carrel_faults ${CMAKE_CURRENT_SOURCE_DIR}/support/carrel_faults.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/support/fault_point.cc)
target_link_libraries(carrel_faults PRIVATE carrel_agent)

# One precompiled header for all these programs: that of a program, which is compiled as they are.
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/test_headers.cc CONTENT "int main() {}")
add_executable(test_headers ${CMAKE_CURRENT_BINARY_DIR}/test_headers.cc)
target_link_libraries(test_headers PRIVATE carrel_audit GTest::gtest_main GTest::gmock)
target_precompile_headers(test_headers PRIVATE
  <string> <vector> <filesystem> <functional> <gmock/gmock.h> <nlohmann/json.hpp> <tl/expected.hpp>)

foreach(kind integration escape)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kind}/*_test.cc)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${kind}_${name} ${source})
    target_include_directories(${kind}_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${kind}_${name} PRIVATE carrel_audit GTest::gtest_main GTest::gmock)
    target_precompile_headers(${kind}_${name} REUSE_FROM test_headers)
    target_compile_definitions(${kind}_${name} PRIVATE CARREL_BINARY="$<TARGET_FILE:carrel>"
      CARREL_PAYLOADS="${payload_dir}" CARREL_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
      CARREL_BUILD_DIR="${CMAKE_BINARY_DIR}")
    add_dependencies(${kind}_${name} carrel)
    if(name STREQUAL "verbs_kill_test")
      target_compile_definitions(${kind}_${name} PRIVATE
        CARREL_FAULTS="$<TARGET_FILE:carrel_faults>")
      add_dependencies(${kind}_${name} carrel_faults)
    endif()
    gtest_discover_tests(${kind}_${name} TEST_PREFIX "${kind}." PROPERTIES LABELS ${kind}
      TIMEOUT 900 DISCOVERY_TIMEOUT 60)
  endforeach()
endforeach()

# A client with libpq's pipeline mode, which no tool of PostgreSQL's uses with errors.
add_executable(pipeline_client ${CMAKE_CURRENT_SOURCE_DIR}/support/pipeline.cc)
find_path(LIBPQ_INCLUDE libpq-fe.h PATH_SUFFIXES postgresql REQUIRED)
target_include_directories(pipeline_client PRIVATE ${LIBPQ_INCLUDE})
target_link_libraries(pipeline_client PRIVATE pq)
add_dependencies(integration_gateway_postgres_test pipeline_client)

# It compiles a profile, and asks the filter.
target_link_libraries(integration_audit_profile_test PRIVATE carrel_launch)

# By hand: see the file.
add_executable(endurance EXCLUDE_FROM_ALL
  ${CMAKE_CURRENT_SOURCE_DIR}/endurance/verbs_endurance_test.cc)
target_include_directories(endurance PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(endurance PRIVATE carrel_audit GTest::gtest_main GTest::gmock)
target_compile_definitions(endurance PRIVATE CARREL_BINARY="$<TARGET_FILE:carrel>"
  CARREL_PAYLOADS="${payload_dir}"
  CARREL_SOURCE_DIR="${CMAKE_SOURCE_DIR}" CARREL_BUILD_DIR="${CMAKE_BINARY_DIR}")
add_dependencies(endurance carrel)
