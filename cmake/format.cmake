# cmake -D MODE=format|format-check -D CLANG_FORMAT=... -D SOURCE_DIR=... -P format.cmake
if(NOT CLANG_FORMAT)
    message(FATAL_ERROR "clang-format is missing; scripts/install_dependencies.sh installs it")
endif()
file(GLOB_RECURSE sources RELATIVE ${SOURCE_DIR}
    ${SOURCE_DIR}/include/*.hpp ${SOURCE_DIR}/include/*.cuh ${SOURCE_DIR}/include/*.cu
    ${SOURCE_DIR}/examples/*.cpp ${SOURCE_DIR}/examples/*.hpp ${SOURCE_DIR}/bench/*.cpp ${SOURCE_DIR}/bench/*.hpp
    ${SOURCE_DIR}/tests/*.cpp ${SOURCE_DIR}/tests/*.hpp ${SOURCE_DIR}/tests/*.cu)
if(MODE STREQUAL "format")
    set(arguments -i)
else()
    set(arguments --dry-run --Werror --ferror-limit=1)
endif()
list(LENGTH sources count)
execute_process(COMMAND ${CLANG_FORMAT} --style=file ${arguments} ${sources}
    WORKING_DIRECTORY ${SOURCE_DIR} RESULT_VARIABLE result)
if(result)
    message(FATAL_ERROR "sources differ from .clang-format; run: cmake --build build/release --target format")
endif()
message(STATUS "${MODE}: ${count} files")
