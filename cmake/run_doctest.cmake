# cmake -D PROGRAM=... [-D SUITE=shared|others] -P run_doctest.cmake
# Runs a doctest binary and makes three things visible that its exit code hides: a run without assertions is a failure,
# a run without its data is skipped (the line below, which ctest knows; a failure where CI is set), and a failure beats a
# skip.
set(filter)
if(SUITE STREQUAL "shared")
    set(filter --test-suite=shared)
elseif(SUITE STREQUAL "others")
    set(filter --test-suite-exclude=shared)
    execute_process(COMMAND ${PROGRAM} ${filter} --count OUTPUT_VARIABLE counted)
    if(counted MATCHES "filters: 0")
        message("every test case is in the suite shared; nothing to do here")
        return()
    endif()
endif()

execute_process(COMMAND ${PROGRAM} ${filter} RESULT_VARIABLE result OUTPUT_VARIABLE printed ECHO_OUTPUT_VARIABLE)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "ended with ${result}")
endif()
if(printed MATCHES "(^|\n)skipped: ")
    if(DEFINED ENV{CI})
        message(FATAL_ERROR "a test was skipped where CI is set")
    endif()
    message("reported to ctest as skipped")
elseif(printed MATCHES "assertions: +0 \\|" OR NOT printed MATCHES "assertions: +[0-9]+ \\|")
    message(FATAL_ERROR "no assertion ran")
endif()
