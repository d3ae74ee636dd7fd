#pragma once
// Test cases that need a GPU leave themselves out where there is none.

#include "support/doctest.hpp"

#include <qat/torch.hpp>

inline bool have_gpu() {
    if (torch::cuda::is_available()) return true;
    MESSAGE("left out: torch::cuda::is_available() is false here, this test case did nothing");
    return false;
}
