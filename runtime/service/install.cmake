# Where `cmake --install` puts things: standard places under the prefix; /etc below DESTDIR itself.
include(GNUInstallDirs)

install(TARGETS carrel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
set(share ${CMAKE_INSTALL_DATADIR}/carrel)
# Units name the program: where it is, the prefix at the time of the installation says.
foreach(unit carrel.slice carrel-jobs.service carrel-gc.service carrel-gc.timer
             carrel-metrics.service carrel-metrics.timer carrel-selftest.service)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/service/${unit})
  install(CODE "set(CARREL_BIN \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR})
    set(CARREL_SHARE \${CMAKE_INSTALL_PREFIX}/${share})
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/service/${unit} ${made} @ONLY)")
  install(FILES ${made} DESTINATION lib/systemd/system)
endforeach()
install(FILES service/sysusers.conf DESTINATION lib/sysusers.d RENAME carrel.conf)
install(FILES service/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME carrel.conf)
install(FILES service/logrotate.conf DESTINATION /etc/logrotate.d RENAME carrel)
install(FILES service/carrel.json DESTINATION ${share})
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${share})
# The agent's EXECUTOR: with this directory in its PYTHONPATH.
install(FILES agent/carrel_executor.py DESTINATION ${share}/agent)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/policies DESTINATION ${share} PATTERN schemas EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/policies/schemas DESTINATION ${share})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/images DESTINATION ${share}
        FILES_MATCHING PATTERN recipe.json PATTERN README.md PATTERN sqlrunner/*.cc EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/tests/studies/ DESTINATION ${share}/studies
        PATTERN demo EXCLUDE PATTERN __pycache__ EXCLUDE)
