# qat::cuda: LibTorch with CUDA and nvcc. Included before LibTorch is looked for.
# Set TORCH_CUDA_ARCH_LIST (environment or -D) to the architectures to compile for, and CMAKE_PREFIX_PATH to
# <site-packages>/torch: with Torch_DIR alone CMake links the wheel's headers against the system's libtorch.
# CMAKE_CUDA_STANDARD must stay unset here: LibTorch's own probe for architectures would fail with 20.
include_guard()
include(${CMAKE_CURRENT_LIST_DIR}/qatCudaLanguage.cmake)
if(NOT TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
    set(TORCH_CUDA_ARCH_LIST "8.0;9.0")
endif()
qat_enable_cuda()

# A wheel brings some of CUDA's libraries in folders of their own, site-packages/nvidia/*/lib; programs need them too.
macro(qat_find_wheel_libraries)
    cmake_path(GET TORCH_INSTALL_PREFIX PARENT_PATH site_packages)
    file(GLOB QAT_WHEEL_LIBRARY_FOLDERS ${site_packages}/nvidia/*/lib)
endmacro()

macro(qat_add_cuda)
    qat_find_wheel_libraries()
    add_library(qat_cuda INTERFACE)
    add_library(qat::cuda ALIAS qat_cuda)
    set_target_properties(qat_cuda PROPERTIES EXPORT_NAME cuda)
    target_link_libraries(qat_cuda INTERFACE qat_torch)
    # A product joined with a sum would round differently from the CPU.
    target_compile_options(qat_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>)
    file(GLOB kernels CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/qat/ops/cuda/*.cu)
    foreach(kernel IN LISTS kernels)
        target_sources(qat_cuda INTERFACE
            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include/${kernel}>
            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/${kernel}>)
    endforeach()
    foreach(folder IN LISTS QAT_WHEEL_LIBRARY_FOLDERS)
        target_link_options(qat_cuda INTERFACE $<BUILD_INTERFACE:LINKER:-rpath-link,${folder}>)
    endforeach()
    install(TARGETS qat_cuda EXPORT qatCudaTargets)
    install(EXPORT qatCudaTargets NAMESPACE qat:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qat)
endmacro()
