# ccache where it is installed. With a precompiled header it must not insist on time stamps and macros it cannot see.
find_program(QAT_CCACHE ccache)
if(QAT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        ${QAT_CCACHE})
endif()
