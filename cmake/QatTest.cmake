# doctest itself, once for all test binaries: it takes longer to compile than most tests.
add_library(qat_doctest_main OBJECT ${CMAKE_CURRENT_LIST_DIR}/../tests/support/main.cpp)
target_link_libraries(qat_doctest_main PUBLIC doctest::doctest)

# qat_test(NAME SOURCES file... [TORCH | YOLO] [QUICK] [LABELS label...] [TIMEOUT seconds])
# One doctest binary, registered as NAME (everything but the suite "shared") and, where a source has that suite, as
# NAME.shared, which needs the data beside the checkout. TORCH links qat::torch, YOLO links yolo::yolo; both use the
# precompiled header. Without them the test sees qat::core only. QUICK: -O1, which compiles a third faster, for tests that are
# not about kernels.
function(qat_test name)
    cmake_parse_arguments(arg "TORCH;YOLO;QUICK" "TIMEOUT" "SOURCES;LABELS" ${ARGN})
    string(REPLACE "." "_" target test_${name})
    add_executable(${target} ${arg_SOURCES})
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE qat_warnings qat_doctest_main)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
    if(arg_YOLO)
        target_link_libraries(${target} PRIVATE yolo::yolo)
        qat_use_precompiled(${target} YOLO)
    elseif(arg_TORCH)
        target_link_libraries(${target} PRIVATE qat::torch)
        qat_use_precompiled(${target})
    else()
        target_link_libraries(${target} PRIVATE qat::core)
    endif()

    if(arg_QUICK)
        target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
    endif()

    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    set(has_shared FALSE)
    foreach(source IN LISTS arg_SOURCES)
        file(STRINGS ${source} found REGEX "TEST_SUITE(_BEGIN)?\\(\"shared\"\\)")
        if(found)
            set(has_shared TRUE)
        endif()
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    endforeach()

    set(runner ${CMAKE_COMMAND} -D PROGRAM=$<TARGET_FILE:${target}>)
    set(script -P ${PROJECT_SOURCE_DIR}/cmake/run_doctest.cmake)
    if(has_shared)
        add_test(NAME ${name} COMMAND ${runner} -D SUITE=others ${script})
        add_test(NAME ${name}.shared COMMAND ${runner} -D SUITE=shared ${script})
        set(tests ${name} ${name}.shared)
        set_property(TEST ${name}.shared APPEND PROPERTY LABELS shared)
    else()
        add_test(NAME ${name} COMMAND ${runner} ${script})
        set(tests ${name})
    endif()
    # Two tests run at once on two cores: one thread each (OpenMP's threads spin and fight).
    set_tests_properties(${tests} PROPERTIES
        TIMEOUT ${arg_TIMEOUT} SKIP_REGULAR_EXPRESSION "reported to ctest as skipped" ENVIRONMENT OMP_NUM_THREADS=1
        WORKING_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
    set_property(TEST ${tests} APPEND PROPERTY LABELS ${arg_LABELS})
endfunction()
