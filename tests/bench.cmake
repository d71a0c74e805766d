# A gateway without a sandbox: for tests/bench/gateway.py, and for integration tests of protocols.
add_executable(gateway_here bench/gateway_here.cc)
target_link_libraries(gateway_here PRIVATE carrel_gateway)
add_dependencies(integration_gateway_postgres_test gateway_here)
add_dependencies(integration_gateway_job_test sqlrunner)
