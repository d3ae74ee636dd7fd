# The header-only targets, and how they are installed.
include(${PROJECT_SOURCE_DIR}/cmake/qatDependencies.cmake)
include(CMakePackageConfigHelpers)

set(QAT_INCLUDE_INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# qat::core: types, scalars and the graph. No LibTorch.
qat_find_core()
add_library(qat_core INTERFACE)
add_library(qat::core ALIAS qat_core)
set_target_properties(qat_core PROPERTIES EXPORT_NAME core)
target_compile_features(qat_core INTERFACE cxx_std_20)
target_include_directories(qat_core INTERFACE ${QAT_INCLUDE_INTERFACE})
target_link_libraries(qat_core INTERFACE Boost::headers range-v3::range-v3)
install(TARGETS qat_core EXPORT qatCoreTargets)

if("torch" IN_LIST QAT_COMPONENTS OR "yolo" IN_LIST QAT_COMPONENTS)
    if(QAT_CUDA)
        include(QatCuda)
    endif()
    qat_find_torch()
    # qat::torch: modules, operations, binding.
    add_library(qat_torch INTERFACE)
    add_library(qat::torch ALIAS qat_torch)
    set_target_properties(qat_torch PROPERTIES EXPORT_NAME torch)
    target_link_libraries(qat_torch INTERFACE qat_core qat::libtorch)
    install(TARGETS qat_torch EXPORT qatTorchTargets)
    if(QAT_CUDA)
        qat_add_cuda()
    endif()
endif()

if("yolo" IN_LIST QAT_COMPONENTS)
    qat_find_yolo()
    add_library(yolo_yolo INTERFACE)
    add_library(yolo::yolo ALIAS yolo_yolo)
    set_target_properties(yolo_yolo PROPERTIES EXPORT_NAME yolo)
    target_link_libraries(yolo_yolo INTERFACE      # spdlog's fmt before LibTorch's
        qat::spdlog qat_torch qat::opencv yaml-cpp nlohmann_json::nlohmann_json CLI11::CLI11)
    install(TARGETS yolo_yolo EXPORT yoloTargets)
endif()

# find_package(qat COMPONENTS core torch yolo cuda)
set(QAT_CONFIG_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/qat)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT qatCoreTargets NAMESPACE qat:: DESTINATION ${QAT_CONFIG_FOLDER})
if(TARGET qat_torch)
    install(EXPORT qatTorchTargets NAMESPACE qat:: DESTINATION ${QAT_CONFIG_FOLDER})
endif()
if(TARGET yolo_yolo)
    install(EXPORT yoloTargets NAMESPACE yolo:: DESTINATION ${QAT_CONFIG_FOLDER})
endif()
configure_package_config_file(cmake/qatConfig.cmake.in ${PROJECT_BINARY_DIR}/qatConfig.cmake
    INSTALL_DESTINATION ${QAT_CONFIG_FOLDER})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/qatConfigVersion.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/qatConfig.cmake ${PROJECT_BINARY_DIR}/qatConfigVersion.cmake
    cmake/qatDependencies.cmake cmake/qatCudaLanguage.cmake DESTINATION ${QAT_CONFIG_FOLDER})
