# Every executable ci/check_* is a test. It gets the build directory as its argument.
file(GLOB checks CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/ci/check_*)
list(FILTER checks EXCLUDE REGEX check_tidy)  # slow: by hand
foreach(check ${checks})
  get_filename_component(name ${check} NAME)
  add_test(NAME ci.${name} COMMAND ${check} ${CMAKE_BINARY_DIR}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(ci.${name} PROPERTIES LABELS check TIMEOUT 300)
endforeach()
