# cmake -D HOW=add_subdirectory|find_package -D SOURCE_DIR=... -D BUILD_DIR=... -D FOLDER=... [-D ARGUMENTS=...]
#       -P run_consumer.cmake
# Builds tests/consumer in FOLDER and runs it. find_package installs this project below FOLDER first.
set(arguments -S ${SOURCE_DIR}/tests/consumer -B ${FOLDER} -G Ninja -D CMAKE_BUILD_TYPE=Debug
    -D CMAKE_CXX_FLAGS_DEBUG=-O0 ${ARGUMENTS})
if(HOW STREQUAL "find_package")
    file(REMOVE_RECURSE ${FOLDER}/prefix)
    execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${FOLDER}/prefix
        OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND arguments -D qat_ROOT=${FOLDER}/prefix)
else()
    list(APPEND arguments -D QAT_SOURCE_DIR=${SOURCE_DIR})
endif()
execute_process(COMMAND ${CMAKE_COMMAND} ${arguments} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${FOLDER} -j 1 COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${FOLDER}/policies OUTPUT_VARIABLE policies COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${FOLDER}/network OUTPUT_VARIABLE network COMMAND_ERROR_IS_FATAL ANY)
message("${policies}${network}")
if(NOT policies STREQUAL "mine-12-bit\n" OR NOT network MATCHES "^tiny: [1-9][0-9]+ parameters\n$")
    message(FATAL_ERROR "the consumer's programs did not print what they should")
endif()
