# What the targets need from outside; used by this project's build and, installed, by find_package(qat).
# Macros: imported targets and cache entries must appear in the caller's scope.
include(CMakeFindDependencyMacro)

macro(qat_find_core)
    find_dependency(Boost 1.74)
    find_dependency(range-v3)
endmacro()

# qat::libtorch: LibTorch as system headers, in the shape that both 1.13 (Debian) and 2.x (wheel) have.
macro(qat_find_torch)
    find_package(OpenMP QUIET COMPONENTS CXX)          # clang may lack it; at::parallel_for is then a plain loop
    find_dependency(Torch)
    if(NOT TARGET qat::libtorch)
        add_library(qat::libtorch INTERFACE IMPORTED GLOBAL)
        target_link_libraries(qat::libtorch INTERFACE ${TORCH_LIBRARIES})
        target_include_directories(qat::libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
        if(OpenMP_CXX_FOUND)
            # The flag, not OpenMP::OpenMP_CXX: that names the system's libgomp, and a wheel brings its own beside it.
            target_compile_options(qat::libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
            target_link_options(qat::libtorch INTERFACE ${OpenMP_CXX_FLAGS})
        else()
            target_compile_options(qat::libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp-simd>)
        endif()
    endif()
endmacro()

macro(qat_find_yolo)
    find_dependency(OpenCV COMPONENTS core imgproc imgcodecs videoio)
    find_dependency(yaml-cpp)
    find_dependency(nlohmann_json)
    find_dependency(CLI11)
    find_dependency(spdlog)
    if(NOT TARGET qat::opencv)
        add_library(qat::opencv INTERFACE IMPORTED GLOBAL)
        target_link_libraries(qat::opencv INTERFACE opencv_core opencv_imgproc opencv_imgcodecs opencv_videoio)
        target_include_directories(qat::opencv SYSTEM INTERFACE ${OpenCV_INCLUDE_DIRS})
    endif()
endmacro()
