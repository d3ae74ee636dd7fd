# format: rewrite the sources; format-check: fail where they differ from .clang-format (what CI runs).
find_program(QAT_CLANG_FORMAT NAMES clang-format-14 clang-format)
if(PROJECT_IS_TOP_LEVEL)
    foreach(mode IN ITEMS format format-check)
        add_custom_target(${mode}
            COMMAND ${CMAKE_COMMAND} -D MODE=${mode} -D CLANG_FORMAT=${QAT_CLANG_FORMAT}
                -D SOURCE_DIR=${PROJECT_SOURCE_DIR} -P ${PROJECT_SOURCE_DIR}/cmake/format.cmake
            VERBATIM USES_TERMINAL)
    endforeach()
endif()
