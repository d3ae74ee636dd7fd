# Used by this project's build and, installed, by find_package(qat COMPONENTS cuda).
macro(qat_enable_cuda)
    enable_language(CUDA)
    # CMake before 3.26 knows no flag for C++20 in nvcc, which has one since 12.0. In the cache: the target that
    # compiles the kernels may belong to a folder above.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.0)
        set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20 CACHE INTERNAL "")
        set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20 CACHE INTERNAL "")
    endif()
endmacro()
