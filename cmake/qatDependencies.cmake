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
        if(Torch_VERSION VERSION_GREATER_EQUAL 2)
            # Wheels export a std::filesystem of their own that crashes (remove_all); the first library that has it is used.
            target_link_options(qat::libtorch INTERFACE
                "SHELL:-Wl,--push-state,--no-as-needed -lstdc++ -Wl,--pop-state")
        endif()
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
    if(NOT TARGET qat::spdlog)
        add_library(qat::spdlog INTERFACE IMPORTED GLOBAL)
        target_link_libraries(qat::spdlog INTERFACE spdlog::spdlog)
        # A wheel of LibTorch 2 has a newer fmt among its headers than the one that spdlog was built with: that one goes first.
        find_path(QAT_OTHER_FMT fmt/format.h PATHS ${TORCH_INCLUDE_DIRS} NO_DEFAULT_PATH)
        if(QAT_OTHER_FMT AND TARGET fmt::fmt)
            get_target_property(_qat_fmt fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
            file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/qat_fmt)
            file(CREATE_LINK ${_qat_fmt}/fmt ${CMAKE_BINARY_DIR}/qat_fmt/fmt SYMBOLIC)
            target_include_directories(qat::spdlog SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/qat_fmt)
        endif()
    endif()
    if(NOT TARGET qat::opencv)
        add_library(qat::opencv INTERFACE IMPORTED GLOBAL)
        target_link_libraries(qat::opencv INTERFACE opencv_core opencv_imgproc opencv_imgcodecs opencv_videoio)
        target_include_directories(qat::opencv SYSTEM INTERFACE ${OpenCV_INCLUDE_DIRS})
    endif()
endmacro()
