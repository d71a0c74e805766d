# What the audit commands carry with them: the schema of the export, and the page of the report.
set(report_dir ${CMAKE_CURRENT_SOURCE_DIR}/audit/report)
set(report_out ${CMAKE_CURRENT_BINARY_DIR}/audit/report)
file(MAKE_DIRECTORY ${report_out})

set(schema_file ${report_dir}/export.schema.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${schema_file})
file(READ ${schema_file} schema_text)
file(CONFIGURE OUTPUT ${report_out}/export_schema.h CONTENT
  "#pragma once\ninline constexpr char kExportSchema[] = R\"json(@schema_text@)json\";\n" @ONLY)

option(CARREL_REPORT "The page of `carrel audit report`; takes a chart library from npm" ON)
set(report_files ${report_out}/script.js ${report_out}/style.css ${report_out}/body.html)
if(CARREL_REPORT)
  find_program(NPM npm)
  if(NOT NPM)
    message(FATAL_ERROR "npm is not installed: the page of `carrel audit report` takes its chart "
      "library from there. Run ci/setup, or configure with -DCARREL_REPORT=OFF for a carrel "
      "without `carrel audit report`.")
  endif()
  # Into the build directory, never into the source tree. The lock file has the digest.
  add_custom_command(OUTPUT ${report_out}/node_modules/uplot/package.json
    COMMAND ${CMAKE_COMMAND} -DNPM=${NPM} -DINPUT=${report_dir} -DOUTPUT=${report_out}
            -P ${report_dir}/fetch.cmake
    DEPENDS ${report_dir}/package.json ${report_dir}/package-lock.json ${report_dir}/fetch.cmake
    COMMENT "npm ci: the chart library of the report page" VERBATIM)
  set(report_parts table.js time_line.js page.js style.css body.html)
  list(TRANSFORM report_parts PREPEND ${report_dir}/)
  add_custom_command(OUTPUT ${report_files}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${report_dir} -DOUTPUT=${report_out}
            -P ${report_dir}/bundle.cmake
    DEPENDS ${report_parts} ${report_dir}/bundle.cmake
            ${report_out}/node_modules/uplot/package.json
    VERBATIM)
else()
  foreach(file ${report_files})
    file(WRITE ${file} "")
  endforeach()
endif()

# The files as bytes of the program.
set(embed_report ${report_out}/embedded.S)
set(embed_text "")
foreach(part script.js style.css body.html)
  get_filename_component(symbol ${part} NAME_WE)
  string(APPEND embed_text ".globl carrel_report_${symbol}_begin\n"
    ".globl carrel_report_${symbol}_end\ncarrel_report_${symbol}_begin:\n"
    ".incbin \"${report_out}/${part}\"\ncarrel_report_${symbol}_end:\n")
endforeach()
file(CONFIGURE OUTPUT ${embed_report} CONTENT
  ".section .rodata\n@embed_text@.section .note.GNU-stack,\"\",%progbits\n" @ONLY)
file(READ ${embed_report} embed_text)
string(REPLACE "%progbits" "@progbits" embed_text "${embed_text}")
file(CONFIGURE OUTPUT ${embed_report} CONTENT "${embed_text}")
set_source_files_properties(${embed_report} PROPERTIES OBJECT_DEPENDS "${report_files}")
file(GLOB report_sources CONFIGURE_DEPENDS ${report_dir}/*.cc)
target_sources(carrel_audit PRIVATE ${embed_report} ${report_sources})
