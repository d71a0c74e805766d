# What the audit commands carry with them: the schema of the export.
set(report_dir ${CMAKE_CURRENT_SOURCE_DIR}/audit/report)
set(report_out ${CMAKE_CURRENT_BINARY_DIR}/audit/report)

set(schema_file ${report_dir}/export.schema.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${schema_file})
file(READ ${schema_file} schema_text)
file(CONFIGURE OUTPUT ${report_out}/export_schema.h CONTENT
  "#pragma once\ninline constexpr char kExportSchema[] = R\"json(@schema_text@)json\";\n" @ONLY)
