#pragma once
// The one macro: a scalar rule is a constexpr function that CUDA kernels may call as well.

#ifdef __CUDACC__
#define QAT_HOST_DEVICE __host__ __device__
#else
#define QAT_HOST_DEVICE
#endif
