# Reference data and expected values: a folder beside the checkout (the environment's QAT_SHARED overrides).
cmake_path(GET PROJECT_SOURCE_DIR PARENT_PATH QAT_SHARED_DEFAULT)
set(QAT_SHARED_DEFAULT ${QAT_SHARED_DEFAULT}/shared)

# qat_use_precompiled(TARGET [YOLO]): LibTorch's headers (11-25 s a translation unit) are parsed once for all tests and
# apps; with YOLO also those of the other libraries that yolo::yolo includes (6 s). Reuse needs equal compile flags: a
# user links qat::torch, or yolo::yolo, and adds only include folders and definitions.
function(qat_add_precompiled name header library)
    file(CONFIGURE OUTPUT ${name}.cpp CONTENT "// carries the precompiled header\n")
    add_library(${name} STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/${name}.cpp)
    target_link_libraries(${name} PRIVATE ${library} qat_warnings)
    target_compile_definitions(${name} PRIVATE QAT_SHARED_DEFAULT="${QAT_SHARED_DEFAULT}")
    target_precompile_headers(${name} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/${header})
endfunction()
if(PROJECT_IS_TOP_LEVEL)
    if(TARGET qat_torch)
        qat_add_precompiled(qat_pch precompiled.hpp qat::torch)
    endif()
    if(TARGET yolo_yolo)
        qat_add_precompiled(yolo_pch precompiled_yolo.hpp yolo::yolo)
    endif()
endif()

function(qat_use_precompiled target)
    cmake_parse_arguments(arg "YOLO" "" "" ${ARGN})
    set(carrier qat_pch)
    if(arg_YOLO)
        set(carrier yolo_pch)
    endif()
    if(TARGET ${carrier})
        target_compile_definitions(${target} PRIVATE QAT_SHARED_DEFAULT="${QAT_SHARED_DEFAULT}")
        target_precompile_headers(${target} REUSE_FROM ${carrier})
    endif()
endfunction()
