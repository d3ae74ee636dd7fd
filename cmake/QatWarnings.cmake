# qat_warnings: for the project's own translation units only, never part of what consumers link.
add_library(qat_warnings INTERFACE)
target_compile_options(qat_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Winvalid-pch>
    $<$<AND:$<BOOL:${QAT_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
