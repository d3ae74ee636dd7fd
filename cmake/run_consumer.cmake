# cmake -D HOW=add_subdirectory|find_package -D SOURCE_DIR=... -D BUILD_DIR=... -D FOLDER=... -D COMPILER=...
#       "-DPREFIX_PATH=FOLDER;..." -P run_consumer.cmake
# Builds tests/consumer in FOLDER and runs it. find_package installs this project below FOLDER first.
set(arguments -S ${SOURCE_DIR}/tests/consumer -B ${FOLDER} -G Ninja -D CMAKE_BUILD_TYPE=Debug
    -D CMAKE_CXX_FLAGS_DEBUG=-O0 -D CMAKE_CXX_COMPILER=${COMPILER})
if(HOW STREQUAL "find_package")
    file(REMOVE_RECURSE ${FOLDER}/prefix)
    execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${FOLDER}/prefix
        OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND arguments -D qat_ROOT=${FOLDER}/prefix)
else()
    list(APPEND arguments -D QAT_SOURCE_DIR=${SOURCE_DIR})
endif()
# In quotes and not part of the list above: the path is a list itself and must arrive as one.
execute_process(COMMAND ${CMAKE_COMMAND} ${arguments} "-DCMAKE_PREFIX_PATH=${PREFIX_PATH}" COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS ${FOLDER}/CMakeCache.txt arrived REGEX "^CMAKE_PREFIX_PATH:")
string(REGEX REPLACE "^[^=]*=" "" arrived "${arrived}")
string(REPLACE "\\;" ";" arrived "${arrived}")     # as file() hides what is no end of line
if(NOT arrived STREQUAL PREFIX_PATH)
    message(FATAL_ERROR "the consumer's CMAKE_PREFIX_PATH is \"${arrived}\", want \"${PREFIX_PATH}\"")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${FOLDER} -j 1 COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${FOLDER}/policies OUTPUT_VARIABLE policies COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${FOLDER}/network OUTPUT_VARIABLE network COMMAND_ERROR_IS_FATAL ANY)
message("${policies}${network}")
if(NOT policies STREQUAL "mine-12-bit\n" OR NOT network MATCHES "^tiny: [1-9][0-9]+ parameters\n$")
    message(FATAL_ERROR "the consumer's programs did not print what they should")
endif()
