# npm ci in OUTPUT, with the package and lock files of INPUT. No script of a package is run.
file(COPY ${INPUT}/package.json ${INPUT}/package-lock.json DESTINATION ${OUTPUT})
execute_process(
  COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund --loglevel=error
  WORKING_DIRECTORY ${OUTPUT} RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "npm ci could not fetch the chart library of the report page:\n${said}\n"
    "Is the npm registry in reach? -DCARREL_REPORT=OFF builds a carrel without "
    "`carrel audit report`.")
endif()
# The stamp is newer than what it depends on.
file(TOUCH ${OUTPUT}/node_modules/uplot/package.json)
