# Reference data and expected values: a folder beside the checkout (the environment's QAT_SHARED overrides).
cmake_path(GET PROJECT_SOURCE_DIR PARENT_PATH QAT_SHARED_DEFAULT)
set(QAT_SHARED_DEFAULT ${QAT_SHARED_DEFAULT}/shared)

# qat_use_precompiled(TARGET): LibTorch's headers (11-25 s a translation unit) are parsed once for all tests and apps.
# Reuse needs equal compile flags: a user links qat::torch and adds only include folders and definitions.
if(TARGET qat_torch AND PROJECT_IS_TOP_LEVEL)
    file(CONFIGURE OUTPUT qat_pch.cpp CONTENT "// carries the precompiled header\n")
    add_library(qat_pch STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/qat_pch.cpp)
    target_link_libraries(qat_pch PRIVATE qat::torch qat_warnings)
    target_compile_definitions(qat_pch PRIVATE QAT_SHARED_DEFAULT="${QAT_SHARED_DEFAULT}")
    target_precompile_headers(qat_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.hpp)
endif()

function(qat_use_precompiled target)
    if(TARGET qat_pch)
        target_compile_definitions(${target} PRIVATE QAT_SHARED_DEFAULT="${QAT_SHARED_DEFAULT}")
        target_precompile_headers(${target} REUSE_FROM qat_pch)
    endif()
endfunction()
